"""Other meshes' interceptors, by name and shape: two cannot redirect one pod's traffic.

A name alone proves nothing (an nginx may be called istio-proxy), and a shape alone is enough (a mirrored or renamed one).
Shapes as Istio and Linkerd write them into pods; recorded ones are test data.
"""

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.sidecars import Placed

JSON = Any  # a raw container


@dataclass(frozen=True, slots=True)
class _Mesh:
    """How one mesh's containers look: their names, words of their images, arguments, environment."""

    name: str
    names: tuple[str, ...]
    words: tuple[str, ...]
    images: tuple[str, ...]
    arguments: tuple[tuple[str, ...], ...]
    environment: str
    way_out: str


_MESHES: Final = (
    _Mesh(
        "Istio",
        ("istio-proxy", "istio-init", "istio-validation"),
        ("istio", "proxyv2"),
        ("proxyv2",),
        (("proxy", "sidecar"), ("istio-iptables",)),
        "ISTIO_META_",
        "use Istio's ambient mode, or do not inject it",
    ),
    _Mesh(
        "Linkerd",
        ("linkerd-proxy", "linkerd-init", "linkerd-network-validator"),
        ("linkerd", "l5d"),
        ("linkerd/proxy", "linkerd/proxy-init"),
        (("--incoming-proxy-port",),),
        "LINKERD2_PROXY_",
        "leave this pod out of the Linkerd mesh (an ambient mesh can share it), or do not inject it",
    ),
)

_NAME: Final = operator.itemgetter("name")
_VARIABLES: Final = tuple(mesh.environment for mesh in _MESHES)


def interceptor(containers: Iterable[Placed]) -> tuple[str, str] | None:
    """Returns (field, sentence) of the first container that another mesh redirects traffic with; None where none is."""
    for place, container in containers:
        image, variable = _repository(container.get("image") or ""), _variable(container)
        for mesh in _MESHES:
            shape = _shape(mesh, container, image, variable)
            if shape:
                name = container.get("name", "")
                what = f"container {name!r} is {mesh.name}'s interceptor ({shape})"
                return place, f"{what}; two cannot redirect one pod's traffic: {mesh.way_out}"
    return None


def _variable(container: Mapping[str, JSON]) -> str:
    """Returns the first environment variable that is a mesh's own; empty without one.

    Pods may have thousands, so all names are searched as one text. A name with a newline, which Kubernetes refuses, is
    taken for two: that finds too much rather than too little.
    """
    names = "\n".join(map(_NAME, container.get("env") or ()))
    if not any(variable in names for variable in _VARIABLES):
        return ""
    return next((name for name in names.split("\n") if name.startswith(_VARIABLES)), "")


def _shape(mesh: _Mesh, container: Mapping[str, JSON], image: str, variable: str) -> str:
    """Returns what shows that a container is that mesh's; empty where nothing does."""
    if any(image == known or image.endswith(f"/{known}") for known in mesh.images):
        return f"image {container['image']!r}"
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    for wanted in mesh.arguments if words else ():
        if any(tuple(words[at : at + len(wanted)]) == wanted for at in range(len(words))):
            return f"arguments {' '.join(wanted)!r}"
    if variable.startswith(mesh.environment):
        return f"environment {mesh.environment}*"
    if container.get("name") not in mesh.names:
        return ""
    if image in ("", "auto"):  # left to the mesh's own webhook to fill in
        return "name, and an image for the mesh to fill in"
    return f"name and image {container['image']!r}" if any(word in image for word in mesh.words) else ""


def _repository(image: str) -> str:
    """Returns an image without digest and tag; a port of the registry is no tag."""
    bare = image.partition("@")[0]
    head, _, last = bare.rpartition("/")
    last = last.partition(":")[0]
    return f"{head}/{last}" if head else last
