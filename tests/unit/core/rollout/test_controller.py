"""What a workload's manifest says of how its pods come and go."""

from typing import Any

import pytest

from kagenti.core import rollout
from kagenti.core.workload import OwnerReference
from tests.unit.core.rollout.given import DEPLOYMENT, deployment

JSON = Any  # a raw workload


def manifest(kind: str, spec: JSON, status: JSON, *, group: str = "apps/v1", generation: int = 1) -> JSON:
    """A raw workload whose controller has seen generation 1."""
    metadata = {"name": "weather", "generation": generation}
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": {"observedGeneration": 1, **status},
    }


ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
PARTITION = {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
MID_UPDATE = {"currentRevision": "a", "updateRevision": "b", "replicas": 3, "updatedReplicas": 1}
ROLLED = {"currentRevision": "a", "updateRevision": "b", "replicas": 3, "updatedReplicas": 3}
SETTLED = {"currentRevision": "a", "updateRevision": "a", "replicas": 3, "updatedReplicas": 3}

CASES: list[tuple[str, JSON, dict[str, Any]]] = [
    ("a settled Deployment", deployment(), {"desired": 3, "rolling": False, "no_restart": ""}),
    ("its controller has not seen the spec", deployment(generation=2), {"rolling": True}),
    ("pods of an older template are left", deployment(updatedReplicas=1), {"rolling": True}),
    ("it is being scaled down", deployment(replicas=5, updatedReplicas=5), {"rolling": True}),
    (
        "paused: unfinished for ever, and no restart",
        deployment(paused=True, updatedReplicas=1),
        {"rolling": False, "no_restart": "it is paused"},
    ),
    ("no status yet", {"apiVersion": "apps/v1", "kind": "Deployment"}, {"desired": 1, "rolling": False}),
    ("fields of other types", manifest("Deployment", {"replicas": "3", "paused": 1}, {"replicas": []}), {"desired": 1}),
    (
        "a StatefulSet rolls from the top",
        manifest("StatefulSet", {"replicas": 3}, SETTLED),
        {"desired": 3, "order": "ordinal"},
    ),
    ("its update is under way", manifest("StatefulSet", {"replicas": 3}, MID_UPDATE), {"rolling": True}),
    (
        "a partition that is reached is the end of an update",
        manifest("StatefulSet", PARTITION, MID_UPDATE),
        {"rolling": False, "no_restart": "its updateStrategy keeps the pods below partition 2 as they are"},
    ),
    (
        "OnDelete: a new pod would bring the waiting template",
        manifest("StatefulSet", {"replicas": 3, **ON_DELETE}, MID_UPDATE),
        {"rolling": False, "no_restart": "its updateStrategy is OnDelete"},
    ),
    (
        "OnDelete, everything rolled by hand: revisions differ for ever",
        manifest("StatefulSet", {"replicas": 3, **ON_DELETE}, ROLLED),
        {"held_back": ""},
    ),
    (
        "a DaemonSet wants what its status says",
        manifest("DaemonSet", {}, {"desiredNumberScheduled": 4, "updatedNumberScheduled": 4}),
        {"desired": 4, "rolling": False},
    ),
    (
        "its update is under way too",
        manifest("DaemonSet", {}, {"desiredNumberScheduled": 4, "updatedNumberScheduled": 1}),
        {"rolling": True},
    ),
    ("a kind with replicas", manifest("Rollout", {"replicas": 2}, {}, group="argoproj.io/v1alpha1"), {"desired": 2}),
    ("a kind without", manifest("TaskRun", {}, {}, group="tekton.dev/v1"), {"desired": None}),
]


@pytest.mark.parametrize(("why", "raw", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_a_manifest_says(why: str, raw: JSON, expected: dict[str, Any]) -> None:
    """Each row: what is expected of the fields that the row is about."""
    found = rollout.read(raw)
    assert {key: getattr(found, key) for key in expected} == expected, why


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_a_template_that_waits_for_deletions_is_not_rolled_out_by_us(kind: str) -> None:
    """OnDelete is the user's word that no pod takes the new template before he says so."""
    status = {**MID_UPDATE, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1}
    found = rollout.read(manifest(kind, {"replicas": 3, **ON_DELETE}, status))
    assert found.held_back.startswith("its updateStrategy is OnDelete and a newer template waits")


def test_a_workload_that_may_not_be_read_is_not_restarted() -> None:
    """Nothing is known of it but its kind."""
    found = rollout.unknown(DEPLOYMENT)
    assert (found.desired, found.rolling, found.no_restart) == (None, False, "it may not be read")


RECREATING: list[tuple[str, OwnerReference | None, bool]] = [
    ("no controller", None, False),
    ("a ReplicaSet, whoever owns it", OwnerReference("apps/v1", "ReplicaSet", "x", "u"), True),
    ("a ReplicationController", OwnerReference("v1", "ReplicationController", "x", "u"), True),
    ("a Job", OwnerReference("batch/v1", "Job", "x", "u"), False),
    ("a kind of that name in another group", OwnerReference("example.com/v1", "ReplicaSet", "x", "u"), False),
    ("the target itself, which keeps a number", OwnerReference("example.com/v1", "Fleet", "weather", "u"), True),
    ("another of its kind", OwnerReference("example.com/v1", "Fleet", "other", "u"), False),
]


@pytest.mark.parametrize(("why", "owner", "expected"), RECREATING, ids=[case[0] for case in RECREATING])
def test_whose_pods_get_successors(why: str, owner: OwnerReference | None, expected: bool) -> None:  # a table
    """Only kinds of which that is known, and a custom target that says how many pods it keeps."""
    fleet = rollout.read(manifest("Fleet", {"replicas": 2}, {}, group="example.com/v1"))
    assert fleet.recreates(owner) is expected, why


def test_a_custom_target_without_replicas_may_not_make_its_pods_anew() -> None:
    """A TaskRun's pod is work under way as much as a Job's is."""
    task = rollout.read(manifest("TaskRun", {}, {}, group="tekton.dev/v1"))
    assert not task.recreates(OwnerReference("tekton.dev/v1", "TaskRun", "weather", "u"))
