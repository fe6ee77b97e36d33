"""Snapshots over caches that a test fills: everything of the process but its API client and its gRPC server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

from kagenti.core.ads import Encoded, Reference, Snapshot
from kagenti.core.delivery import Context
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.settings import Resolver
from kagenti.core.store import Apply, Delete, InitDone
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import OBSERVED, StoredObject, StoredPod, keep_last_valid
from kagenti.xds.builder import Builder
from kagenti.xds.catalogue import Catalogue
from kagenti.xds.encoding import Encoder
from kagenti.xds.identity import PodIdentity
from kagenti.xds.pods import Pods
from kagenti.xds.snapshots import Snapshots, Subscription
from tests.unit.core.settings.given import nested
from tests.unit.xds.cluster import NOW, FakeApi, pod
from tests.unit.xds.waiting import eventually

JSON = Any  # values by path, and bodies of resources

WEATHER = WorkloadRef("apps", "Deployment", "team1", "weather")
KEYS = '{"keys":[]}'


class FakeKeys:
    """Key sets that a test sets; ``leases`` are those that are held."""

    def __init__(self) -> None:
        self.sets: dict[str, str] = {}
        self.leases: list[tuple[str, str]] = []
        self.room = 100
        self._listeners: list[Callable[[str], None]] = []

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def lease(self, url: str, *, namespace: str) -> bool:
        if len(self.leases) >= self.room:
            return False
        self.leases.append((url, namespace))
        return True

    def release(self, url: str, *, namespace: str) -> None:
        self.leases.remove((url, namespace))

    def get(self, url: str) -> str | None:
        return self.sets.get(url, self.sets.get("*"))

    def put(self, keys: str | None, *, url: str = "*") -> None:
        """Sets what is known and tells it of every URL that is held."""
        if keys is None:
            self.sets.pop(url, None)
        else:
            self.sets[url] = keys
        for held in {held for held, _ in self.leases}:
            for listener in self._listeners:
                listener(held)


class FakeOwners:
    """Deployments by ReplicaSet uid."""

    def __init__(self) -> None:
        self.tops: dict[str, WorkloadRef] = {"rs-1": WEATHER}

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        return self.tops.get(reference.uid)


def encode(type_url: str, name: str, body: JSON, references: frozenset[Reference]) -> Encoded:
    """A resource whose payload can be read by a test."""
    return Encoded.of(type_url, name, orjson.dumps(body, default=dict, option=orjson.OPT_SORT_KEYS), references)


def stored(kind: str, name: str = "default", *, namespace: str = "", version: str = "1", **parts: JSON) -> StoredObject:
    """Returns an object of ours as a watch brings it; ``parts`` are spec, status, labels, generation."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}", "resourceVersion": version}
    metadata |= {"labels": parts.pop("labels", {}), "generation": parts.pop("generation", 1)}
    return OBSERVED[kind].decode(orjson.dumps({"metadata": metadata, "spec": parts.pop("spec", {}), **parts}))


class Bench:
    """The parts, wired as ``start`` does."""

    def __init__(self) -> None:
        self.keys, self.owners, self.catalogue = FakeKeys(), FakeOwners(), Catalogue()
        self.layers = LayerCache()
        keep_last_valid(self.catalogue, self.layers)
        self.logger = logging.Logger("test")
        self.pods = Pods(FakeApi(), self.owners, logger=self.logger)
        self.encoder = Encoder(encode)
        self.builder = Builder(
            catalogue=self.catalogue,
            keys=self.keys,
            layers=self.layers,
            context=Context(Installation(), Resolver()),
            encoder=self.encoder,
            logger=self.logger,
        )
        self.snapshots = Snapshots(catalogue=self.catalogue, pods=self.pods, keys=self.keys, builder=self.builder)
        self._version = 1

    def sync(self) -> None:
        """Ends the first full list of every cache."""
        for store in (*self.catalogue.stores.values(), self.pods.store):
            store.apply(InitDone())  # type: ignore[attr-defined]  # stores of two kinds

    def apply(self, kind: str, name: str = "default", *, namespace: str = "", **parts: JSON) -> StoredObject:
        """Applies an object; values by dotted path may be given as ``values``."""
        self._version += 1
        if "values" in parts:
            parts["spec"] = nested(parts.pop("values")) | parts.get("spec", {})
        made = stored(kind, name, namespace=namespace, version=str(self._version), **parts)
        self.catalogue.stores[kind].apply(Apply(made))
        return made

    def delete(self, made: StoredObject) -> None:
        self.catalogue.stores[made.kind].apply(Delete(made))

    def configure(self, namespace: str = "team1", **values: JSON) -> StoredObject:
        """Applies the namespace's config; ``audience="x"`` and other values of ``SHORT``."""
        return self.apply(
            "AgentRuntimeConfig", namespace=namespace, values={SHORT[key]: v for key, v in values.items()}
        )

    async def run_pod(self, made: StoredPod) -> None:
        """Applies a pod and waits until its workload is known."""
        self.pods.store.apply(Apply(made))
        await eventually(lambda: self.pods.workload(made.uid))

    async def stream(self, made: StoredPod | None = None, *, workload: WorkloadRef = WEATHER) -> "Stream":
        """Opens a stream of a pod, which is applied first."""
        made = made or pod()
        await self.run_pod(made)
        return Stream(self.snapshots, PodIdentity(made, workload, NOW + 3600))


SHORT = {
    "audience": "identity.inbound.validation.audience",
    "realm": "identity.clientRegistration.keycloak.realm",
    "url": "identity.clientRegistration.keycloak.url",
    "jwks": "identity.inbound.validation.jwksUrl",
    "rules": "identity.outbound.tokenExchange.destinationRules",
    "port": "identity.inbound.port",
}


class Stream:
    """One stream's subscription; ``changes`` counts what it was told."""

    def __init__(self, snapshots: Snapshots, identity: PodIdentity) -> None:
        self.changes = 0
        self.subscription: Subscription = snapshots.subscribe(identity, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    @property
    def snapshot(self) -> Snapshot | None:
        return self.subscription.snapshot

    @property
    def revision(self) -> str:
        return self.snapshot.revision if self.snapshot else ""

    def text(self) -> str:
        """Returns every resource as one text."""
        assert self.snapshot is not None
        payloads = [found.payload for kind in self.snapshot.resources.values() for found in kind.values()]
        return b"\n".join(payloads).decode()

    async def given(self) -> str:
        """Waits for a snapshot and returns its revision."""
        await eventually(lambda: self.snapshot)
        return self.revision

    async def another(self, revision: str) -> str:
        """Waits for another snapshot and returns its revision."""
        await eventually(lambda: self.revision not in ("", revision))
        return self.revision


@asynccontextmanager
async def running(*, keys: str | None = KEYS, synced: bool = True) -> AsyncIterator[Bench]:
    """A bench whose tasks run; namespaces team1 and team2 exist, and keys are known unless ``keys`` is None."""
    bench = Bench()
    bench.keys.put(keys)
    for name in ("team1", "team2"):
        bench.apply("Namespace", name)
    if synced:
        bench.sync()
    tasks = [asyncio.create_task(bench.snapshots.run()), asyncio.create_task(bench.pods.run())]
    try:
        yield bench
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
