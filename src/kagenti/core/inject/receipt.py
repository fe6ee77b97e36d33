"""The receipt: what was injected, by which trigger, from which restart settings. Recorded, never trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import Sidecars
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a receipt as it stands in the annotation

MOST_RECEIPT: Final = 32 * 1024
"""Bytes of a receipt (spec 04)."""
MOST_FILES: Final = 64 * 1024
"""Bytes of all config.kagenti.io/* annotations together (spec 04)."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an injection records of its circumstances: ``now`` is RFC 3339; ``layout`` the static Envoy layout."""

    trigger: str
    now: str
    version: str
    layout: int


@dataclass(frozen=True, slots=True)
class Added:
    """What of the user's parts of the pod is ours, so that it can be set again and taken away."""

    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotations: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    created: tuple[str, ...] = ()


def read(subject: Subject) -> Mapping[str, JSON] | None:
    """Returns the pod's receipt: None without one, empty when it cannot be read."""
    text = subject.annotations.get(wellknown.RECEIPT_ANNOTATION)
    if text is None:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, Mapping) else {}


def added_by(receipt: Mapping[str, JSON]) -> Added:
    """Returns what a receipt says was added; entries of wrong types count as absent."""
    environment = receipt.get("environment")
    return Added(
        environment={str(name): _texts(value) for name, value in environment.items()}
        if isinstance(environment, Mapping)
        else {},
        annotations=_texts(receipt.get("annotations")),
        labels=_texts(receipt.get("labels")),
        image_pull_secrets=_texts(receipt.get("imagePullSecrets")),
        created=_texts(receipt.get("created")),
    )


def _texts(value: JSON) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def write(sidecars: Sidecars, added: Added, *, settings: ResolvedSettings, stamp: Stamp) -> str:
    """Returns the receipt as canonical JSON: equal content gives equal bytes."""
    content = {
        "version": stamp.version,
        "layout": stamp.layout,
        "trigger": stamp.trigger,
        "liveRevision": settings.live_revision,
        "containers": list(sidecars.names),
        "volumes": [volume["name"] for volume in sidecars.volumes],
        "files": dict(sidecars.file_hashes),
        "portMapping": {str(port): target for port, target in sidecars.port_mapping.items()},
        "probeBypasses": [{"path": path, "port": port} for path, port in sidecars.bypasses],
        "environment": {name: list(keys) for name, keys in added.environment.items() if keys},
        "annotations": list(added.annotations),
        "labels": list(added.labels),
        "imagePullSecrets": list(added.image_pull_secrets),
        "created": list(added.created),
    }
    kept = {key: value for key, value in content.items() if value not in ([], {})}
    kept["settings"] = orjson.Fragment(settings.restart_json)
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()
