"""``kagenti status``: for each workload of ours what its pods are, and how far each xDS replica says that they are."""

import datetime
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti import errors
from kagenti.cli import cluster, fleet, patience
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.fleet import Fleet
from kagenti.cli.named import Named, named
from kagenti.cli.setup import Setup
from kagenti.cli.structured import dump
from kagenti.core import analysis
from kagenti.core.inject import carries_ours
from kagenti.core.layers import pick_runtime
from kagenti.core.reconcile.judge import Judged
from kagenti.core.trigger import Decision
from kagenti.core.workload import Subject, WorkloadRef
from kagenti.kube.client import KubeClient
from kagenti_api.v1alpha1.agentruntime import TARGET_RESOLVED

JSON = Any  # the answer, ready to be printed

_INTERVAL: Final = 2.0  # seconds between two looks with --watch
_COLUMNS: Final = ("NAMESPACE", "WORKLOAD", "TRIGGER", "PODS", "CURRENT", "STALE", "BARE", "OTHER", "PROXIES")
_AMISS: Final = ("stale", "bare", "foreign", "tampered")
# Only the installation knows the CA of its xDS server; a pod that differs in nothing else is current as far as we know.
_UNKNOWN_HERE: Final = ("xdsAuthority",)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: ``workload`` as KIND/NAME or empty for all, ``namespace`` empty for all, and how it is printed."""

    workload: str
    namespace: str
    output: str
    kubeconfig: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One workload: the decision for its next pods, what its pods are, and what its AgentRuntime's status says.

    ``propagation`` are the replicas' entries. ``notes`` say for people what is amiss.
    """

    owner: WorkloadRef
    trigger: str
    pods: Mapping[str, int]
    propagation: Sequence[JSON]
    notes: tuple[str, ...]

    @property
    def amiss(self) -> bool:
        """Whether somebody should look at it."""
        return bool(self.notes)


def run(asked: Asked, setup: Setup) -> int:
    """Prints the status; returns 1 if something is amiss."""
    with patience.told(f"the workloads of {asked.namespace or 'the whole cluster'}"):
        found, _ = _look(asked, setup)
    sys.stdout.write(_printed(found, asked))
    return int(any(standing.amiss for standing in found))


def watch(asked: Asked, setup: Setup) -> int:
    """Prints the status, and again whenever it changes, until it is interrupted; returns 0.

    An API server that does not answer is waited for, once it has answered: then it is an outage, and not a wrong address.
    """
    last, told = "", ""
    try:
        while True:
            began = time.monotonic()
            try:
                found, setup = _look(asked, setup)  # what is installed is read until it is there
                text, told = _printed(found, asked), ""
            except (errors.Unreachable, errors.TooManyRequests) as problem:
                if not last:
                    raise
                text, told = last, _told(problem, told)
            if text != last:
                sys.stdout.write(_between(asked.output) * bool(last) + text)
                sys.stdout.flush()
                last = text
            # A look at a large fleet takes seconds; half of the time the API server is left in peace.
            time.sleep(max(_INTERVAL, time.monotonic() - began))
    except KeyboardInterrupt:
        return 0


def _told(problem: errors.ClusterError, told: str) -> str:
    """Says what goes wrong where nothing has gone wrong since; returns what was said."""
    if not told:
        told = f"kagenti: {problem}; looking again until it answers\n"
        sys.stderr.write(told)
        sys.stderr.flush()
    return told


def _between(output: str) -> str:
    return "---\n" if output == "yaml" else "\n"


def _look(asked: Asked, setup: Setup) -> tuple[list[Standing], Setup]:
    """Returns the standing of what was asked for, and the installation as it was found.

    Raises:
        UsageError: The workload or the namespace that was named is not there.
    """
    wanted = named(asked.workload) if asked.workload else None
    known, about = cluster.session(asked.kubeconfig, lambda client: _read(client, asked.namespace, setup))
    found = standings(known, about)
    if wanted is None:
        return found, about
    chosen = [standing for standing in found if _means(wanted, standing.owner)]
    if not chosen and not any(_means(wanted, subject.owner) for subject in known.subjects()):
        where = f"namespace {asked.namespace}" if asked.namespace else "the cluster"
        raise errors.UsageError(f"no {wanted.kind} {wanted.name} in {where}, and no pods of one; correct the name")
    return chosen, about


async def _read(client: KubeClient, namespace: str, setup: Setup) -> tuple[Fleet, Setup]:
    known = await fleet.named(client, namespace)  # first: it says best that kagenti is not installed
    return known, await cluster.as_installed(client, setup)


def _means(wanted: Named, owner: WorkloadRef) -> bool:
    return wanted.name == owner.name and wanted.means(owner.kind, owner.group)


def standings(known: Fleet, setup: Setup) -> list[Standing]:
    """Returns every workload that is ours: triggered, refused, or with pods that carry our sidecars; by namespace and name."""
    evaluator = Evaluator(known.holding, setup, datetime.datetime.now(datetime.UTC))
    statuses = _statuses(known)
    found = []
    for subject in known.subjects():
        owner = evaluator.seen(subject).owner
        standing = _standing(evaluator, subject, owner, known.pods.get(owner, ()), statuses.get(owner))
        if standing is not None:
            found.append(standing)
    present = {standing.owner for standing in found}
    found += [_absent(owner, status) for owner, status in statuses.items() if owner not in present]
    return sorted(found, key=lambda one: (one.owner.namespace, str(one.owner)))


