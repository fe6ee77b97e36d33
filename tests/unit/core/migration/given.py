"""Old installations small enough for a table, migrated and verified through the functions that the command calls."""

import copy
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from kagenti.cli import manifests
from kagenti.core import layers, settings
from kagenti.core.admission.evaluate import Context, Evaluation, evaluate
from kagenti.core.installation import Installation
from kagenti.core.migration import eras, installation, mapping, verify
from kagenti.core.migration.cluster_layer import Choices
from kagenti.core.migration.installation import Old
from kagenti.core.migration.mapping import Migration
from kagenti.core.migration.patches import trigger
from kagenti.core.migration.report import Entry, Report
from kagenti.core.migration.verify import Verified
from kagenti.core.migration.workloads import OldWorkload, runtimes, workload_of
from kagenti.core.settings.model import Layer, LayerName
from kagenti.core.workload import Subject
from tests import legacy

JSON = Any  # a manifest, or a value

PLACE = "lab1"
NAMESPACES = (PLACE, "tools", "telemetry")
_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_LAYERS: dict[str, LayerName] = {
    "AgentRuntimeClusterConfig": "cluster",
    "AgentRuntimeConfig": "namespace",
    "AgentRuntime": "workload",
}


def read(objects: Sequence[JSON], era: str, *, trust_domain: str = legacy.TRUST_DOMAIN) -> tuple[Old, Report]:
    """Reads an installation of an era."""
    report = Report()
    old = installation.read(
        legacy.of_kind(objects, "ConfigMap"),
        legacy.of_kind(objects, "Namespace"),
        era=eras.ERAS[era],
        report=report,
        trust_domain=trust_domain,
    )
    return old, report


def migrated(
    objects: Sequence[JSON],
    era: str,
    *,
    choices: Choices | None = None,
    providers: tuple[str, ...] = (),
    **options: JSON,
) -> Migration:
    """Migrates an installation of an era; ``providers`` are listed by the cluster's config already."""
    old, report = read(objects, era, **options)
    facts = mapping.Cluster(namespaces=NAMESPACES, providers=providers)
    return mapping.migrate(old, report=report, choices=choices or Choices(), cluster=facts)


def era_objects(
    era: str,
    *,
    gates: str | None = None,
    platform: str | None = None,
    config: Mapping[str, str] | None = None,
    routes: str = "",
    **files: str,
) -> list[JSON]:
    """An installation with these texts, and no other ConfigMap than they make; ``files`` are those of the namespace."""
    row = eras.ERAS[era]
    made = [legacy.namespace(PLACE, row.namespace_label)]
    if gates is not None and row.gates:
        made.append(legacy.config_map(row.namespace, row.gates, **{"feature-gates.yaml": gates}))
    if platform is not None and row.platform:
        made.append(legacy.config_map(row.namespace, row.platform, **{"config.yaml": platform}))
    made.append(
        legacy.config_map(PLACE, "authbridge-config", **(legacy.AUTHBRIDGE if config is None else dict(config)))
    )
    if routes:
        made.append(legacy.config_map(PLACE, "authproxy-routes", **{"routes.yaml": routes}))
    names = {"helper": ("spiffe-helper-config", "helper.conf"), "envoy": ("envoy-config", "envoy.yaml")}
    names["runtime"] = ("authbridge-runtime-config", "config.yaml")
    for which, text in files.items():
        name, key = names[which]
        made.append(legacy.config_map(PLACE, name, **{key: text}))
    return made


def spec_of(migration: Migration, kind: str) -> JSON:
    """Returns the spec of the config of that kind, empty where none was made."""
    return next((found["spec"] for found in migration.manifests if found["kind"] == kind), {})


def at(spec: JSON, path: str) -> JSON:
    """Returns what stands at a path, or None."""
    for key in path.split("."):
        spec = spec.get(key) if isinstance(spec, dict) else None
    return spec


def value(migration: Migration, path: str) -> JSON:
    """Returns the value of a setting: the namespace's, else the cluster's, else None."""
    found = at(spec_of(migration, "AgentRuntimeConfig"), path)
    return at(spec_of(migration, "AgentRuntimeClusterConfig"), path) if found is None else found


def entry(migration: Migration, key: str) -> Entry:
    """Returns the one entry of a key."""
    (found,) = [one for one in migration.report.entries if one.key == key]
    return found


def reasons(migration: Migration) -> set[str]:
    """Returns the codes of every fault and finding."""
    return {one.reason for one in (*migration.report.faults, *migration.report.findings)}


def workload(labels: Mapping[str, str], *, account: str = "agent", **options: JSON) -> OldWorkload:
    """A Deployment of the namespace with these labels on its template."""
    annotations = options.pop("annotations", None)
    manifest = legacy.agent("agent", PLACE, labels=dict(labels), account=account, **options)
    if annotations:
        manifest["spec"]["template"]["metadata"]["annotations"] = annotations
    found = workload_of(manifest)
    assert found is not None
    return found


def triggered(found: OldWorkload) -> Subject:
    """Returns the workload with kagenti's trigger."""
    patch = trigger(found)
    if patch is None:
        return found.subject
    manifest = copy.deepcopy(found.manifest)
    manifests.apply(manifest, patch.operations)
    again = workload_of(manifest)
    assert again is not None
    return again.subject


def evaluated(migration: Migration, found: OldWorkload, subject: Subject) -> Evaluation:
    """Returns what the webhook makes of a subject under the migrated layers."""
    made = [*migration.manifests, *runtimes([found], migration.old, always=False)]
    parsed: dict[LayerName, Layer] = {_LAYERS[one["kind"]]: layers.parse(_LAYERS[one["kind"]], one) for one in made}
    resolver = settings.Resolver(is_namespace=NAMESPACES.__contains__)
    return evaluate(
        subject,
        sources=layers.Sources(
            cluster=parsed.get("cluster"), namespace=parsed.get("namespace"), runtime=parsed.get("workload")
        ),
        context=Context("both", Installation(), resolver),
        namespace_labels={},
        now=_NOW,
    )


def verified(migration: Migration, found: OldWorkload) -> Verified:
    """Returns how a workload compares before and after, with kagenti's trigger on it where the old webhook injected it."""
    from kagenti.core.migration import chain

    subject = triggered(found) if chain.injected(migration.old, found.pod) else found.subject
    evaluation = evaluated(migration, found, subject)
    return verify.verify(migration, found.pod, evaluation, cluster_domain="cluster.local", namespaces=NAMESPACES)
