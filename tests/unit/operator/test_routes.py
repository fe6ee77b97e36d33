"""What a change concerns: exactly that, found by index; and who owns a pod."""

import asyncio
import logging
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.core.reconcile import Target, Usage
from kagenti.core.store import Apply, Delete, Init, InitApply, InitDone
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import SettledCatalogue, StoredObject
from kagenti.operator.keys import ObjectKey
from kagenti.operator.pods import ObservedPod
from kagenti.operator.population import Population
from kagenti.operator.queue import Queue
from kagenti.operator.routes import Key, Routes
from kagenti.operator.targets import GroupKind, OnTarget

JSON = Any  # a spec
WEATHER = WorkloadRef("apps", "Deployment", "team1", "weather")
OTHER = WorkloadRef("apps", "Deployment", "team2", "other")


class Targets:
    """Targets that are told by hand."""

    def __init__(self) -> None:
        self.wanted: set[GroupKind] = set()
        self.listeners: list[OnTarget] = []

    def on_target(self, listener: OnTarget) -> None:
        self.listeners.append(listener)

    def on_kind(self, listener: Any) -> None:
        self.kind_listener = listener

    def want(self, kinds: Any) -> None:
        self.wanted = set(kinds)

    def find(self, target: WorkloadRef) -> Target:
        raise AssertionError(target)


class Owners:
    """Every ReplicaSet belongs to the Deployment whose name it begins with; the first read may fail."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.failures = 0

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        self.reads.append(reference.name)
        if self.failures:
            self.failures -= 1
            raise errors.Unreachable("away")
        return WorkloadRef("apps", "Deployment", namespace, reference.name.rpartition("-")[0])


class House:
    """The caches of one process, and its queue."""

    def __init__(self) -> None:
        self.queue: Queue[Key] = Queue()
        self.catalogue, self.owners, self.targets = SettledCatalogue(), Owners(), Targets()
        self.population = Population(
            self.owners, concerned=self._concerned, logger=logging.getLogger("test"),
            sleep=lambda _: asyncio.sleep(0),
        )  # fmt: skip
        self.routes = Routes(self.queue, self.catalogue, self.population, self.targets)  # type: ignore[arg-type]  # by hand

    def _concerned(self, namespace: str) -> bool:
        return self.routes.concerned(namespace)

    def apply(
        self, kind: str, namespace: str, name: str, *, status: JSON = None, version: str = "1", **spec: JSON
    ) -> None:
        """An object comes or changes."""
        target = spec.pop("target", None)
        found = StoredObject(
            kind, namespace, name, f"uid-{name}", version, "2026-11-01T00:00:00Z",
            labels={"v": version} if kind == "Namespace" else {},
            target=target, spec=orjson.dumps(spec), status=orjson.dumps(status or {}),
        )  # fmt: skip
        self.catalogue.stores[kind].apply(Apply(found))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """An object goes."""
        found = self.catalogue.stores[kind].get(namespace, name)
        assert found is not None
        self.catalogue.stores[kind].apply(Delete(found))

    def marked(self) -> set[str]:
        """What waits in the queue, which is then emptied."""
        found = {str(key) for key in self.queue._due}
        self.queue = self.routes._queue = Queue()
        return found

    async def pods(self, *pods: ObservedPod) -> None:
        """Pods come, and their owners are read."""
        for pod in pods:
            self.population.store.apply(Apply(pod))
        task = asyncio.create_task(self.population.run())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def pod(namespace: str, name: str, owner: str, **fields: Any) -> ObservedPod:
    """A pod of a ReplicaSet."""
    reference = OwnerReference("apps/v1", "ReplicaSet", owner, f"uid-{owner}")
    return ObservedPod(namespace, name, f"uid-{name}", "1", owner=reference, phase="Running", **fields)


@pytest.fixture
def house() -> House:
    """Two namespaces with an AgentRuntime each, a config in the first, and a cluster config; nothing waits."""
    made = House()
    made.apply("AgentRuntime", "team1", "weather", target=WEATHER)
    made.apply("AgentRuntime", "team2", "other", target=OTHER)
    made.apply("AgentRuntimeConfig", "team1", "default")
    made.apply("AgentRuntimeClusterConfig", "", "default")
    made.marked()
    return made


CHANGES = [
    ("an AgentRuntime", ("AgentRuntime", "team1", "weather"), {"target": WEATHER, "type": "tool"}, {"AgentRuntime team1/weather"}),
    ("a second one for its target", ("AgentRuntime", "team1", "second"), {"target": WEATHER},
     {"AgentRuntime team1/weather", "AgentRuntime team1/second"}),
    ("a namespace's config", ("AgentRuntimeConfig", "team1", "default"), {"trace": {}},
     {"AgentRuntime team1/weather", "AgentRuntimeConfig team1/default"}),
    ("the cluster's config", ("AgentRuntimeClusterConfig", "", "default"), {"trace": {}},
     {"AgentRuntime team1/weather", "AgentRuntime team2/other", "AgentRuntimeConfig team1/default",
      "AgentRuntimeClusterConfig default"}),
    ("a namespace", ("Namespace", "", "team1"), {},
     {"AgentRuntime team1/weather", "AgentRuntimeConfig team1/default", "AgentRuntimeClusterConfig default"}),
    ("a namespace without us", ("Namespace", "", "team9"), {}, {"AgentRuntimeClusterConfig default"}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "key", "spec", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_change_marks_what_it_concerns_and_nothing_else(
    why: str, key: tuple[str, str, str], spec: JSON, expected: set[str], house: House
) -> None:
    """Fan-out by index."""
    house.apply(*key, version="2", **spec)
    assert house.marked() == expected, why


def test_a_status_that_somebody_wrote_marks_its_object_alone(house: House) -> None:
    """An entry of an xDS replica, or somebody's hand."""
    house.apply("AgentRuntime", "team1", "weather", target=WEATHER, version="2", status={"phase": "Active"})
    assert house.marked() == {"AgentRuntime team1/weather"}


