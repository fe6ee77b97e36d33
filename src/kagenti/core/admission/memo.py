"""Sidecars already built: replicas of one workload get equal ones, and building is half of an admission's time.

A key holds everything of the pod that ``sidecars.build`` reads; a test compares remembered with fresh ones.
"""

from collections.abc import Hashable, Mapping
from typing import Final

from kagenti.core import settings, sidecars
from kagenti.core.installation import Installation
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import Sidecars
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

# About 15 KiB each.
ROOM: Final = 512
_LABELS: Final = tuple(wellknown.COMPONENT_OPT_OUT_LABELS.values())


class SidecarMemo:
    """Remembers what was built; the one that was built longest ago goes first. What it returns is not to be changed."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._built: dict[Hashable, Sidecars] = {}

    def __len__(self) -> int:
        return len(self._built)

    def build(
        self,
        resolved: ResolvedSettings,
        *,
        subject: Subject,
        installation: Installation,
        locked: tuple[str, ...],
    ) -> Sidecars:
        """Returns what ``sidecars.build`` returns for this pod and these settings."""
        revisions = (resolved.live_revision, resolved.restart_revision)
        key = (revisions, subject.owner, subject.service_account, installation, locked, _read_of(subject))
        built = self._built.get(key)
        if built is not None:
            return built
        values = settings.values_for(resolved, owner=subject.owner, service_account=subject.service_account)
        built = sidecars.build(resolved, subject=subject, values=values, installation=installation, locked=locked)
        if len(self._built) >= self._room:
            del self._built[next(iter(self._built))]
        self._built[key] = built
        return built


def _read_of(subject: Subject) -> Hashable:
    """Returns what the sidecars depend on: opt-out labels, excluded ports, declared ports, httpGet probes."""
    running = sidecars.running(sidecars.app_containers(subject, sidecars.RESERVED_CONTAINERS))
    return (
        _of(subject.labels, _LABELS),
        subject.annotations.get(wellknown.OUTBOUND_PORTS_EXCLUDE_ANNOTATION),
        subject.annotations.get(wellknown.INBOUND_PORTS_EXCLUDE_ANNOTATION),
        tuple(sidecars.declared(running)),
        tuple((bypass.path, bypass.port) for bypass in sidecars.probe_bypasses(running)),
    )


def _of(labels: Mapping[str, str], names: tuple[str, ...]) -> tuple[str | None, ...]:
    return tuple(labels.get(name) for name in names)
