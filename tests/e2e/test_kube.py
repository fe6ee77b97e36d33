"""The reflector, owner reads and strict reads against the real API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import pytest

from kagenti import errors
from kagenti.core.store import Store
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import KINDS, KubeClient, OwnerReader, Reflector, StoredObject, StrictReader, status_manifest
from kagenti.kube.connection import connect
from tests.e2e.kinds import serve_kinds
from tests.e2e.plane.control_plane import ControlPlane

DEADLINE = 20.0  # seconds


@asynccontextmanager
async def reflecting(cluster: ControlPlane, kind: str) -> AsyncIterator[tuple[KubeClient, Store[StoredObject]]]:
    """A client, and a store that a reflector feeds for the length of the block."""
    async with KubeClient(connect(str(cluster.kubeconfig))) as client:
        store: Store[StoredObject] = Store(KINDS[kind].indexes)
        task = asyncio.create_task(Reflector(client, KINDS[kind], store).run())
        try:
            yield client, store
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: object) -> None:
    """Waits, on the loop's own turns, until ``condition()`` holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # type: ignore[operator]  # a callable, kept short for lambdas
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module", autouse=True)
def _kinds(cluster: ControlPlane) -> None:
    """The CRDs are installed."""
    serve_kinds(cluster)


def _runtime(name: str) -> str:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    metadata = {"name": name, "namespace": "default"}
    return orjson.dumps(
        {
            "apiVersion": "kagenti.io/v1alpha1",
            "kind": "AgentRuntime",
            "metadata": metadata,
            "spec": {"targetRef": reference},
        }
    ).decode()


async def test_namespaces_come_and_go(cluster: ControlPlane) -> None:
    """A created namespace appears with its labels, a relabelled one changes, a deleted one disappears."""
    async with reflecting(cluster, "Namespace") as (_, store):
        await until(lambda: store.synced)
        assert store.get("", "kube-system") is not None
        cluster.kubectl("create", "namespace", "seen")
        await until(lambda: store.get("", "seen"))
        cluster.kubectl("label", "namespace", "seen", "kagenti.io/enrolled=true", "other=label")
        await until(lambda: "kagenti.io/enrolled" in store.get("", "seen").labels)
        assert store.get("", "seen").labels["other"] == "label"
        cluster.kubectl("delete", "namespace", "seen")
        await until(lambda: store.get("", "seen") is None)


async def test_an_api_server_that_restarts_is_caught_up_with(cluster: ControlPlane) -> None:
    """After a restart the stream goes on, and what happened meanwhile is there."""
    async with reflecting(cluster, "Namespace") as (_, store):
        await until(lambda: store.synced)
        cluster.restart_api_server()  # on this thread: a child dies with the thread that started it
        cluster.kubectl("create", "namespace", "after-restart")
        await until(lambda: store.get("", "after-restart"))


async def test_a_strict_read_sees_what_was_just_written(cluster: ControlPlane) -> None:
    """A LIST by selectable field returns an AgentRuntime right after its creation, and nothing of other targets."""
    async with reflecting(cluster, "AgentRuntime") as (client, store):
        strict = StrictReader(client)
        cluster.kubectl("create", "-f", "-", stdin=_runtime("fresh"))
        found = await strict.runtimes_for("default", "Deployment", "fresh")
        assert [item.name for item in found] == ["fresh"]
        assert await strict.runtimes_for("default", "Deployment", "other") == ()
        assert await strict.runtimes_for("default", "Deployment", "fresh,metadata.name=other") == ()
        await until(lambda: store.by_index("target", WorkloadRef("apps", "Deployment", "default", "fresh")))


async def test_the_owner_chain_ends_at_the_deployment(cluster: ControlPlane) -> None:
    """A ReplicaSet's controller is its Deployment; a reference with another UID does not hold."""
    cluster.kubectl("create", "deployment", "chain", "--image=example/app:1")
    async with KubeClient(connect(str(cluster.kubeconfig))) as client:
        items: list[dict[str, dict[str, str]]] = []

        async def listed() -> bool:
            body = await client.get(
                "/apis/apps/v1/namespaces/default/replicasets", params={"labelSelector": "app=chain"}
            )
            items[:] = orjson.loads(body)["items"]
            return bool(items)

        async with asyncio.timeout(DEADLINE):
            while not await listed():
                await asyncio.sleep(0.01)
        metadata = items[0]["metadata"]
        reader = OwnerReader(client)
        reference = OwnerReference("apps/v1", "ReplicaSet", metadata["name"], metadata["uid"])
        expected = WorkloadRef("apps", "Deployment", "default", "chain")
        assert await reader.top_owner(reference, "default") == expected
        assert await reader.top_owner(reference, "default") == expected
        assert reader.reads == 1
        forged = OwnerReference("apps/v1", "ReplicaSet", metadata["name"], "0-0-0")
        assert await reader.top_owner(forged, "default") is None


async def test_a_missing_kind_is_named(cluster: ControlPlane) -> None:
    """The error says what was asked for and what the server answered."""
    async with KubeClient(connect(str(cluster.kubeconfig))) as client:
        with pytest.raises(errors.NotFound, match="404"):
            await client.get("/apis/kagenti.io/v1alpha1/nothing")


async def test_what_a_manager_has_in_a_status_is_taken_back_though_nobody_else_has_anything_there(
    cluster: ControlPlane,
) -> None:
    """By leaving the status out; ``{}`` in its place is refused, and everything stays."""
    name = "alone"
    path = f"/apis/kagenti.io/v1alpha1/namespaces/default/agentruntimes/{name}"
    entry = {"replica": "a", "acked": 1, "rejected": 0, "pending": 0, "disconnected": 0, "revision": "r"}
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=_runtime(name))
    async with KubeClient(connect(str(cluster.kubeconfig))) as client:
        uid = orjson.loads(await client.get(path))["metadata"]["uid"]

        async def applied(status: object) -> bytes:
            manifest = status_manifest("AgentRuntime", "default", name, uid, status)
            return await client.apply(f"{path}/status", manifest, manager="kagenti-xds-a")

        assert orjson.loads(await applied({"propagation": [entry]}))["status"] == {"propagation": [entry]}
        refused = {**status_manifest("AgentRuntime", "default", name, uid, None), "status": {}}
        with pytest.raises(errors.ClusterError, match="422"):
            await client.apply(f"{path}/status", refused, manager="kagenti-xds-a")
        left = orjson.loads(await applied({}))
        assert "status" not in left
        assert "kagenti-xds-a" not in {field["manager"] for field in left["metadata"]["managedFields"]}
    cluster.kubectl("delete", "agentruntime", name)
