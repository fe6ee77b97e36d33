"""Owner chains and proofs against a server in memory: what is read, what holds, and that each is read once."""

import asyncio
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import OwnerReader

REPLICA_SET = OwnerReference("apps/v1", "ReplicaSet", "weather-1", "rs")
DEPLOYMENT = OwnerReference("apps/v1", "Deployment", "weather", "dep")
DAEMON_SET = OwnerReference("apps/v1", "DaemonSet", "collector", "ds")


class Server:
    """Objects by path; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.objects: dict[str, bytes] = {
            "/apis/apps/v1/namespaces/team1/replicasets/weather-1": _object("weather-1", "rs", DEPLOYMENT),
            "/apis/apps/v1/namespaces/team1/replicasets/alone": _object("alone", "alone"),
            "/apis/apps/v1/namespaces/team1/deployments/weather": _object("weather", "dep"),
            "/apis/apps/v1/namespaces/team1/daemonsets/collector": _object("collector", "ds"),
        }

    async def get(self, path: str, *, timeout: float) -> bytes:
        self.asked.append(path.rpartition("/")[2])
        await asyncio.sleep(0)
        if path not in self.objects:
            raise errors.NotFound(path)
        return self.objects[path]


def _object(name: str, uid: str, owner: OwnerReference | None = None) -> bytes:
    metadata: dict[str, Any] = {"name": name, "uid": uid}
    if owner:
        reference = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
        metadata["ownerReferences"] = [{**reference, "controller": True}]
    return orjson.dumps({"metadata": metadata})


async def test_a_chain_is_climbed_once() -> None:
    """Many pods of one ReplicaSet at a time cost one read, and later ones none."""
    server = Server()
    reader = OwnerReader(server)
    found = await asyncio.gather(*[reader.top_owner(REPLICA_SET, "team1") for _ in range(5)])
    assert set(found) == {WorkloadRef("apps", "Deployment", "team1", "weather")}
    await reader.top_owner(REPLICA_SET, "team1")
    assert server.asked == ["weather-1"]


@pytest.mark.parametrize(
    ("reference", "proof", "asked"),
    [
        (DAEMON_SET, "holds", ["collector"]),
        (OwnerReference("apps/v1", "DaemonSet", "collector", "made-up"), "broken", ["collector"]),
        (OwnerReference("apps/v1", "DaemonSet", "nobody", "ds"), "broken", ["nobody"]),
        (REPLICA_SET, "holds", ["weather-1", "weather"]),
        (OwnerReference("apps/v1", "ReplicaSet", "weather-1", "made-up"), "broken", ["weather-1"]),
        (OwnerReference("apps/v1", "ReplicaSet", "alone", "alone"), "holds", ["alone"]),
        (OwnerReference("argoproj.io/v1alpha1", "Rollout", "weather", "r"), "unknown", []),
    ],
)
async def test_the_top_is_proved_by_uid(reference: OwnerReference, proof: str, asked: list[str]) -> None:
    """The top of the chain must exist under its UID; each object is read once, whatever the answer."""
    server = Server()
    reader = OwnerReader(server)
    assert await reader.proof_of(reference, "team1") == proof
    assert await reader.proof_of(reference, "team1") == proof
    assert server.asked == asked


async def test_what_is_no_object_is_no_answer() -> None:
    """A proxy's page is neither an owner nor the absence of one, and is not remembered."""
    server = Server()
    path = "/apis/apps/v1/namespaces/team1/replicasets/weather-1"
    whole, server.objects[path] = server.objects[path], b"<html>"
    reader = OwnerReader(server)
    with pytest.raises(errors.Unreachable, match="answered with what is no object"):
        await reader.top_owner(REPLICA_SET, "team1")
    server.objects[path] = whole
    assert await reader.top_owner(REPLICA_SET, "team1") == WorkloadRef("apps", "Deployment", "team1", "weather")