def test_the_echo_of_our_own_write_is_no_news(house: House) -> None:
    """Every write would otherwise cost a second look."""
    house.routes.wrote(ObjectKey("AgentRuntime", "team1", "weather"), "2")
    house.apply("AgentRuntime", "team1", "weather", target=WEATHER, version="2", status={"phase": "Active"})
    assert house.marked() == set()
    house.apply("AgentRuntime", "team1", "weather", target=WEATHER, version="3", status={"phase": "Error"})
    assert house.marked() == {"AgentRuntime team1/weather"}


def test_a_deleted_runtime_frees_its_rivals_and_is_forgotten(house: House) -> None:
    """Its workload goes back to the layers below, and is counted on."""
    house.apply("AgentRuntime", "team1", "second", target=WEATHER)
    house.marked()
    house.delete("AgentRuntime", "team1", "second")
    assert house.marked() == {"AgentRuntime team1/weather"}
    house.delete("AgentRuntime", "team1", "weather")
    assert house.marked() == {
        "Deployment team1/weather", "AgentRuntimeConfig team1/default", "AgentRuntimeClusterConfig default",
    }  # fmt: skip


async def test_a_pod_marks_the_runtimes_of_its_workload(house: House) -> None:
    """Through one read of its ReplicaSet."""
    await house.pods(pod("team1", "weather-1", "weather-7c9"))
    assert house.marked() == {"AgentRuntime team1/weather"}
    assert house.owners.reads == ["weather-7c9"]
    assert [found.name for found in house.population.of(WEATHER)] == ["weather-1"]


async def test_pods_that_nothing_is_about_cost_no_read(house: House) -> None:
    """Until an AgentRuntime comes to their namespace, or they carry a label or a receipt."""
    await house.pods(pod("team9", "a-1", "a-1"), pod("team8", "b-1", "b-1", labelled=True))
    assert house.owners.reads == ["b-1"]
    house.apply("AgentRuntime", "team9", "a", target=WorkloadRef("apps", "Deployment", "team9", "a"))
    await house.pods()
    assert house.owners.reads == ["b-1", "a-1"]


async def test_an_owner_that_could_not_be_read_is_asked_for_again(house: House) -> None:
    """Its pod is not counted as anybody's meanwhile, and nothing is written from half a picture."""
    house.owners.failures = 1
    house.population.store.apply(Apply(pod("team1", "weather-1", "weather-7c9")))
    assert not house.population.settled("team1")
    await house.pods()
    assert house.population.settled("team1")
    assert len(house.owners.reads) == 2


async def test_a_pod_that_goes_marks_its_workload(house: House) -> None:
    """And so does one that a new list no longer names."""
    await house.pods(pod("team1", "weather-1", "weather-7c9"), pod("team1", "weather-2", "weather-7c9"))
    house.marked()
    for event in (Init(), InitApply(pod("team1", "weather-2", "weather-7c9")), InitDone()):
        house.population.store.apply(event)
    assert house.marked() == {"AgentRuntime team1/weather"}
    assert [found.name for found in house.population.of(WEATHER)] == ["weather-2"]


async def test_usage_counts_workloads_with_a_runtime_or_a_receipt(house: House) -> None:
    """By namespace, and for the cluster."""
    assert house.routes.usage.of("") == Usage(namespaces=2, workloads=2)
    await house.pods(pod("team1", "label-1", "label-1", labelled=True, receipted=True))
    assert house.routes.usage.of("team1") == Usage(namespaces=1, workloads=2)
    house.delete("AgentRuntime", "team2", "other")
    assert house.routes.usage.of("") == Usage(namespaces=1, workloads=2)
    assert house.routes.usage.of("team2") == Usage(namespaces=0, workloads=0)


def test_only_targeted_kinds_are_wanted(house: House) -> None:
    """For as long as they are targeted."""
    house.apply("AgentRuntime", "team1", "night", target=WorkloadRef("batch", "CronJob", "team1", "night"))
    assert house.targets.wanted == {("apps", "Deployment"), ("batch", "CronJob")}
    house.delete("AgentRuntime", "team1", "night")
    assert house.targets.wanted == {("apps", "Deployment")}


def test_a_target_marks_who_targets_it(house: House) -> None:
    """And nobody else."""
    for listener in house.targets.listeners:
        listener(OTHER)
    assert house.marked() == {"AgentRuntime team2/other"}


def test_keys_are_told_for_people() -> None:
    """In logs."""
    assert str(ObjectKey("AgentRuntimeClusterConfig", "", "default")) == "AgentRuntimeClusterConfig default"
