"""The old installation as read from its raw objects: what was written, by key, and what could not be read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.migration import cluster_files, eras, files, reasons, routes
from kagenti.core.migration.eras import Era
from kagenti.core.migration.files import EnvoyFile, RuntimeFile
from kagenti.core.migration.keys import CONFIG, ENVIRONMENTS
from kagenti.core.migration.report import Report
from kagenti.core.migration.routes import Route

JSON = Any  # a raw object, or a value of an old file

Objects = Mapping[tuple[str, str], JSON]
"""ConfigMaps by namespace and name."""


@dataclass(frozen=True, slots=True)
class OldNamespace:
    """The objects of one agent namespace. ``config`` is authbridge-config over environments, ``places`` who gave each key.

    ``unread`` are ConfigMap and key of what another map said, or nobody read. ``jwt_audience`` is helper.conf's. ``present`` are
    the names of the ConfigMaps that are there, readable or not.
    """

    name: str
    enabled: bool = False
    unread: tuple[tuple[str, str], ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    jwt_audience: str = ""
    envoy: EnvoyFile | None = None
    runtime: RuntimeFile | None = None
    present: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Old:
    """One old installation: gates and platform values as written (by dotted path), and its namespaces.

    ``trust_domain`` is SPIRE's, as the user says; empty where nobody said it. ``gates_place`` and ``platform_place`` name the
    ConfigMaps that the values came from.
    """

    era: Era
    gates: Mapping[str, bool] = field(default_factory=dict)
    platform: Mapping[str, JSON] = field(default_factory=dict)
    namespaces: Mapping[str, OldNamespace] = field(default_factory=dict)
    trust_domain: str = ""
    gates_place: str = ""
    platform_place: str = ""


_NEEDED: Final = (CONFIG, "envoy-config")


def read(
    config_maps: Iterable[JSON],
    namespaces: Iterable[JSON],
    *,
    era: Era,
    report: Report,
    only: Sequence[str] = (),
    trust_domain: str = "",
) -> Old:
    """Returns the installation that the raw ConfigMaps and Namespaces make; what cannot be read becomes a fault.

    Args:
        config_maps: Raw ConfigMaps of any namespace; those of other names are not looked at.
        namespaces: Raw Namespaces.
        era: Whose rules count.
        report: Takes faults and findings.
        only: Agent namespaces to read; empty means every one that has an object of these or the era's label.
        trust_domain: SPIRE's trust domain, where known.
    """
    objects = {
        (str(found["metadata"].get("namespace") or "default"), str(found["metadata"].get("name"))): found
        for found in config_maps
    }
    gates, gates_place = cluster_files.gates(objects, era, report)
    platform, platform_place = cluster_files.platform(objects, era, report)
    _other_pairs(objects, era, report)
    labels = {str(found["metadata"]["name"]): found["metadata"].get("labels") or {} for found in namespaces}
    names = {place for place, name in objects if name in eras.NAMESPACE_MAPS}
    names |= {name for name, own in labels.items() if own.get(era.namespace_label) == "true"}
    read_in = {
        name: _namespace(name, objects, labels.get(name), era, report)
        for name in sorted(names)
        if not only or name in only
    }
    return Old(era, gates, platform, read_in, trust_domain, gates_place, platform_place)


def _other_pairs(objects: Objects, era: Era, report: Report) -> None:
    for place, *names in eras.PAIRS:
        for name in names:
            if (place, name) in objects and (place, name) not in (
                (era.namespace, era.gates),
                (era.namespace, era.platform),
            ):
                what = f"it belongs to another installation than {era.name}'s, and was not read"
                report.warn(
                    reasons.SECOND_PAIR, f"ConfigMap {place}/{name}", f"{what}; say --era if it is the one that runs"
                )


def _namespace(name: str, objects: Objects, labels: Mapping[str, str] | None, era: Era, report: Report) -> OldNamespace:
    present = frozenset(found for found in eras.NAMESPACE_MAPS if (name, found) in objects)
    config, places, unread = _config(name, objects, era, report)
    if labels is None:
        message = f"it was not read: taken for one with the label {era.namespace_label}: true"
        report.warn(reasons.MISSING_OBJECT, f"Namespace {name}", message)
        labels = {era.namespace_label: "true"}
    for missing, what in _missing(present, era):
        report.warn(reasons.MISSING_OBJECT, f"ConfigMap {name}/{missing}", f"it is not there: {what}")

    runtime_at = f"ConfigMap {name}/authbridge-runtime-config"

    def text(which: str, key: str) -> tuple[str, str]:
        place = f"ConfigMap {name}/{which}"
        return place, cluster_files.data_of(objects.get((name, which)), place, report).get(key, "")

    runtime = files.runtime(*text("authbridge-runtime-config", "config.yaml"), report=report, used=era.consolidated)
    rules = (runtime.values.get("token-exchange.routes") or {}).get("rules") if runtime is not None else None
    return OldNamespace(
        name=name,
        enabled=labels.get(era.namespace_label) == "true",
        config=config,
        places=places,
        unread=unread,
        routes=(
            *routes.inline(runtime_at, rules or [], era=era, report=report),
            *routes.parse(*text("authproxy-routes", "routes.yaml"), era=era, report=report),
        ),
        jwt_audience=files.helper(*text("spiffe-helper-config", "helper.conf"), report=report),
        envoy=files.envoy(*text("envoy-config", "envoy.yaml"), report=report, used=not era.consolidated),
        runtime=runtime,
        present=present,
    )


_REGISTRATION_KEYS: Final = ("KEYCLOAK_URL", "KEYCLOAK_REALM", "PLATFORM_CLIENT_IDS")


def _config(
    name: str, objects: Objects, era: Era, report: Report
) -> tuple[dict[str, str], dict[str, str], tuple[tuple[str, str], ...]]:
    """Returns authbridge-config with environments beside it, who gave each key, and the keys that did not count.

    In E1 the registration read environments and the processor authbridge-config; later environments counts where the other has
    no such key, up to the images that read it, or where there is no other map (section 6.4).
    """
    maps = {which: (name, which) in objects for which in (CONFIG, ENVIRONMENTS)}
    texts = {
        which: cluster_files.data_of(objects.get((name, which)), f"ConfigMap {name}/{which}", report) for which in maps
    }
    config: dict[str, str] = {}
    places: dict[str, str] = {}
    unread: list[tuple[str, str]] = []
    for key in sorted({*texts[CONFIG], *texts[ENVIRONMENTS]}):
        holders = [which for which in maps if key in texts[which]]
        read = [which for which in holders if which == CONFIG or era.reads_environments or not maps[CONFIG]]
        if era.target == "workloads" and key in _REGISTRATION_KEYS:
            read = sorted(read, key=lambda which: (not texts[which][key].strip(), which != ENVIRONMENTS))
        if read:
            config[key], places[key] = texts[read[0]][key], f"ConfigMap {name}/{read[0]}"
        unread += [(f"ConfigMap {name}/{which}", key) for which in holders if which not in read[:1]]
    return config, places, tuple(unread)


def _missing(present: frozenset[str], era: Era) -> Iterator[tuple[str, str]]:
    """Yields what the old webhook's pods needed and is not there, and what that meant; nothing for an empty namespace."""
    if not present:
        return
    if not present & {CONFIG, ENVIRONMENTS}:
        yield CONFIG, "pods of the old webhook could not start without ISSUER and KEYCLOAK_REALM"
    if era.consolidated:
        return
    if "envoy-config" not in present:
        yield "envoy-config", "pods of the old webhook could not start without it; kagenti needs none"
    if "spiffe-helper-config" not in present:
        yield "spiffe-helper-config", "pods with SPIRE could not start without it; kagenti needs none"
