"""``kagenti withdraw``: what helm runs before it uninstalls; nothing is pushed any more, then admission is taken away.

The order is the point. Configuration stops first, so that no proxy's policy follows from what the removal does to objects;
the webhook configurations go while the webhook still answers, so that no create meets an entry without a server.
"""

import asyncio
import sys
import time
from typing import Final
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli import cluster
from kagenti.core import installed
from kagenti.kube.client import KubeClient

HELD: Final = ("xds", "operator")
"""Components that write to proxies and workloads."""
_LOOK: Final = 0.5  # seconds between two looks at pods that are ending
_CONFIGURATIONS: Final = (
    f"mutatingwebhookconfigurations/{installed.INJECTOR}",
    f"validatingwebhookconfigurations/{installed.VALIDATOR}",
)


def run(*, release_namespace: str, timeout: float, kubeconfig: str) -> int:
    """Withdraws; returns 0. A second run finds nothing to do.

    Raises:
        ClusterError: Something is still running after ``timeout`` seconds; the webhook configurations then stand.
    """

    async def work(client: KubeClient) -> None:
        await _hold(client, release_namespace, timeout=timeout)
        for path in _CONFIGURATIONS:
            await _delete(client, f"/apis/admissionregistration.k8s.io/v1/{path}")

    cluster.session(kubeconfig, work)
    return 0


async def _hold(client: KubeClient, namespace: str, *, timeout: float) -> None:
    place = quote(namespace, safe="")
    for component in HELD:
        path = f"/apis/apps/v1/namespaces/{place}/deployments/kagenti-{component}/scale"
        try:
            await client.request(
                "PATCH", path, body=b'{"spec":{"replicas":0}}', content_type="application/merge-patch+json"
            )
        except errors.NotFound:
            continue
        sys.stdout.write(f"deployment kagenti-{component} scaled to 0\n")
    selector = f"app.kubernetes.io/name=kagenti,app.kubernetes.io/component in ({','.join(HELD)})"
    until = time.monotonic() + timeout
    while names := await _names(client, f"/api/v1/namespaces/{place}/pods", selector):
        if time.monotonic() > until:
            raise errors.ClusterError(
                f"pods {', '.join(names)} still run after {timeout:g} s; admission was not taken away. "
                "Look why they do not end, then try again"
            )
        await asyncio.sleep(_LOOK)


async def _names(client: KubeClient, path: str, selector: str) -> list[str]:
    items = orjson.loads(await client.get(path, params={"labelSelector": selector}))["items"]
    return sorted(item["metadata"]["name"] for item in items)


async def _delete(client: KubeClient, path: str) -> None:
    try:
        await client.request("DELETE", path)
    except errors.NotFound:
        return
    sys.stdout.write(f"{path.rpartition('/v1/')[2]} deleted\n")
