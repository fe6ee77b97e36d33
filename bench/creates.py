"""Creates against the real API server: many AgentRuntimes for scale, and pods with and without the webhook."""

import asyncio
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.control_plane import ControlPlane

from bench.reviews import pod

JSON = Any  # a raw object
PER_NAMESPACE = 10
ROUNDS = {1: 200, 50: 600, 500: 1500}


def _context(plane: ControlPlane) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    context.load_cert_chain(str(plane.admin_cert), str(plane.admin_key))
    return context


async def _many(
    plane: ControlPlane, requests: list[tuple[str, JSON]], *, concurrent: int, refused: list[str] | None = None
) -> list[float]:
    """Returns the seconds that each POST took; those answered "try again" are noted in ``refused``."""
    refused = [] if refused is None else refused
    connector = aiohttp.TCPConnector(ssl=_context(plane), limit=concurrent)
    queue, seen = iter(requests), []

    async def worker(session: aiohttp.ClientSession) -> None:
        for path, body in queue:
            start = time.perf_counter()
            async with session.post(
                plane.server + path, data=orjson.dumps(body), headers={"Content-Type": "application/json"}
            ) as answer:
                text = await answer.read()
                if answer.status == 503:  # HTTP: NotReady, try again
                    refused.append(path)
                elif answer.status >= 300 and answer.status != 409:  # HTTP: failed, but not "exists"
                    raise RuntimeError(f"{path}: {answer.status} {text[:300]!r}")
            seen.append(time.perf_counter() - start)

    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(concurrent)))
    return seen


def make_runtimes(plane: ControlPlane, first: int, last: int, *, say: Callable[[str], None]) -> None:
    """Creates AgentRuntimes numbered first to last - 1, ten in a namespace."""
    places = sorted({number // PER_NAMESPACE for number in range(first, last)})
    labels = {"kagenti.io/enrolled": "true"}
    namespaces = [
        (
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"scale-{place}", "labels": labels}},
        )
        for place in places
    ]
    asyncio.run(_many(plane, namespaces, concurrent=20))
    runtimes = []
    for number in range(first, last):
        place = f"scale-{number // PER_NAMESPACE}"
        spec = {
            "targetRef": {"apiVersion": "v1", "kind": "Pod", "name": f"agent-{number}"},
            "trace": {"sampling": {"rate": 0.5}, "resourceAttributes": {"team": place, "number": str(number)}},
            "identity": {"inbound": {"validation": {"requiredScopes": ["agent:invoke"]}}},
        }
        body = {
            "apiVersion": "kagenti.io/v1alpha1",
            "kind": "AgentRuntime",
            "metadata": {"name": f"agent-{number}"},
            "spec": spec,
        }
        runtimes.append((f"/apis/kagenti.io/v1alpha1/namespaces/{place}/agentruntimes", body))
    start = time.monotonic()
    asyncio.run(_many(plane, runtimes, concurrent=20))
    say(f"{len(runtimes)} AgentRuntimes created in {time.monotonic() - start:.0f} s")


@dataclass(frozen=True)
class Creates:
    """Latencies of creates in seconds, with and without the webhook, and how many were refused as NotReady."""

    with_webhook: list[float]
    without: list[float]
    refused: int


async def creates(plane: ControlPlane, namespace: str, *, concurrent: int, name: str) -> Creates:
    """Creates pods of that name by dry run, labelled in the namespace, and plain in one where no entry is called."""
    path, outside = f"/api/v1/namespaces/{namespace}/pods?dryRun=All", "/api/v1/namespaces/default/pods?dryRun=All"
    labelled = pod(namespace)
    labelled["metadata"]["name"] = name
    count, refused = ROUNDS[concurrent], []
    await _many(plane, [(path, labelled)] * 20, concurrent=10)
    with_webhook = await _many(plane, [(path, labelled)] * count, concurrent=concurrent, refused=refused)
    without = await _many(plane, [(outside, pod("default", label=False))] * count, concurrent=concurrent)
    return Creates(with_webhook, without, len(refused))


def make_runtime(plane: ControlPlane, namespace: str, name: str) -> None:
    """Creates an AgentRuntime for the pod of that name."""
    spec = {"targetRef": {"apiVersion": "v1", "kind": "Pod", "name": name}}
    body = {"apiVersion": "kagenti.io/v1alpha1", "kind": "AgentRuntime", "metadata": {"name": name}, "spec": spec}
    asyncio.run(_many(plane, [(f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}/agentruntimes", body)], concurrent=1))


def webhook_metrics(plane: ControlPlane) -> str:
    """Returns the mean of apiserver_admission_webhook_admission_duration_seconds for our entries."""
    answer = ApiClient(plane).request("GET", "/metrics")
    text = answer.message
    name = "apiserver_admission_webhook_admission_duration_seconds"
    total = sum(float(value) for value in re.findall(rf"{name}_sum{{[^}}]*kagenti[^}}]*}} ([0-9.e+-]+)", text))
    count = sum(float(value) for value in re.findall(rf"{name}_count{{[^}}]*kagenti[^}}]*}} ([0-9.e+-]+)", text))
    return f"{total / count * 1000:.1f} ms over {count:.0f} calls" if count else "not offered"
