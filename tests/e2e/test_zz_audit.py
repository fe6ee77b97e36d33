"""Last of all: the audit log of the whole run proves what no process of ours ever does, and that it needs what it may.

Run alone it fails: it reads what the tests before it made the installation do. Where two processes share the suite, each
has a plane of its own, and the log of each is looked at (``conftest``: the groups admission and agents).
"""

import datetime
from dataclasses import replace

import orjson
import pytest

from tests.e2e.audit import OURS, READS, Request, Right, granted, mutations, requests, told, used
from tests.e2e.certificates.stage import SECRETS
from tests.e2e.installed import RELEASE_NAMESPACE, Options, rendered
from tests.e2e.operator_process import RESTART
from tests.e2e.plane.control_plane import ControlPlane

# Rights that a whole run need not use, by account, each with its reason.
ELSEWHERE = "its kind is not served by this API server: Argo Rollouts is not installed"
UNUSED: dict[str, dict[Right, str]] = {
    "kagenti-webhook": {
        Right("", "namespaces", "get"): "only for a pod that is asked for before the watch has shown its namespace"
    },
    "kagenti-xds": {},
    "kagenti-operator": {Right("argoproj.io", "rollouts", "watch"): ELSEWHERE},
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
    """But the operator for the Secrets of certificates that it manages, by name, in its own namespace."""
    asked = {
        (request.user.removeprefix(OURS), request.resource, request.namespace, request.name)
        for request in ours
        if request.resource in ("configmaps", "secrets")
    }
    assert asked <= {("kagenti-operator", "secrets", RELEASE_NAMESPACE, name) for name in SECRETS}


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


@pytest.mark.parametrize(
    ("part", "account"),
    [("admission", "kagenti-webhook"), ("agents", "kagenti-xds"), ("agents", "kagenti-operator")],
    indirect=["part"],
)
def test_no_right_is_unused(account: str, ours: list[Request]) -> None:
    """Every verb on every resource, and every name, that the chart grants was asked for and answered in this run.

    But ``list`` beside ``watch``: it serves where the API server does not stream the initial list (an older one, or one
    that answers 410 to it).
    """
    rights = granted(rendered(Options(extra=(RESTART,))), account)
    streamed = {right for right in rights if right.verb == "list" and replace(right, verb="watch") in rights}
    assert set(UNUSED[account]) <= rights, "UNUSED speaks of rights that are not granted"
    left = rights - used(ours, account, rights) - streamed - set(UNUSED[account])
    assert told(left) == [], f"{told(left)}: grant less, test what uses it, or say why in UNUSED"


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


def test_the_operator_wrote_status_events_its_lease_evictions_and_certificates_alone(ours: list[Request]) -> None:
    """No workload but where the chart allowed restarts (tests of the rollout), nothing else."""
    written = {
        (request.verb, request.subresource or request.resource)
        for request in ours
        if request.user == f"{OURS}kagenti-operator" and request.verb not in READS
    }
    restarts = {("patch", kind) for kind in ("deployments", "statefulsets", "daemonsets")}
    expected = {("patch", "status"), ("create", "events"), ("create", "leases"), ("update", "leases")}
    # Of our own webhook configurations, by name: who owns them, and where the chart has it manage certificates the caBundle.
    configurations = {("patch", f"{kind}webhookconfigurations") for kind in ("mutating", "validating")}
    certificates = {("patch", "secrets")}  # four, by name
    assert written <= expected | restarts | configurations | certificates | {("create", "eviction")}


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
