"""The rejected baseline: a controller that patches a Deployment after its AgentRuntime exists, without any webhook.

It is given the best case: it watches, has everything in memory, patches at once and from one process, and what it writes
into the template is what our webhook would write. ``python -m bench.patching KUBECONFIG`` runs until it is ended.
"""

import asyncio
import contextlib
import datetime
import sys
from typing import Any

import msgspec
import orjson

from kagenti import errors
from kagenti.core import settings
from kagenti.core.admission.evaluate import Context, evaluate
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.store import Store
from kagenti.core.workload import WorkloadRef, subject_of
from kagenti.kube.client import KubeClient
from kagenti.kube.connection import connect
from kagenti.kube.kinds import KINDS, Kind, StoredObject
from kagenti.kube.reflector import Reflector

JSON = Any  # a raw Deployment
AGENT = "controller-based-patching"
"""User agent of its requests."""


class Deployment(msgspec.Struct, frozen=True):
    """One Deployment as it was received."""

    namespace: str
    name: str
    resource_version: str
    raw: bytes

    @property
    def reference(self) -> WorkloadRef:
        """What an AgentRuntime names it by."""
        return WorkloadRef("apps", "Deployment", self.namespace, self.name)


def decode(raw: msgspec.Raw | bytes) -> Deployment:
    """Returns a Deployment from its JSON."""
    metadata = orjson.loads(bytes(raw))["metadata"]
    return Deployment(metadata["namespace"], metadata["name"], metadata["resourceVersion"], bytes(raw))


class Patcher:
    """Patches the template of each Deployment that an AgentRuntime targets, once both are there."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        kind = KINDS["AgentRuntime"]
        deployments = Kind("Deployment", "/apis/apps/v1/deployments", "deployments", decode)
        self._runtimes: Store[StoredObject] = Store(kind.indexes)
        self._deployments: Store[Deployment] = Store()
        self._reflectors = (
            Reflector(client, kind, self._runtimes),
            Reflector(client, deployments, self._deployments),
        )
        self._queue: asyncio.Queue[WorkloadRef] = asyncio.Queue()
        self._runtimes.on_change(lambda _, new: self._wake(new.target if new else None))
        self._deployments.on_change(lambda _, new: self._wake(new.reference if new else None))
        self._layers, self._context = LayerCache(), Context("cr", Installation(), settings.Resolver())

    async def run(self) -> None:
        """Works until cancelled."""
        await asyncio.gather(*(reflector.run() for reflector in self._reflectors), self._work())

    def _wake(self, target: WorkloadRef | None) -> None:
        if target is not None:
            self._queue.put_nowait(target)

    async def _work(self) -> None:
        while True:
            target = await self._queue.get()
            found = self._deployments.get(target.namespace, target.name)
            runtimes = self._runtimes.by_index("target", target)
            if found is not None and runtimes:
                await self._patch(found, list(runtimes))

    async def _patch(self, found: Deployment, runtimes: list[StoredObject]) -> None:
        subject = subject_of(orjson.loads(found.raw), namespace=found.namespace)
        if subject is None:
            return
        made = evaluate(
            subject,
            sources=self._layers.gather(cluster=None, namespace=None, runtimes=runtimes),
            context=self._context,
            namespace_labels={},
            now=datetime.datetime.now(datetime.UTC),
        )
        if not made.patch:
            return
        unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": found.resource_version}
        path = f"/apis/apps/v1/namespaces/{found.namespace}/deployments/{found.name}"
        body = orjson.dumps([unchanged, *made.patch])
        with contextlib.suppress(
            errors.ClusterError
        ):  # it changed meanwhile, and its next event comes with the newer version
            await self._client.request("PATCH", path, body=body, content_type="application/json-patch+json")


async def main(kubeconfig: str) -> None:
    """Runs the controller as the owner of a kubeconfig."""
    async with KubeClient(connect(kubeconfig), user_agent=AGENT) as client:
        await Patcher(client).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
