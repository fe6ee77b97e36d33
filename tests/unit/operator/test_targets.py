"""Targets: what is read of an object, and where a kind is served."""

from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.core.workload import WorkloadRef
from kagenti.operator.discovery import Served, discover
from kagenti.operator.targets import facts_of
from tests.unit.core.admission.cluster import workload

JSON = Any  # a raw object

GROUPS = {
    "/apis/apps": {"preferredVersion": {"groupVersion": "apps/v1"}, "versions": [{"groupVersion": "apps/v1"}]},
    "/apis/apps/v1": {
        "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["list", "watch"]},
            {"name": "deployments/status", "kind": "Deployment", "namespaced": True, "verbs": ["get"]},
            {"name": "fixtures", "kind": "Fixture", "namespaced": False, "verbs": ["list", "watch"]},
            {"name": "reviews", "kind": "Review", "namespaced": True, "verbs": ["create"]},
        ]
    },
    "/apis/old": {
        "preferredVersion": {"groupVersion": "old/v2"},
        "versions": [{"groupVersion": "old/v2"}, {"groupVersion": "old/v1"}],
    },
    "/apis/old/v2": {"resources": []},
    "/apis/old/v1": {"resources": [{"name": "crews", "kind": "Crew", "namespaced": True, "verbs": ["list", "watch"]}]},
    "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["list", "watch"]}]},
}


class Client:
    """Discovery documents."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        if path not in GROUPS:
            raise errors.NotFound(path)
        return orjson.dumps(GROUPS[path])


KINDS = [
    ("apps", "Deployment", Served("deployments", "/apis/apps/v1/deployments")),
    ("", "Pod", Served("pods", "/api/v1/pods")),
    ("old", "Crew", Served("crews", "/apis/old/v1/crews")),
    ("apps", "Fixture", None),
    ("apps", "Review", None),
    ("apps", "Nonsense", None),
    ("nowhere", "Crew", None),
]


@pytest.mark.parametrize(("group", "kind", "expected"), KINDS, ids=[f"{kind}.{group}" for group, kind, _ in KINDS])
async def test_a_kind_is_found_where_it_is_served(group: str, kind: str, expected: Served | None) -> None:
    """In the preferred version first; what is not namespaced, or cannot be watched, is not found."""
    assert await discover(Client(), group, kind) == expected


class Maintenance:
    """A proxy's page."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        return b"<html>"


@pytest.mark.parametrize("group", ["", "apps"])
async def test_what_is_no_document_is_a_reason_to_try_again(group: str) -> None:
    """Not a kind that does not exist."""
    with pytest.raises(errors.Unreachable, match="answered with what is no"):
        await discover(Maintenance(), group, "Pod")


IDLE = [
    ("a Deployment", workload("Deployment"), False),
    ("without replicas", workload("Deployment", replicas=0), True),
    ("a suspended Job", workload("Job", suspend=True), True),
    ("a CronJob between two runs", workload("CronJob"), True),
]


@pytest.mark.parametrize(("why", "manifest", "idle"), IDLE, ids=[row[0] for row in IDLE])
def test_a_workload_that_wants_no_pod_is_known_to(why: str, manifest: JSON, idle: bool) -> None:
    """By the fields of the built-in kinds and their like."""
    found = facts_of(manifest)
    assert (found.state, found.has_template, found.idle) == ("found", True, idle), why


def test_what_has_no_pod_template_is_seen_to_have_none() -> None:
    """Whatever else it has."""
    manifest = {"apiVersion": "x/v1", "kind": "Thing", "metadata": {"name": "a", "namespace": "n"}, "spec": {"size": 3}}
    assert not facts_of(manifest).has_template


def test_the_owner_of_a_target_is_seen() -> None:
    """It is then not the top of its chain."""
    manifest = workload("ReplicaSet")
    manifest["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "u", "controller": True}
    ]
    assert facts_of(manifest).owned_by == WorkloadRef("apps", "Deployment", "team1", "weather")
