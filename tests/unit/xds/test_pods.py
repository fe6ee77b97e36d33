"""The managed pods by workload: owners read in the background, receipts read once, running proxies counted."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kagenti import errors
from kagenti.core.store import Apply, Delete
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import StoredPod
from kagenti.xds.pods import Pods
from tests.unit.xds.cluster import RECEIPT, FakeApi, pod
from tests.unit.xds.waiting import eventually

DEPLOYMENT = WorkloadRef("apps", "Deployment", "team1", "weather")


class Owners:
    """Owners by script: what each ReplicaSet belongs to, or a fault that passes."""

    def __init__(self) -> None:
        self.tops: dict[str, WorkloadRef | None] = {"rs-1": DEPLOYMENT}
        self.faults: list[Exception] = []

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        if self.faults:
            raise self.faults.pop()
        return self.tops[reference.uid]


class Bench:
    def __init__(self) -> None:
        self.owners, self.told = Owners(), list[WorkloadRef]()
        self.pods = Pods(FakeApi(), self.owners, logger=logging.Logger("test"), sleep=lambda _: asyncio.sleep(0))
        self.pods.on_workload(self.told.append)

    def apply(self, *found: StoredPod) -> None:
        for one in found:
            self.pods.store.apply(Apply(one))

    def names(self, workload: WorkloadRef = DEPLOYMENT) -> list[str]:
        return sorted(found.uid for found in self.pods.of(workload))


@asynccontextmanager
async def _bench() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.pods.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_pods_come_to_their_workload_and_go() -> None:
    """Listeners hear of each change; a workload without pods is forgotten."""
    async with _bench() as bench:
        bench.apply(pod("a", name="a"), pod("b", name="b"))
        await eventually(lambda: bench.names() == ["a", "b"])
        assert bench.pods.workload("a") == DEPLOYMENT
        bench.pods.store.apply(Delete(pod("a", name="a")))
        assert (bench.names(), bench.pods.workload("a"), set(bench.told)) == (["b"], None, {DEPLOYMENT})


async def test_a_new_pod_of_an_old_name_takes_its_place() -> None:
    """A StatefulSet's pod is made anew: the uid decides."""
    async with _bench() as bench:
        bench.apply(pod("a"))
        await eventually(lambda: bench.names() == ["a"])
        bench.apply(pod("b"))
        await eventually(lambda: bench.names() == ["b"])
        assert bench.pods.by_uid("a") is None


async def test_an_adopted_pod_moves() -> None:
    """Its controller is another one than before."""
    async with _bench() as bench:
        bench.apply(pod("a"))
        await eventually(lambda: bench.names() == ["a"])
        bench.apply(pod("a", ownerReferences=[]))
        own = WorkloadRef("", "Pod", "team1", "weather-1")
        await eventually(lambda: bench.names(own) == ["a"])
        assert bench.names() == []


async def test_owners_that_cannot_be_read_are_asked_for_again() -> None:
    """An outage leaves the pod without a workload, not for ever."""
    async with _bench() as bench:
        bench.owners.faults = [errors.Unreachable("down"), errors.Unreachable("down")]
        bench.apply(pod("a"))
        await eventually(lambda: bench.names() == ["a"])
        assert len(bench.pods.unresolved()) == 0


@pytest.mark.parametrize(
    ("fields", "expected", "reason"),
    [
        ({}, 1, "a running pod"),
        ({"phase": "Pending"}, 0, "it still starts"),
        ({"phase": "Succeeded"}, 0, "it has ended"),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, 0, "it is about to"),
        ({"receipt": RECEIPT.replace("envoy-proxy", "spiffe-helper")}, 0, "it has no Envoy"),
        ({"receipt": "nonsense"}, 1, "nobody knows: it is missed until it connects"),
    ],
)
async def test_proxies_that_ought_to_be_connected(fields: dict[str, Any], expected: int, reason: str) -> None:
    """The number that acknowledgements are held against."""
    async with _bench() as bench:
        bench.apply(pod("a", **fields))
        await eventually(lambda: bench.names() == ["a"])
        assert bench.pods.proxies(DEPLOYMENT) == expected, reason


def test_receipts_are_read_once_and_faults_name_the_pod() -> None:
    """The same object for all pods that share it."""
    pods = Pods(FakeApi(), Owners(), logger=logging.Logger("test"))
    assert pods.receipt(pod("a")) is pods.receipt(pod("b"))
    for _ in range(2):
        with pytest.raises(errors.ManifestError, match="Pod team1/weather-1: the receipt is not JSON"):
            pods.receipt(pod(receipt="nonsense"))
