"""Last of all: the audit log of the whole run proves what no process of ours ever does, and that it needs what it may.

Run alone it fails: it reads what the tests before it made the installation do. Where two processes share the suite, each
has a plane of its own, and the log of each is looked at (``conftest``: the groups admission and agents).
"""

import datetime
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from tests.e2e.audit import OURS, READS, Request, mutations, requests
from tests.e2e.installed import Options, rendered
from tests.e2e.plane.control_plane import ControlPlane

JSON = Any  # a rendered manifest

# Rights that a whole run need not use, each with its reason.
STREAMED = "only where the API server does not stream the initial list: an older one, or one that answers 410 to it"
UNUSED: dict[tuple[str, str, str], str] = {
    ("kagenti.io", "agentruntimeconfigs", "list"): STREAMED,
    ("kagenti.io", "agentruntimeclusterconfigs", "list"): STREAMED,
    ("", "namespaces", "list"): STREAMED,
    ("", "namespaces", "get"): "only for a pod that is asked for before the watch has shown its namespace",
}


# Kinds that a test has the operator look for without the right to, so that it says which one is missing.
UNREADABLE = ("secretcrews",)


@pytest.fixture(scope="module", params=["admission", "agents"], autouse=True)
def part(request: pytest.FixtureRequest) -> str:
    """Whose plane it is; both are the same where one process runs everything."""
    return str(request.param)


@pytest.fixture(scope="module")
def ours(cluster: ControlPlane) -> list[Request]:
    """Every request that an account of ours made in this run."""
    return list(requests(cluster.audit_log, user=OURS))


def test_the_run_made_requests_at_all(ours: list[Request]) -> None:
    """The webhook did talk to this API server: the checks below are about something."""
    assert any(request.verb == "watch" for request in ours)


def test_nobody_of_us_asked_for_configmaps_or_secrets(ours: list[Request]) -> None:
    """No request for configmaps and no Secret was read by any kagenti account."""
    assert [request for request in ours if request.resource in ("configmaps", "secrets")] == []


def test_the_webhook_wrote_nothing(ours: list[Request]) -> None:
    """Whatever is not a read is a write: events, leases, reviews of rights and subresources included."""
    webhook = [request for request in ours if request.user == f"{OURS}kagenti-webhook"]
    assert webhook
    assert [request for request in webhook if request.verb not in READS] == []


def test_every_call_was_within_the_rendered_rights(cluster: ControlPlane, ours: list[Request]) -> None:
    """No request of ours was refused by RBAC, but by an API server that had just started and knew no roles yet."""

    def warming(at: str) -> bool:
        seconds = datetime.datetime.fromisoformat(at).timestamp()
        return any(begin <= seconds <= end for begin, end in cluster.warming)

    # A namespace that is being deleted takes no event either, and says 403 too: that is no question of rights.
    refused = [
        request
        for request in ours
        if request.code == 403
        and request.annotations.get("authorization.k8s.io/decision") == "forbid"
        and not warming(request.at)
    ]
    assert [request for request in refused if request.resource not in UNREADABLE] == []


def _rights(documents: Iterable[JSON], role: str) -> set[tuple[str, str, str]]:
    """Returns (group, resource, verb) of everything that a rendered ClusterRole grants."""
    return {
        (group, resource, verb)
        for document in documents
        if document["kind"] == "ClusterRole" and document["metadata"]["name"] == role
        for rule in document.get("rules") or ()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("part", ["admission"], indirect=True)
def test_no_right_is_unused(ours: list[Request]) -> None:
    """Every verb on every resource that the chart grants the webhook was asked for and answered in this run."""
    granted = _rights(rendered(Options()), "kagenti-webhook")
    used = {
        (request.group, request.resource, request.verb)
        for request in ours
        if request.user == f"{OURS}kagenti-webhook" and request.code < 300  # HTTP success
    }
    assert set(UNUSED) <= granted, "UNUSED speaks of rights that are not granted"
    assert sorted(granted - used - set(UNUSED)) == [], "grant less, test what uses it, or say why in UNUSED"


def test_the_api_server_noted_what_we_changed(cluster: ControlPlane) -> None:
    """Its own annotations name our entries, on pods that we changed and on pods that we left alone."""
    noted = [call for pod in mutations(cluster.audit_log, resource="pods") for call in pod if "kagenti" in call.webhook]
    assert {call.configuration for call in noted} == {"kagenti-injector"}
    assert {call.mutated for call in noted} == {True, False}


def test_the_xds_server_wrote_our_status_alone(ours: list[Request]) -> None:
    """Server-side apply of status, and questions about tokens."""
    written = {
        (request.verb, request.subresource or request.resource)
        for request in ours
        if request.user == f"{OURS}kagenti-xds" and request.verb not in READS
    }
    assert written <= {("patch", "status"), ("create", "tokenreviews")}


def test_the_operator_wrote_status_events_its_lease_and_evictions_alone(ours: list[Request]) -> None:
    """No workload but where the chart allowed restarts (tests of the rollout), nothing else."""
    written = {
        (request.verb, request.subresource or request.resource)
        for request in ours
        if request.user == f"{OURS}kagenti-operator" and request.verb not in READS
    }
    restarts = {("patch", kind) for kind in ("deployments", "statefulsets", "daemonsets")}
    expected = {("patch", "status"), ("create", "events"), ("create", "leases"), ("update", "leases")}
    assert written <= expected | restarts | {("create", "eviction")}


def test_kopf_left_nothing_anywhere(cluster: ControlPlane) -> None:
    """No annotation and no finalizer of its, on objects of ours or of anybody."""
    ours = ("agentruntimes", "agentruntimeconfigs", "agentruntimeclusterconfigs", "agentcards")
    kinds = [f"{plural}.kagenti.io" for plural in ours]  # in full: the older group may have had its kinds here
    kinds += ["namespaces", "pods", "deployments"]
    listed = orjson.loads(cluster.kubectl("get", ",".join(kinds), "-A", "-o", "json"))["items"]
    assert listed
    marks = [
        mark
        for found in listed
        for mark in (*(found["metadata"].get("annotations") or {}), *(found["metadata"].get("finalizers") or ()))
    ]
    assert [mark for mark in marks if "kopf" in mark or "zalando" in mark or mark == "kagenti.io/never-set"] == []


def test_no_pod_was_written_but_by_evictions_of_the_operator(part: str, ours: list[Request]) -> None:
    """Nobody of us creates, patches or deletes a pod; what goes, goes through the API that hears budgets."""
    evictions = {("kagenti-operator", "create", "eviction")}
    written = {
        (request.user.removeprefix(OURS), request.verb, request.subresource)
        for request in ours
        if request.resource == "pods" and request.verb not in READS
    }
    assert written <= evictions
    assert written or part == "admission", "the operator's tests evict pods"
