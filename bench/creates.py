"""Creates against the real API server: Deployments, many AgentRuntimes for scale, and pods with and without the webhook."""

import asyncio
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

from bench.reviews import Owner, padded, pod

JSON = Any  # a raw object
PER_NAMESPACE = 10
ROUNDS = {1: 200, 50: 600, 500: 1500}
ENROLLED = {"kagenti.io/enrolled": "true"}


async def _many(
    plane: ControlPlane, requests: list[tuple[str, JSON]], *, concurrent: int, refused: list[str] | None = None
) -> list[float]:
    """Returns the seconds that each POST took; notes in ``refused`` what became of those without an answer of ours."""
    refused = [] if refused is None else refused
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    context.load_cert_chain(str(plane.admin_cert), str(plane.admin_key))
    queue, seen = iter(requests), []

    async def worker(session: aiohttp.ClientSession) -> None:
        for path, body in queue:
            start = time.perf_counter()
            async with session.post(
                plane.server + path, data=orjson.dumps(body), headers={"Content-Type": "application/json"}
            ) as answer:
                text = await answer.read()
                if answer.status == 503:  # HTTP: NotReady, try again
                    refused.append("told to try again")
                elif answer.status == 500 and b"deadline exceeded" in text:  # HTTP: the API server waited 5 s for us
                    refused.append("given up after the webhook's 5 s")
                elif answer.status >= 300 and answer.status != 409:  # HTTP: failed, but not "exists"
                    raise RuntimeError(f"{path}: {answer.status} {text[:300]!r}")
            seen.append(time.perf_counter() - start)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=concurrent)) as session:
        await asyncio.gather(*(worker(session) for _ in range(concurrent)))
    return seen


def make_namespace(plane: ControlPlane, name: str, *, enrolled: bool = True) -> None:
    """Creates a namespace."""
    metadata = {"name": name, "labels": ENROLLED if enrolled else {}}
    ApiClient(plane).create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def make_deployment(plane: ControlPlane, namespace: str, name: str) -> Owner:
    """Creates a Deployment without replicas and returns the ReplicaSet that its controller made for it."""
    api, labels = ApiClient(plane), {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "example/agent:1"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": namespace}
    answer = api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    if not answer.ok:
        raise RuntimeError(answer.message)
    found: list[JSON] = []

    def made() -> bool:
        found[:] = api.items("ReplicaSet", namespace, labelSelector=f"app={name}")
        return bool(found)

    wait_until(made, 20, lambda: f"no ReplicaSet of {name}")
    return Owner(found[0]["metadata"]["name"], found[0]["metadata"]["uid"])


def runtime_for(name: str, **settings: JSON) -> JSON:
    """An AgentRuntime for the Deployment of that name."""
    spec = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, **settings}
    return {"apiVersion": "kagenti.io/v1alpha1", "kind": "AgentRuntime", "metadata": {"name": name}, "spec": spec}


def make_runtimes(plane: ControlPlane, first: int, last: int, *, say: Callable[[str], None]) -> None:
    """Creates AgentRuntimes numbered first to last - 1, ten in a namespace."""
    places = sorted({number // PER_NAMESPACE for number in range(first, last)})
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"scale-{place}", "labels": ENROLLED}}
        for place in places
    ]
    asyncio.run(_many(plane, [("/api/v1/namespaces", found) for found in namespaces], concurrent=20))
    runtimes = []
    for number in range(first, last):
        place = f"scale-{number // PER_NAMESPACE}"
        body = runtime_for(
            f"agent-{number}",
            trace={"sampling": {"rate": 0.5}, "resourceAttributes": {"team": place, "number": str(number)}},
            identity={"inbound": {"validation": {"requiredScopes": ["agent:invoke"]}}},
        )
        runtimes.append((f"/apis/kagenti.io/v1alpha1/namespaces/{place}/agentruntimes", body))
    start = time.monotonic()
    asyncio.run(_many(plane, runtimes, concurrent=20))
    say(f"{len(runtimes)} AgentRuntimes created in {time.monotonic() - start:.0f} s")


def make_runtime(plane: ControlPlane, namespace: str, name: str) -> None:
    """Creates an AgentRuntime for the Deployment of that name."""
    path = f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}/agentruntimes"
    asyncio.run(_many(plane, [(path, runtime_for(name))], concurrent=1))


@dataclass(frozen=True)
class Creates:
    """Latencies in seconds with and without the webhook, what became of the others, and the API server's own mean."""

    with_webhook: list[float]
    without: list[float]
    refused: Counter[str]
    measured: str


def creates(plane: ControlPlane, namespace: str, owner: Owner, *, concurrent: int) -> Creates:
    """Creates labelled pods of an owner by dry run, and plain ones in a namespace where no entry is called."""
    path, outside = f"/api/v1/namespaces/{namespace}/pods?dryRun=All", "/api/v1/namespaces/default/pods?dryRun=All"
    labelled = padded(pod(namespace, owner))
    plain = padded(pod("default", owner, label=False))
    count = ROUNDS[concurrent]
    refused: list[str] = []
    asyncio.run(_many(plane, [(path, labelled)] * 20, concurrent=10))
    before = _admission_seconds(plane)
    with_webhook = asyncio.run(_many(plane, [(path, labelled)] * count, concurrent=concurrent, refused=refused))
    after = _admission_seconds(plane)
    without = asyncio.run(_many(plane, [(outside, plain)] * count, concurrent=concurrent))
    return Creates(with_webhook, without, Counter(refused), _mean(before, after))


def _admission_seconds(plane: ControlPlane) -> tuple[float, float]:
    """Returns sum and count of apiserver_admission_webhook_admission_duration_seconds over our entries."""
    text = ApiClient(plane).request("GET", "/metrics").message
    name = "apiserver_admission_webhook_admission_duration_seconds"
    total, count = (
        sum(map(float, re.findall(rf"{name}_{part}{{[^}}]*kagenti[^}}]*}} ([0-9.e+-]+)", text)))
        for part in ("sum", "count")
    )
    return total, count


def _mean(before: tuple[float, float], after: tuple[float, float]) -> str:
    count = after[1] - before[1]
    if not count:
        raise RuntimeError("the API server counted no call of our webhook: the pods were not sent to it")
    return f"{(after[0] - before[0]) / count * 1000:.1f} ms mean of {count:.0f} calls"
