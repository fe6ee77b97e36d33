"""``kagenti migrate configmaps`` and ``crs``: read, map, write or apply, verify, report."""

import copy
import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kagenti import errors
from kagenti.cli import cluster, manifests
from kagenti.cli.catalogue import Holding
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.migrate import Scope, printing, sources, writing
from kagenti.cli.migrate.sources import Gathered
from kagenti.cli.setup import Setup
from kagenti.core.installation import Installation
from kagenti.core.migration import chain, crs, eras, installation, mapping, patches, reasons, verify
from kagenti.core.migration.cluster_layer import Choices, Exchanger
from kagenti.core.migration.eras import Detected
from kagenti.core.migration.mapping import Migration
from kagenti.core.migration.patches import WorkloadPatch
from kagenti.core.migration.report import Report
from kagenti.core.migration.verify import Verified
from kagenti.core.migration.workloads import OldWorkload, runtimes, workload_of
from kagenti.core.workload import Subject
from kagenti.kube.client import KubeClient

JSON = Any  # a manifest


_LOSS: Final = (
    "every gate is false, which had no effect before and would leave agents without sidecars now: "
    "say --keep-injecting or --stop-injecting"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, and the choices of the mapping."""

    apply: bool = False
    partial: bool = False
    replace: bool = False
    verify: bool = False
    output_dir: Path | None = None
    report: str = "table"
    exchanger: Exchanger = "AuthBridge"
    keep_injecting: bool | None = None


def detected(found: Gathered, scope: Scope) -> Detected:
    """Returns the era that was named, or the one that the objects show."""
    if scope.era:
        return Detected(eras.ERAS[scope.era], "as --era says")
    return eras.detect(found.config_maps, found.old_hooks)


def workloads(found: Gathered) -> list[OldWorkload]:
    """Returns the workloads at the top of their chains."""
    return [one for one in map(workload_of, found.workloads) if one is not None]


def run(scope: Scope, wanted: Wanted) -> int:
    """Prints manifests and report; returns 1 for an object not migrated, an unexplained difference or lost sidecars, else 0."""
    report = Report()
    found = sources.gather(scope, report)
    era = detected(found, scope)
    old = installation.read(
        found.config_maps,
        found.namespaces,
        era=era.era,
        report=report,
        only=scope.namespaces,
        trust_domain=scope.trust_domain,
    )
    facts = mapping.Cluster(scope.cluster_domain, _names(found), found.providers())
    choices = Choices(wanted.exchanger, keep_injecting=bool(wanted.keep_injecting))
    migration = mapping.migrate(old, report=report, choices=choices, cluster=facts)
    own = [one for one in workloads(found) if chain.injected(old, one.pod)]
    made = [*migration.manifests, *runtimes(own, old, always=False)] if _anything(found) else []
    if not made:
        report.warn(reasons.MISSING_OBJECT, "ConfigMaps", "there is none of an old webhook: nothing is migrated")
    undecided = own and chain.all_false(old) and wanted.keep_injecting is None
    done, refused = _written(made, scope, wanted, report, against=_LOSS if undecided else "")
    verified = _verified(migration, made, found, scope) if wanted.verify else []
    answer = printing.data(report, verified, era=era.era.name, why=era.why, done=[*done, *refused])
    text = printing.printed(answer, wanted.report)
    if wanted.apply or wanted.output_dir is not None or wanted.verify:
        sys.stdout.write(text)
    else:
        sys.stdout.write(writing.text(made))
        sys.stderr.write(text)
    return int(bool(report.faults or refused) or any(not one.ok or one.loses_sidecars for one in verified))


def _anything(found: Gathered) -> bool:
    """Whether any ConfigMap of an old installation is there."""
    names = {*eras.NAMESPACE_MAPS, *(name for _, *pair in eras.PAIRS for name in pair)}
    return any(one["metadata"].get("name") in names for one in found.config_maps)


def _names(found: Gathered) -> frozenset[str]:
    return frozenset(one["metadata"]["name"] for one in found.namespaces)


def _written(
    made: Sequence[JSON], scope: Scope, wanted: Wanted, report: Report, *, against: str = ""
) -> tuple[list[str], list[str]]:
    """Writes files, and applies where that is asked for and nothing speaks against it."""
    done: list[str] = []
    if wanted.output_dir is not None:
        done += [f"wrote {name}" for name in writing.write(wanted.output_dir, made)]
    if not wanted.apply:
        return done, []
    if report.faults and not wanted.partial:
        what = "1 object" if len(report.faults) == 1 else f"{len(report.faults)} objects"
        return done, [f"nothing was applied: {what} could not be read; mend them, or say --partial"]
    if against:
        return done, [f"nothing was applied: {against}"]
    if scope.files and not scope.kubeconfig:
        raise errors.UsageError("--apply with a dump needs to know the cluster: name its --kubeconfig")

    async def work(client: KubeClient) -> tuple[list[str], list[str]]:
        return await writing.apply(client, made, replace=wanted.replace)

    applied, refused = cluster.session(scope.kubeconfig, work)
    return [*done, *applied], refused


def evaluator(holding: Holding, scope: Scope, *, mode: str) -> Evaluator:
    """Returns the webhook's own judgement over what is held, in a trigger mode."""
    setup = Setup(
        mode=mode,  # type: ignore[arg-type]  # one of the three, from an enum or the cluster
        target="pods",
        enrolled=True,
        installation=Installation(release_namespace=scope.release_namespace, cluster_domain=scope.cluster_domain),
    )
    return Evaluator(holding, setup, datetime.datetime.now(datetime.UTC))


def _verified(migration: Migration, made: Sequence[JSON], found: Gathered, scope: Scope) -> list[Verified]:
    """Compares every workload of the migrated namespaces; what was not applied yet counts as if it were."""
    planned = Holding()
    for manifest in made:
        planned.add(manifest, namespace="")
    label = evaluator(planned.over(found.holding), scope, mode="label")
    judge = evaluator(planned.over(found.holding), scope, mode=scope.mode or found.mode or "both")
    names = _names(found)
    return [
        verify.verify(
            migration,
            one.pod,
            judge.evaluate(one.subject),
            cluster_domain=scope.cluster_domain,
            namespaces=names,
            triggered=label.evaluate(triggered(one)),
        )
        for one in workloads(found)
        if one.subject.namespace in migration.old.namespaces
    ]


def triggered(found: OldWorkload) -> Subject:
    """Returns a workload as it is with kagenti's label and without old sidecars."""
    patch = patches.trigger(found)
    return found.subject if patch is None else patched(patch)


def patched(patch: WorkloadPatch) -> Subject:
    """Returns a workload as it will be."""
    manifest = copy.deepcopy(patch.workload.manifest)
    manifests.apply(manifest, patch.operations)
    found = workload_of(manifest)
    return patch.workload.subject if found is None else found.subject


def run_crs(scope: Scope, wanted: Wanted) -> int:
    """Prints the objects in our group and the report; returns 1 where one could not be migrated, else 0."""
    report = Report()
    if scope.files:
        found = sources.from_files(scope)
    else:
        found = cluster.session(scope.kubeconfig, lambda client: sources.older(client, scope, report))
    made = crs.migrate(found.older, crs.selectors_of(found.workloads), report)
    done, refused = _written(made, scope, wanted, report)
    answer = printing.data(report, (), era="", why="", done=[*done, *refused])
    text = printing.printed(answer, wanted.report)
    if wanted.apply or wanted.output_dir is not None:
        sys.stdout.write(text)
    else:
        sys.stdout.write(writing.text(made))
        sys.stderr.write(text)
    return int(bool(report.faults or refused))
