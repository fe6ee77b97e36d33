"""``kagenti diff``: which workloads another state of the layers would change, in what, and how each change arrives."""

import datetime
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kagenti.cli import catalogue, cluster, fleet, manifests, patience
from kagenti.cli.catalogue import Holding
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.fleet import Fleet
from kagenti.cli.setup import Setup
from kagenti.cli.structured import dump
from kagenti.core import settings
from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.settings import Change
from kagenti.core.workload import Subject
from kagenti.errors import UsageError
from kagenti.kube.client import KubeClient

JSON = Any  # the answer, ready to be printed
_LAYERS = ("AgentRuntimeClusterConfig", "AgentRuntimeConfig", "AgentRuntime")
_MOST_NAMES = 5  # workloads that a group names on the terminal; -o json names all
_MOST_VALUE = 60  # characters of a value on the terminal


@dataclass(frozen=True, slots=True)
class Difference:
    """What changes for one workload: its decision, its settings, and what is newly wrong with them.

    ``pods`` are its running pods. ``faults`` make the result invalid: nothing of it would be served.
    """

    workload: str
    before: str
    after: str
    changes: tuple[Change, ...]
    findings: tuple[str, ...]
    faults: tuple[str, ...]
    pods: int

    @property
    def nothing(self) -> bool:
        """Whether the workload stays as it is."""
        return self.before == self.after and not (self.changes or self.findings or self.faults)


def run(files: Sequence[str], *, namespace: str, setup: Setup, output: str, kubeconfig: str) -> int:
    """Prints what applying the files would change; returns 1 if something would, as ``kubectl diff`` does."""
    proposed = catalogue.from_documents(manifests.unrolled(manifests.read(files)), namespace=namespace)
    places = _concerned(proposed)
    with patience.told("the workloads of " + ("the whole cluster" if places is None else ", ".join(sorted(places)))):
        known, about = cluster.session(kubeconfig, lambda client: _read(client, places, setup))
        found = [difference for difference in compare(known, proposed, about) if not difference.nothing]
    seen = len(known.subjects())
    if output == "table":
        sys.stdout.write("".join(f"{line}\n" for line in _lines(found, seen)))
    else:
        sys.stdout.write(dump(_answer(found, seen), output))
    return int(bool(found))


async def _read(client: KubeClient, places: set[str] | None, setup: Setup) -> tuple[Fleet, Setup]:
    known = await fleet.read(client, places)  # first: it says best that kagenti is not installed
    return known, await cluster.as_installed(client, setup)


def _concerned(proposed: Holding) -> set[str] | None:
    """Returns the namespaces that the files can change anything in; None for all."""
    layers = [held for held in proposed.objects.values() if held.kind in _LAYERS]
    if not layers and not proposed.namespaces:
        raise UsageError(f"the files hold no {', '.join(_LAYERS)} or Namespace; name those that would be applied")
    if proposed.cluster_config() is not None:
        return None
    return {held.namespace for held in layers} | set(proposed.namespaces)


def compare(known: Fleet, proposed: Holding, setup: Setup) -> Iterator[Difference]:
    """Yields the difference for every workload that is there, also where it is none."""
    now = datetime.datetime.now(datetime.UTC)
    before, after = (Evaluator(held, setup, now) for held in (known.holding, proposed.over(known.holding)))
    for subject in known.subjects():
        pods = len(known.pods.get(before.seen(subject).owner, ()))
        yield _difference(before.seen(subject), before.evaluate(subject), after.evaluate(subject), pods)


def _difference(subject: Subject, before: Evaluation, after: Evaluation, pods: int) -> Difference:
    both = before.decision.injects and after.decision.injects
    old, new = before.settings, after.settings
    return Difference(
        workload=str(subject.owner),
        before=_decided(before),
        after=_decided(after),
        changes=settings.changes(old, new) if both and old is not None and new is not None else (),
        findings=_new(before.warnings, after.warnings),
        faults=_new(_faults(before), _faults(after)),
        pods=pods,
    )


def _decided(evaluation: Evaluation) -> str:
    decision = evaluation.decision
    if decision.injects:
        return "injected"
    return f"denied ({decision.reason})" if decision.outcome == "Deny" else "left alone"


def _faults(evaluation: Evaluation) -> tuple[str, ...]:
    errors = evaluation.settings.errors if evaluation.settings else ()
    return tuple(f"{found.reason}: {found.message}" for found in errors)


def _new(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    return tuple(said for said in dict.fromkeys(after) if said not in before)


def _answer(found: Sequence[Difference], seen: int) -> JSON:
    return {"workloads": seen, "changed": [_row(difference) for difference in found]}


def _row(difference: Difference) -> JSON:
    return {
        "workload": difference.workload,
        "before": difference.before,
        "after": difference.after,
        "pods": difference.pods,
        "findings": [*difference.faults, *difference.findings],
        "changes": [
            {
                "path": change.path,
                "before": change.before,
                "after": change.after,
                "class": change.arrives,
                "origin": change.origin,
            }
            for change in difference.changes
        ],
    }


def _lines(found: Sequence[Difference], seen: int) -> Iterator[str]:
    """Yields the table; workloads for which all is the same stand together: a cluster's config changes hundreds alike."""
    groups: Mapping[bytes, list[Difference]] = defaultdict(list)
    for difference in found:
        row = _row(difference)
        groups[orjson.dumps({**row, "workload": "", "pods": 0}, option=orjson.OPT_SORT_KEYS)].append(difference)
    for group in groups.values():
        yield from _group(group)
        yield ""
    yield _summary(found, seen)


def _group(group: Sequence[Difference]) -> Iterator[str]:
    first, names = group[0], [difference.workload for difference in group]
    more = f", and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    yield ", ".join(names[:_MOST_NAMES]) + more
    if first.before != first.after:
        yield f"  {first.before} → {first.after}"
    for said in (*first.faults, *first.findings):
        yield f"  {said}"
    for change in first.changes:
        values = " → ".join(_short(value) for value in (change.before, change.after))
        yield f"  {change.arrives:7} {change.path}: {values}" + (f"  ({change.origin})" if change.origin else "")


def _short(value: JSON) -> str:
    text = "unset" if value is None else orjson.dumps(value).decode()
    return text if len(text) <= _MOST_VALUE else text[: _MOST_VALUE - 1] + "…"


def _summary(found: Sequence[Difference], seen: int) -> str:
    if not found:
        return f"nothing changes for {seen} workloads"
    behind = sum(difference.pods for difference in found if _waits(difference))
    at_once = sum(any(change.arrives != "restart" for change in difference.changes) for difference in found)
    told = f"{len(found)} of {seen} workloads change; {at_once} of them at once in running proxies"
    return f"{told}; {behind} running pods would be behind until they are replaced"


def _waits(difference: Difference) -> bool:
    """Whether running pods do not have all of it."""
    return difference.before != difference.after or any(change.arrives != "live" for change in difference.changes)