def _statuses(known: Fleet) -> dict[WorkloadRef, JSON]:
    """Returns the status of the AgentRuntime in force for each target, which may be one of several."""
    told = {(item["metadata"]["namespace"], item["metadata"]["name"]): item.get("status") for item in known.runtimes}
    targets = dict.fromkeys(held.target for held in known.holding.objects.values() if held.target is not None)
    in_force = {target: pick_runtime(known.holding.runtimes_for(target)) for target in targets}
    return {target: told.get((held.namespace, held.name)) or {} for target, held in in_force.items() if held}


def _absent(owner: WorkloadRef, status: JSON) -> Standing:
    """Returns the standing of a workload that an AgentRuntime targets and that is not there, or of a kind not read here."""
    conditions = status.get("conditions") or ()
    resolved: JSON = next((found for found in conditions if found.get("type") == TARGET_RESOLVED), {})
    note = f"no such workload with pods here: {resolved.get('message') or 'its AgentRuntime waits for it'}"
    return Standing(owner, "-", {"total": 0}, status.get("propagation") or (), (note,))


def _standing(
    evaluator: Evaluator, subject: Subject, owner: WorkloadRef, pods: Sequence[Subject], status: JSON
) -> Standing | None:
    decision = evaluator.evaluate(subject).decision
    neglected = tuple(_uncalled(subject, decision))
    asked_for = decision.injects or decision.outcome == "Deny" or neglected or status is not None
    if not asked_for and not any(map(carries_ours, pods)):
        return None
    judged = [evaluator.judge(pod) for pod in pods]
    counts = Counter(_state(pod) for pod in judged)
    propagation = (status or {}).get("propagation") or ()
    denied = (f"its next pods are denied: {decision.reason}: {decision.message}",) if decision.outcome == "Deny" else ()
    return Standing(
        owner=owner,
        trigger=decision.trigger or decision.reason,
        pods={"total": len(pods), **counts},
        propagation=propagation,
        notes=(*denied, *neglected, *_notes(judged), *_refusals(propagation)),
    )


def _uncalled(subject: Subject, decision: Decision) -> Iterator[str]:
    for found in analysis.uncalled(subject, decision):
        yield f"its next pods are not injected: {found.reason}: {found.message}"


def _state(pod: Judged) -> str:
    return "current" if pod.state == "stale" and pod.fields == _UNKNOWN_HERE else pod.state


def _notes(judged: Sequence[Judged]) -> Iterator[str]:
    """Yields one line for each way in which pods are not as they should be."""
    said = Counter((_state(pod), _why(pod)) for pod in judged if _state(pod) in _AMISS)
    for (state, why), number in sorted(said.items()):
        yield f"{number} {'pod is' if number == 1 else 'pods are'} {state}: {why}"


def _why(pod: Judged) -> str:
    if pod.state == "stale":
        fields = ", ".join(field for field in pod.fields if field not in _UNKNOWN_HERE)
        return f"{fields or 'what the sidecars are built of'} changed since; they get it when they are replaced"
    return pod.withheld or pod.message or pod.reason


def _refusals(propagation: Sequence[JSON]) -> Iterator[str]:
    for entry in propagation:
        if entry.get("rejected") or entry.get("lastError"):
            said = entry.get("lastError") or "no reason given"
            yield f"{entry['replica']}: {entry.get('rejected', 0)} proxies refused revision {entry.get('revision')}: {said}"


def _printed(found: Sequence[Standing], asked: Asked) -> str:
    if asked.output != "table":
        return dump([_row(standing) for standing in found], asked.output)
    if not found and asked.workload:
        wanted = named(asked.workload)
        return f"{wanted.kind} {wanted.name} is not injected and does not ask for it\n"
    if not found:
        return "no workload here is injected or asks for it\n"
    cells = [_COLUMNS, *(_cells(standing) for standing in found)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    lines = []
    for row, standing in zip(cells, (None, *found), strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines += [f"    {note}" for note in (standing.notes if standing else ())]
    return "".join(f"{line}\n" for line in lines)


def _cells(standing: Standing) -> tuple[str, ...]:
    pods = standing.pods
    other = sum(number for state, number in pods.items() if state not in ("total", "current", "stale", "bare"))
    counts = (str(pods.get(state, 0)) for state in ("total", "current", "stale", "bare"))
    what = f"{standing.owner.kind.lower()}/{standing.owner.name}"
    return (standing.owner.namespace, what, standing.trigger, *counts, str(other), _proxies(standing.propagation))


def _proxies(propagation: Sequence[JSON]) -> str:
    """Returns accepted of all that the replicas count; a dash where no AgentRuntime's status tells."""
    if not propagation:
        return "-"
    counts: Counter[str] = Counter()
    for entry in propagation:
        counts.update({key: entry.get(key) or 0 for key in ("acked", "rejected", "pending", "disconnected")})
    return f"{counts['acked']}/{counts.total()}"


def _row(standing: Standing) -> JSON:
    return {
        "namespace": standing.owner.namespace,
        "workload": str(standing.owner),
        "trigger": standing.trigger,
        "pods": dict(standing.pods),
        "propagation": list(standing.propagation),
        "notes": list(standing.notes),
    }
