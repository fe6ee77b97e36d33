"""``kagenti analyze``: findings over files or a cluster, one line each with the object it is about; changes nothing."""

import contextlib
import datetime
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti import errors
from kagenti.cli import catalogue, manifests, patience, workloads
from kagenti.cli.catalogue import Held, Holding
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.setup import Setup
from kagenti.cli.structured import dump
from kagenti.core import analysis, installed
from kagenti.core.settings.model import Finding, Source
from kagenti.core.workload import Subject

JSON = Any  # the answer, ready to be printed
_CONFIGURATIONS: Final = {
    "MutatingWebhookConfiguration": f"mutatingwebhookconfigurations/{installed.INJECTOR}",
    "ValidatingWebhookConfiguration": f"validatingwebhookconfigurations/{installed.VALIDATOR}",
}
Found = tuple[str, Finding]
"""The object that a finding is about, and the finding."""


def run(files: Sequence[str], *, namespace: str, setup: Setup, output: str, kubeconfig: str) -> int:
    """Prints the findings; returns 1 if there are any.

    Args:
        files: What is looked at; empty: the cluster.
        namespace: Of objects in files that name none; in a cluster the only one looked at, empty for all.
        setup: The installation.
        output: table, json or yaml.
        kubeconfig: Path of the kubeconfig.
    """
    with patience.told(", ".join(files) or f"the workloads of {namespace or 'the whole cluster'}"):
        seen = _of_files(files, namespace or "default", setup) if files else _of_cluster(kubeconfig, namespace, setup)
        found = [*findings(seen.holding, seen.subjects, seen.setup), *seen.beside]
    if output == "table":
        lines = [": ".join(part for part in (what, one.reason, one.message) if part) for what, one in found]
        sys.stdout.write("".join(f"{line}\n" for line in lines or [f"nothing found in {len(seen.subjects)} workloads"]))
    else:
        sys.stdout.write(dump([_row(what, one) for what, one in found], output))
    return int(bool(found))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is looked at, under which installation; ``beside`` is found of the installation itself."""

    holding: Holding
    subjects: Sequence[Subject]
    setup: Setup
    beside: Sequence[Found] = ()


def _of_files(files: Sequence[str], namespace: str, setup: Setup) -> _Seen:
    documents = manifests.read(files)
    subjects = [subject for document in documents for subject in workloads.subjects(document, namespace=namespace)]
    return _Seen(catalogue.from_documents(manifests.unrolled(documents), namespace=namespace), subjects, setup)


def _of_cluster(kubeconfig: str, namespace: str, setup: Setup) -> _Seen:
    """Returns what a cluster holds, its workloads, and what is found of the installation as far as it may be read."""
    from kagenti.cli import cluster, fleet  # what talks to a cluster takes a fifth of a second to import
    from kagenti.kube.client import KubeClient

    async def work(client: KubeClient) -> _Seen:
        known = await fleet.named(client, namespace)
        about = await cluster.as_installed(client, setup)
        base = "/apis/admissionregistration.k8s.io/v1"
        registered: dict[str, JSON] = {}
        with contextlib.suppress(errors.Forbidden):  # both or none: a tenant may read one of them, and cannot mend them
            registered = {kind: await cluster.read(client, f"{base}/{path}") for kind, path in _CONFIGURATIONS.items()}
        return _Seen(known.holding, known.subjects(), about, list(_of_installation(registered)))

    return cluster.session(kubeconfig, work)


def _of_installation(registered: dict[str, JSON]) -> Iterator[Found]:
    from kagenti.core import certificates  # files are analyzed without, and it reads X.509 by a library

    now = datetime.datetime.now(datetime.UTC)
    for kind, configuration in registered.items():
        for one in certificates.near_expiry(configuration or {}, kind, now):
            yield one.objects[0], one


def findings(holding: Holding, subjects: Sequence[Subject], setup: Setup) -> list[Found]:
    """Returns what is found of the workloads, in their order, then of the AgentRuntimes."""
    evaluator = Evaluator(holding, setup, datetime.datetime.now(datetime.UTC))
    by_workload = setup.target == "workloads"
    found: list[Found] = []
    for subject in subjects:
        seen = evaluator.seen(subject)
        whole = Subject(seen.owner, subject.template, subject.path, subject.labels_of_workload)
        told = analysis.of_workload(whole, evaluator.evaluate(subject), by_workload=by_workload)
        # A fault of a layer is told once, of the layer, however many workloads are below it.
        found += [(one.objects[0] if one.objects else str(seen.owner), one) for one in told]
    present = {evaluator.seen(subject).owner for subject in subjects}
    runtimes = [held for held in holding.objects.values() if held.kind == "AgentRuntime"]
    for held in runtimes:
        rivals = [_source(rival) for rival in holding.runtimes_for(held.target)] if held.target else []
        me = _source(held)
        found += [(str(me), one) for one in analysis.of_runtime(me, held.target, rivals=rivals, present=present)]
    return list(dict.fromkeys(found))


def _source(held: Held) -> Source:
    return Source("workload", held.kind, held.namespace, held.name)


def _row(what: str, one: Finding) -> JSON:
    return {"object": what, "reason": one.reason, "message": one.message, "path": one.path}
