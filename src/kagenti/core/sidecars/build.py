"""The table of injected containers, and what follows from it. Another layout of containers is another table."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.installation import Installation
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import containers, environment, ports
from kagenti.core.sidecars import volumes as storage
from kagenti.core.sidecars.containers import REGISTRATION, Plan
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a container or volume as Kubernetes knows it
_ENVOY_PATHS: Final = ("identity.inbound.enabled", "identity.outbound.tokenExchange.enabled")


@dataclass(frozen=True, slots=True)
class Row:
    """One injected container: its component, when it is there, and how it is built. The order is the start order."""

    component: str
    name: str
    when: Callable[[ResolvedSettings], bool]
    build: Callable[[Plan], dict[str, JSON]]


def _identity(settings: ResolvedSettings) -> bool:
    return settings.flag("identity.enabled")


def _proxied(settings: ResolvedSettings) -> bool:
    """Inbound, token exchange or tracing needs Envoy."""
    wanted = _identity(settings) and any(settings.flag(path) for path in _ENVOY_PATHS)
    return wanted or bool(settings.items("trace.exporters"))


LAYOUT: Final[tuple[Row, ...]] = (
    Row(
        "spiffeHelper",
        wellknown.SPIFFE_HELPER,
        lambda settings: _identity(settings) and settings.flag("identity.spiffe.enabled"),
        containers.spiffe_helper,
    ),
    Row(
        "clientRegistration",
        wellknown.CLIENT_REGISTRATION,
        lambda settings: _identity(settings) and not settings.text(f"{REGISTRATION}.credentialsSecret"),
        containers.client_registration,
    ),
    Row("envoyProxy", wellknown.ENVOY_PROXY, _proxied, containers.envoy_proxy),
    Row("proxyInit", wellknown.PROXY_INIT, _proxied, containers.proxy_init),
)
"""spiffe-helper → client-registration → envoy-proxy → proxy-init, then the user's own init containers (spec 04)."""


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Everything a pod gets, in the form in which it gets it. ``environment`` is for the app's containers."""

    init_containers: tuple[dict[str, JSON], ...] = ()
    volumes: tuple[dict[str, JSON], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    file_hashes: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    image_pull_secrets: tuple[str, ...] = ()
    port_mapping: Mapping[int, int] = field(default_factory=dict)
    bypasses: tuple[tuple[str, int], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is left to inject."""
        return not self.init_containers

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the injected containers, in order."""
        return tuple(container["name"] for container in self.init_containers)


def build(
    settings: ResolvedSettings,
    *,
    subject: Subject,
    values: WorkloadValues,
    installation: Installation,
    locked: Sequence[str] = (),
    layout: Sequence[Row] = LAYOUT,
) -> Sidecars:
    """Returns what this pod gets.

    ``locked`` are setting paths that bind the pod's own labels and annotations (locks, Mandatory).
    """
    rows = [row for row in layout if row.when(settings) and _wanted(row, settings, subject, locked)]
    names = {row.name for row in rows}
    if wellknown.ENVOY_PROXY not in names:
        rows = [row for row in rows if row.name != wellknown.PROXY_INIT]  # redirecting to nothing would cut the pod off
    plan = Plan(
        settings=settings,
        values=values,
        outbound_excluded=ports.excluded(settings, subject, inbound=False, locked=locked),
        inbound_excluded=ports.excluded(settings, subject, inbound=True, locked=locked),
    )
    made = tuple(row.build(plan) for row in rows)
    if not made:
        return Sidecars()
    mounted = {mount["name"] for container in made for mount in container.get("volumeMounts") or ()}
    bypasses = tuple(dict.fromkeys((bypass.path, bypass.port) for bypass in ports.probe_bypasses(subject)))
    files = storage.files(plan, mounted, installation=installation)
    return Sidecars(
        init_containers=made,
        volumes=tuple(storage.volumes(plan, mounted)),
        files=files,
        file_hashes={key: hashlib.sha256(text.encode()).hexdigest() for key, text in files.items()},
        annotations=environment.annotations(settings),
        environment=environment.environment(settings, values),
        image_pull_secrets=settings.items("injection.imagePullSecrets"),
        port_mapping=ports.mapping(settings, subject) if wellknown.ENVOY_PROXY in names else {},
        bypasses=bypasses if wellknown.ENVOY_PROXY in names else (),
        warnings=(*environment.warnings(settings), *(note.message for note in values.notes)),
    )


def _wanted(row: Row, settings: ResolvedSettings, subject: Subject, locked: Sequence[str]) -> bool:
    """Whether a component is on, and not taken away by the pod's opt-out label where that is allowed."""
    path = f"components.{row.component}.enabled"
    if not settings.flag(path):
        return False
    label = wellknown.COMPONENT_OPT_OUT_LABELS.get(row.component, "")
    return path in locked or subject.labels.get(label) != "false"
