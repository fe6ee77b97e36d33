"""Every image that an injected pod or the chart may use, for mirrors; reads no registry."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.settings.derive import mirrored
from kagenti_api.v1alpha1.built_in import BUILT_IN, ENVOY_IMAGES

JSON = Any  # a raw layer

CHART: Final = "ghcr.io/kagenti/kagenti"
"""``image.repository`` of the chart; its tag is the version of the program."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image: where it is used, its name, and its name in the mirror (itself where none is given)."""

    used: str
    name: str
    mirror: str


def of_release(version: str, *, registry: str = "") -> list[Image]:
    """Returns the built-in images and the chart's own, as ``injection.imageRegistry`` and ``image.repository`` map them."""
    found = [("chart", f"{CHART}:{version}")]
    for component, settings in BUILT_IN["components"].items():
        if "image" in settings:
            found.append((f"components.{component}", settings["image"]))
    found += [
        (f"components.envoyProxy, tokenExchange {exchange}", image) for exchange, image in sorted(ENVOY_IMAGES.items())
    ]
    return [Image(used, name, mirrored(name, registry) if registry else name) for used, name in found]


def of_layers(layers: Iterable[JSON]) -> list[Image]:
    """Returns the images that layers name themselves: such a name is used as it stands, also with a mirror."""
    found = []
    for layer in layers:
        metadata = layer.get("metadata") or {}
        place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
        components = (layer.get("spec") or {}).get("components")
        for component, settings in (components if isinstance(components, Mapping) else {}).items():
            image = settings.get("image") if isinstance(settings, Mapping) else None
            if image:
                used = f"components.{component} of {layer.get('kind')} {place}{metadata.get('name')}"
                found.append(Image(used, image, image))
    return found
