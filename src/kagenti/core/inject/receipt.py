"""The receipt: what was injected, by which trigger, from which restart settings. Recorded, never trusted."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from kagenti.core.envoy import LAYOUT
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import RESERVED_VOLUMES, Sidecars
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a receipt as it stands in the annotation

MOST_FILES: Final = 64 * 1024
"""Bytes of all config.kagenti.io/* annotations together (spec 04)."""

_SCRAPE: Final = "prometheus.io/"


class Stamp(msgspec.Struct, frozen=True):
    """What an injection records of its circumstances: ``now`` is RFC 3339; ``layout`` the static Envoy layout."""

    trigger: str
    now: str
    version: str
    layout: int


class Added(msgspec.Struct, frozen=True):
    """What of the user's parts of the pod is ours, so that it can be set again and taken away.

    ``empty`` names the maps and lists that the user had left empty: the inverse leaves those, and removes the others
    that it empties. So a receipt does not depend on whether a label stood in a map that we only add to.
    """

    environment: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    annotations: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @property
    def owned_volumes(self) -> frozenset[str]:
        """Names of volumes that are ours: the reserved ones, and what another version recorded under our prefix."""
        recorded = (name for name in self.volumes if name.startswith(wellknown.RESERVED_VOLUME_PREFIX))
        return RESERVED_VOLUMES.union(recorded)


NOTHING_ADDED: Final = Added()
"""What was added to a pod without a receipt."""


def read(subject: Subject) -> Mapping[str, JSON] | None:
    """Returns the pod's receipt: None without one, empty when it cannot be read, or not be written again."""
    text = subject.annotations.get(wellknown.RECEIPT_ANNOTATION)
    if text is None:
        return None
    try:
        found = orjson.loads(text)
        orjson.dumps(found)  # a thousand brackets can be read, and end whoever compares them
    except (orjson.JSONDecodeError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}


def added_by(receipt: Mapping[str, JSON]) -> Added:
    """Returns what a receipt says was added; entries of wrong types count as absent."""
    if not receipt:
        return NOTHING_ADDED
    environment = receipt.get("environment")
    return Added(
        environment={str(name): _texts(value) for name, value in environment.items()}
        if isinstance(environment, Mapping)
        else {},
        # Only what an injection can have added: a forged receipt takes nothing else away.
        annotations=tuple(key for key in _texts(receipt.get("annotations")) if key.startswith(_SCRAPE)),
        labels=tuple(key for key in _texts(receipt.get("labels")) if key == wellknown.TYPE_LABEL),
        image_pull_secrets=_texts(receipt.get("imagePullSecrets")),
        volumes=_texts(receipt.get("volumes")),
        empty=_texts(receipt.get("empty")),
    )


def settings_of(receipt: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Returns the restart settings that a receipt records; none where it has none."""
    found = receipt.get("settings")
    return found if isinstance(found, Mapping) else {}


def is_newer(receipt: Mapping[str, JSON]) -> bool:
    """Whether a receipt has a static layout that only a newer version of kagenti can have written."""
    layout = receipt.get("layout")
    return isinstance(layout, int) and not isinstance(layout, bool) and layout > LAYOUT


def _texts(value: JSON) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def write(sidecars: Sidecars, added: Added, *, settings: ResolvedSettings, stamp: Stamp) -> bytes:
    """Returns the receipt as canonical JSON: equal content gives equal bytes.

    ``portMapping`` is an empty object where it is off because the app declares the port itself, and absent where
    inbound traffic is not validated.
    """
    content = {
        "version": stamp.version,
        "layout": stamp.layout,
        "trigger": stamp.trigger,
        "liveRevision": settings.live_revision,
        "containers": list(sidecars.names),
        "volumes": list(added.volumes),
        "files": dict(sidecars.file_hashes),
        "probeBypasses": [{"path": path, "port": port} for path, port in sidecars.bypasses or ()],
        "environment": {name: list(keys) for name, keys in added.environment.items() if keys},
        "annotations": list(added.annotations),
        "labels": list(added.labels),
        "imagePullSecrets": list(added.image_pull_secrets),
        "empty": list(added.empty),
    }
    kept = {key: value for key, value in content.items() if value not in ([], {})}
    if sidecars.port_mapping is not None:
        kept["portMapping"] = {str(port): target for port, target in sidecars.port_mapping.items()}
    kept["settings"] = orjson.Fragment(settings.restart_json)
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
