"""``kagenti images``: the images to mirror, one a line, or as a structure."""

import sys
from typing import Any

import orjson

from kagenti import __version__
from kagenti.cli import cluster
from kagenti.cli.structured import dump
from kagenti.core import images
from kagenti.core.images import Image
from kagenti.kube.client import KubeClient
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw layer

_KINDS = {
    "AgentRuntimeClusterConfig": "agentruntimeclusterconfigs",
    "AgentRuntimeConfig": "agentruntimeconfigs",
    "AgentRuntime": "agentruntimes",
}


def run(*, registry: str, output: str, kubeconfig: str | None) -> int:
    """Prints the images; ``kubeconfig`` None asks no cluster. Returns 0."""
    found = images.of_release(__version__, registry=registry)
    if kubeconfig is not None:
        found += images.of_layers(cluster.session(kubeconfig, _layers))
    sys.stdout.write(_printed(found, output))
    return 0


async def _layers(client: KubeClient) -> list[JSON]:
    layers: list[JSON] = []
    for kind, plural in _KINDS.items():
        items = orjson.loads(await client.get(f"/apis/{wellknown.API_VERSION}/{plural}"))["items"]
        layers += [{**item, "kind": kind} for item in items]
    return layers


def _printed(found: list[Image], output: str) -> str:
    if output != "table":
        rows = [{"used": image.used, "image": image.name, "mirror": image.mirror} for image in found]
        return dump(rows, output)
    lines = sorted({f"{image.name} {image.mirror}" if image.mirror != image.name else image.name for image in found})
    return "".join(f"{line}\n" for line in lines)
