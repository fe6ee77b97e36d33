"""The table of injected containers, and what follows from it. Another layout of containers is another table."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Row:
    """One injected container: its component, when it is there, and how it is built. The order is the start order.

    The flags say what the rest of the code asks of a container, so that nothing asks for its name: it ``proxies``
    (serves the intercepted ports), ``redirects`` (sends the pod's traffic to the one that proxies), ``identifies``
    (keeps SVIDs under /opt), ``registers`` (waits for an SVID where SPIFFE is on).
    """

    component: str
    name: str
    when: Callable[[ResolvedSettings], bool]
    build: Callable[[Plan], dict[str, JSON]]
    proxies: bool = False
    redirects: bool = False
    identifies: bool = False
    registers: bool = False


Layout = tuple[Row, ...]


def _identity(settings: ResolvedSettings) -> bool:
    return settings.flag("identity.enabled")


def _proxied(settings: ResolvedSettings) -> bool:
    """Inbound, token exchange or tracing needs Envoy."""
    wanted = _identity(settings) and any(settings.flag(path) for path in _ENVOY_PATHS)
    return wanted or bool(settings.items("trace.exporters"))


LAYOUT: Final[Layout] = (
    Row(
        "spiffeHelper",
        wellknown.SPIFFE_HELPER,
        lambda settings: _identity(settings) and settings.flag("identity.spiffe.enabled"),
        containers.spiffe_helper,
        identifies=True,
    ),
    Row(
        "clientRegistration",
        wellknown.CLIENT_REGISTRATION,
        lambda settings: _identity(settings) and not settings.text(f"{REGISTRATION}.credentialsSecret"),
        containers.client_registration,
        registers=True,
    ),
    Row("envoyProxy", wellknown.ENVOY_PROXY, _proxied, containers.envoy_proxy, proxies=True),
    Row("proxyInit", wellknown.PROXY_INIT, _proxied, containers.proxy_init, redirects=True),
)
"""spiffe-helper → client-registration → envoy-proxy → proxy-init, then the user's own init containers (spec 04)."""

LAYOUTS: Final[tuple[Layout, ...]] = (LAYOUT,)
"""Every layout that a pod of any version may carry."""


def reserved_by(layouts: Iterable[Layout]) -> frozenset[str]:
    """Returns the container names of these layouts, which nobody else may use."""
    return frozenset(row.name for layout in layouts for row in layout)


RESERVED_CONTAINERS: Final = reserved_by(LAYOUTS)


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Everything a pod gets, in the form in which it gets it. ``environment`` is for the app's containers.

    ``components`` is container → component, ``reserved`` the names that are ours in this pod, ``files`` annotation →
    content, ``files_size`` all their bytes, ``proxied`` and ``redirected`` whether a container serves the intercepted ports
    and one sends the pod's traffic there, ``port_mapping`` and ``bypasses`` None where inbound traffic is not
    validated, ``waits_for`` what a container would wait for in vain, ``invalid`` what came out with a control character.
    """

    init_containers: tuple[dict[str, JSON], ...] = ()
    components: Mapping[str, str] = field(default_factory=dict)
    reserved: frozenset[str] = RESERVED_CONTAINERS
    volumes: tuple[dict[str, JSON], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    file_hashes: Mapping[str, str] = field(default_factory=dict)
    files_size: int = field(init=False)
    annotations: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    image_pull_secrets: tuple[str, ...] = ()
    proxied: bool = False
    redirected: bool = False
    port_mapping: Mapping[int, int] | None = None
    bypasses: tuple[tuple[str, int], ...] | None = None
    inbound_excluded: tuple[int, ...] = ()
    waits_for: str = ""
    invalid: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Counts once for all pods that get these files."""
        object.__setattr__(self, "files_size", sum(len(text.encode()) for text in self.files.values()))  # frozen

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
    layout: Layout = LAYOUT,
) -> Sidecars:
    """Returns what this pod gets.

    ``locked`` are setting paths that bind the pod's own labels and annotations (locks, Mandatory).
    """
    rows = _rows(layout, settings, subject, locked)
    if not rows:
        return Sidecars()
    plan = Plan(
        settings,
        values,
        outbound_excluded=ports.excluded(settings, subject, inbound=False, locked=locked),
        inbound_excluded=ports.excluded(settings, subject, inbound=True, locked=locked),
    )
    reserved = RESERVED_CONTAINERS | reserved_by([layout])
    return _assembled(rows, plan, subject, reserved, installation=installation, locked=locked)


