"""``kagenti migrate trigger`` and ``labels``: the runbook, its steps carried out behind their guards, and patches of labels."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from kagenti import errors
from kagenti.cli import cluster
from kagenti.cli.migrate import Scope, printing, sources, writing
from kagenti.cli.migrate.settings import detected, evaluator, patched, workloads
from kagenti.cli.migrate.sources import Gathered
from kagenti.core.migration import chain, installation, patches, runbook
from kagenti.core.migration.installation import Old
from kagenti.core.migration.patches import WorkloadPatch
from kagenti.core.migration.report import Report
from kagenti.core.migration.runbook import Guard, Plan, Step, Way
from kagenti.core.migration.workloads import OldWorkload, labelled
from kagenti.core.workload import Subject
from kagenti.kube.client import KubeClient

JSON = Any  # a manifest


def run(scope: Scope, way: Way, *, step: str, report: str, output_dir: Path | None) -> int:
    """Prints the runbook, writes its manifests to a folder, or carries one step out.

    Returns 1 where a guard does not hold or an object could not be read.
    """
    notes = Report()
    found = sources.gather(scope, notes)
    plan = _plan(found, scope, way)
    steps = runbook.runbook(plan)
    _tell_faults(notes)
    if output_dir is not None:
        writing.write(output_dir, [manifest for one in steps for manifest in one.manifests])
    if not step:
        sys.stdout.write(printing.steps(steps, report))
        return int(bool(notes.faults))
    wanted = next((one for one in steps if one.name == step), None)
    if wanted is None:
        known = ", ".join(one.name for one in steps)
        raise errors.UsageError(f"--step is {step!r}, but the runbook has the steps {known}")
    if scope.files:
        raise errors.UsageError("--step carries out changes, which a dump cannot take; leave -f out")
    return _carry_out(wanted, plan, found, scope)


def _tell_faults(report: Report) -> None:
    for fault in report.faults:
        sys.stderr.write(f"kagenti: {fault.reason}: {fault.message}\n")


def _plan(found: Gathered, scope: Scope, way: Way) -> Plan:
    era = detected(found, scope)
    old = installation.read(found.config_maps, found.namespaces, era=era.era, report=Report(), only=scope.namespaces)
    known = workloads(found)
    targets = [(one, _targeted(one, found)) for one in known]
    hooks = [one["metadata"]["name"] for one in found.old_hooks]
    return Plan(
        way=way,
        old=old,
        workloads=[one for one in known if _concerned(one, old)],
        mode=found.mode or (scope.mode or None),  # type: ignore[arg-type]  # one of the three
        old_webhook=hooks[0] if hooks else "",
        targets=[(one, kind) for one, kind in targets if kind is not None],
        release_namespace=scope.release_namespace,
    )


def _concerned(found: OldWorkload, old: Old) -> bool:
    """Whether a workload has our trigger label, or was injected by the old webhook."""
    return chain.injected(old, found.pod) or (labelled(found, old.era) and found.subject.inject_label == "enabled")


def _targeted(found: OldWorkload, gathered: Gathered) -> str | None:
    """Returns the type that the AgentRuntime of a workload gives, empty where it gives none; None without an AgentRuntime."""
    held = gathered.holding.runtimes_for(found.subject.owner)
    if not held:
        return None
    kind = orjson.loads(held[0].spec).get("type")
    return kind if isinstance(kind, str) else ""


def _carry_out(step: Step, plan: Plan, found: Gathered, scope: Scope) -> int:
    refused = _modes(step, found) + _guarded(step, plan, found, scope)
    if refused:
        sys.stderr.write("".join(f"kagenti: {line}\n" for line in refused))
        sys.stderr.write("kagenti: nothing was changed: a pod would be bare after this step\n")
        return 1
    if step.command:
        sys.stdout.write(f"{step.command}\n")
        return 0
    return cluster.session(scope.kubeconfig, lambda client: _write(client, step.manifests, step.patches, found))


def _modes(step: Step, found: Gathered) -> list[str]:
    """A step without a command needs an installed trigger mode; one with a command is what brings it about."""
    if step.command or not step.modes or found.mode in step.modes:
        return []
    is_now = f"trigger mode {found.mode} is installed" if found.mode else "kagenti's webhook is not installed"
    return [f"{is_now}, and this step needs {' or '.join(step.modes)}: carry out the steps before it"]


def _guarded(step: Step, plan: Plan, found: Gathered, scope: Scope) -> list[str]:
    """Returns a line for each workload whose pods would come up bare."""
    if not step.guard:
        return []
    mode = _guard_mode(step.guard, found)
    if mode is None:
        return ["kagenti's webhook is not installed: nothing would inject"]
    judge = evaluator(found.holding, scope, mode=mode)
    if step.guard == "patched":
        subjects = [patched(one) for one in step.patches]
    else:
        known = {one.name: one.subject for one in (*plan.workloads, *(one for one, _ in plan.targets))}
        subjects = list(known.values())
    return bare(subjects, judge.evaluate)


def _guard_mode(guard: Guard, found: Gathered) -> str | None:
    return guard if guard in ("label", "cr") else found.mode


def bare(subjects: Sequence[Subject], evaluate: Callable[[Subject], Any]) -> list[str]:
    """Returns a line for each subject that would not be injected, with the reason."""
    lines = []
    for subject in subjects:
        decision = evaluate(subject).decision
        if not decision.injects or not decision.called:
            lines.append(f"{subject.owner}: {decision.reason}: {decision.message}")
    return lines


async def _write(client: KubeClient, objects: Sequence[JSON], wanted: Sequence[WorkloadPatch], found: Gathered) -> int:
    done, refused = await writing.apply(client, objects)
    for one in wanted:
        try:
            await writing.patch(client, one, found)
            done.append(f"{one.workload.name} patched: {', '.join(one.why)}")
        except (errors.Conflict, errors.Forbidden, errors.NotFound, errors.Unreachable) as problem:
            refused.append(f"{one.workload.name}: not patched: {problem}; run the step again")
    sys.stdout.write("".join(f"{line}\n" for line in done or ["nothing to do"]))
    sys.stderr.write("".join(f"kagenti: {line}\n" for line in refused))
    return int(bool(refused))


def labels(scope: Scope, *, apply: bool, report: str) -> int:
    """Prints the patches of labels and templates, or carries them out; returns 1 where a pod would be bare or a patch failed."""
    notes = Report()
    found = sources.gather(scope, notes)
    era = detected(found, scope).era
    wanted = [patch for patch in (patches.labels(one, era) for one in workloads(found)) if patch is not None]
    _tell_faults(notes)
    if not apply:
        sys.stdout.write(printing.patch_lines(wanted, report) if wanted else "")
        return int(bool(notes.faults))
    if scope.files:
        raise errors.UsageError("--apply changes a cluster, which a dump cannot take; leave -f out")
    losing = _losing(wanted, found, scope)
    if losing:
        sys.stderr.write("".join(f"kagenti: {line}\n" for line in losing))
        sys.stderr.write(
            "kagenti: nothing was changed: these pods have sidecars, and nothing would inject them afterwards\n"
        )
        return 1
    return cluster.session(scope.kubeconfig, lambda client: _write(client, (), wanted, found)) or int(
        bool(notes.faults)
    )


def _losing(wanted: Sequence[WorkloadPatch], found: Gathered, scope: Scope) -> list[str]:
    """Returns a line for each workload that has sidecars, in its template or by our webhook, and would have none."""
    stripped = [one for one in wanted if patches.clean(one.workload)[0]]
    mode = found.mode or scope.mode
    if not mode:
        return ["kagenti's webhook is not installed"] if stripped else []
    evaluate = evaluator(found.holding, scope, mode=mode).evaluate
    had = [one for one in wanted if one in stripped or evaluate(one.workload.subject).decision.injects]
    return bare([patched(one) for one in had], evaluate)