def _assembled(
    rows: Layout,
    plan: Plan,
    subject: Subject,
    reserved: frozenset[str],
    *,
    installation: Installation,
    locked: Sequence[str],
) -> Sidecars:
    settings, made = plan.settings, tuple(row.build(plan) for row in rows)
    mounted = {mount["name"] for container in made for mount in container.get("volumeMounts") or ()}
    files = storage.files(plan, mounted, installation=installation)
    annotations, given = environment.annotations(settings), environment.environment(settings, plan.values)
    mapping, bypasses = _inbound(rows, settings, ports.running(ports.app_containers(subject, reserved)))
    return Sidecars(
        init_containers=made,
        components={container["name"]: row.component for row, container in zip(rows, made, strict=True)},
        reserved=reserved,
        volumes=tuple(storage.volumes(plan, mounted)),
        files=files,
        file_hashes={key: hashlib.sha256(text.encode()).hexdigest() for key, text in files.items()},
        annotations=annotations,
        environment=given,
        image_pull_secrets=settings.items("injection.imagePullSecrets"),
        proxied=any(row.proxies for row in rows),
        redirected=any(row.redirects for row in rows),
        port_mapping=mapping,
        bypasses=bypasses,
        inbound_excluded=tuple(plan.inbound_excluded),
        waits_for=_waits_for(rows, settings),
        invalid=tuple(_invalid(made, {**annotations, **given})),
        warnings=tuple(_warnings(rows, plan, subject, locked)),
    )


def _inbound(
    rows: Layout, settings: ResolvedSettings, app: Sequence[ports.Placed]
) -> tuple[Mapping[int, int] | None, tuple[tuple[str, int], ...] | None]:
    """Returns port mapping and probe bypasses; None for both where inbound traffic is not validated."""
    validated = _identity(settings) and settings.flag("identity.inbound.enabled")
    if not validated or not any(row.proxies for row in rows):
        return None, None
    bypasses = dict.fromkeys((found.path, found.port) for found in ports.probe_bypasses(app))
    return ports.mapping(settings, ports.declared(app)), tuple(bypasses)


def _warnings(rows: Layout, plan: Plan, subject: Subject, locked: Sequence[str]) -> Iterator[str]:
    yield from environment.warnings(plan.settings)
    yield from (f"{note.reason}: {note.message}" for note in plan.values.notes)
    yield from _opt_out_notes(subject, locked)
    if any(row.redirects for row in rows):
        yield from ports.exclusion_notes(subject, locked=locked)


def _rows(layout: Layout, settings: ResolvedSettings, subject: Subject, locked: Sequence[str]) -> Layout:
    rows = tuple(row for row in layout if row.when(settings) and _wanted(row, settings, subject, locked))
    if any(row.proxies for row in rows):
        return rows
    return tuple(row for row in rows if not row.redirects)  # redirecting to nothing would cut the pod off


def _wanted(row: Row, settings: ResolvedSettings, subject: Subject, locked: Sequence[str]) -> bool:
    """Whether a component is on, and not taken away by the pod's opt-out label where that is allowed."""
    path = f"components.{row.component}.enabled"
    if not settings.flag(path):
        return False
    label = wellknown.COMPONENT_OPT_OUT_LABELS.get(row.component, "")
    return path in locked or subject.labels.get(label) != "false"


def _opt_out_notes(subject: Subject, locked: Sequence[str]) -> Iterator[str]:
    """Yields which opt-out labels have no effect, and why; "true" asks for what is there anyway."""
    for component, label in wellknown.COMPONENT_OPT_OUT_LABELS.items():
        path, value = f"components.{component}.enabled", subject.labels.get(label, "true")
        if value not in ("true", "false"):
            yield f'label {label} is "{value[:63]}", which means nothing; want "false" to do without it'
        elif value == "false" and path in locked:
            yield f"label {label} has no effect: {path} is locked, or Mandatory binds it; ask the platform team"


def _waits_for(rows: Layout, settings: ResolvedSettings) -> str:
    """Returns what is missing where a container needs SVIDs and nothing keeps them; it would wait for ever."""
    if not (_identity(settings) and settings.flag("identity.spiffe.enabled")) or any(row.identifies for row in rows):
        return ""
    if any(row.registers for row in rows):
        return "client registration waits for an SVID"
    federated = settings.text(f"{REGISTRATION}.authType") == "federated-jwt"
    return "token exchange authenticates by an SVID" if federated and any(row.proxies for row in rows) else ""


def _invalid(made: Iterable[Mapping[str, JSON]], given: Mapping[str, str]) -> Iterator[str]:
    """Yields the env entries and annotations whose value has a control character, whichever setting it came by."""
    for container in made:
        for entry in container.get("env") or ():
            if _CONTROL.search(entry.get("value", "")):
                yield f"{entry['name']} of container {container['name']!r}"
    for name, value in given.items():
        if _CONTROL.search(value):
            yield name
