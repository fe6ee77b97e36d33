"""``kagenti explain``: the decision with its reason, and every setting with its value, origin and class."""

import contextlib
import datetime
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kagenti.cli import catalogue, manifests, sharing, workloads
from kagenti.cli.catalogue import Holding
from kagenti.cli.evaluation import Evaluator
from kagenti.cli.manifests import Document
from kagenti.cli.named import Named, named
from kagenti.cli.setup import Setup
from kagenti.cli.structured import dump
from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.settings import effective_class
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.workload import TEMPLATE_PATHS, Subject, WorkloadRef, group_of, subject_of
from kagenti.errors import ManifestError, UsageError

JSON = Any  # the answer, ready to be printed


def run(asked: str, *, namespace: str, files: Sequence[str], setup: Setup, output: str, kubeconfig: str) -> int:
    """Prints the explanation; returns 0, or 1 when the workload's pods would be denied or a setting has a finding."""
    wanted = named(asked)
    asked_of = (
        _from_files(files, wanted, namespace, setup) if files else _from_cluster(kubeconfig, wanted, namespace, setup)
    )
    evaluator = Evaluator(asked_of.holding, asked_of.setup, datetime.datetime.now(datetime.UTC))
    subject, evaluation = asked_of.subject, evaluator.evaluate(asked_of.subject)
    beside = [(other, evaluator.evaluate(other)) for other in asked_of.beside]
    notes = sharing.note(subject, evaluation, beside, evaluator=evaluator)
    answer = describe(evaluator.seen(subject), evaluation, exists=asked_of.exists, notes=notes)
    sys.stdout.write(_table(answer) if output == "table" else dump(answer, output))
    return int(evaluation.decision.outcome == "Deny" or bool(answer["findings"]))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The workload that is asked about, what is held and installed, whether it exists, and what shares its account."""

    holding: Holding
    subject: Subject
    setup: Setup
    exists: bool = False
    beside: Sequence[Subject] = ()


def _from_files(files: Sequence[str], wanted: Named, namespace: str, setup: Setup) -> _Asked:
    documents = manifests.unrolled(manifests.read(files))
    holding = catalogue.from_documents(documents, namespace=namespace)
    found: dict[str, Subject] = {}
    for document in documents:
        content = document.content
        if not wanted.means(content["kind"], group_of(str(content.get("apiVersion")))):
            continue
        subject = workloads.subject_in(document, (), content, namespace=namespace)
        if subject is not None and subject.owner.name == wanted.name:
            found[subject.namespace] = subject
    if len(found) > 1 and namespace not in found:
        places = ", ".join(sorted(found))
        raise UsageError(f"{wanted.kind} {wanted.name} is in namespaces {places}; name one with --namespace")
    if not found:
        return _Asked(holding, _ghost(wanted, namespace), setup)
    subject = found.get(namespace) or next(iter(found.values()))
    return _Asked(holding, subject, setup, exists=True, beside=_beside(documents, subject, namespace=namespace))


def _beside(documents: Sequence[Document], subject: Subject, *, namespace: str) -> list[Subject]:
    """Returns the workloads under the subject's service account; a broken one was not asked about."""
    found = []
    for document in documents:
        with contextlib.suppress(ManifestError):
            other = workloads.subject_in(document, (), document.content, namespace=namespace)
            if other is not None and sharing.account(other) == sharing.account(subject):
                found.append(other)
    return found


def _from_cluster(kubeconfig: str, wanted: Named, namespace: str, setup: Setup) -> _Asked:
    from kagenti.cli import cluster  # what talks to a cluster takes a fifth of a second to import
    from kagenti.kube.client import KubeClient

    async def work(client: KubeClient) -> _Asked:
        known, manifest = await cluster.find(client, wanted, namespace=namespace)
        holding = await cluster.holding(client, {namespace})
        if manifest is None:
            return _Asked(holding, _ghost(known, namespace), await cluster.as_installed(client, setup))
        holding.add(manifest, namespace=namespace)
        subject = subject_of(manifest, namespace=namespace)
        if subject is None:
            raise UsageError(
                f"{known.kind} {namespace}/{known.name} has no pod template to explain; name one of its pods"
            )
        beside = await cluster.pods_of_account(client, subject)
        await cluster.climb(client, holding, [subject, *beside])
        return _Asked(holding, subject, await cluster.as_installed(client, setup), exists=True, beside=beside)

    return cluster.session(kubeconfig, work)


def _ghost(wanted: Named, namespace: str) -> Subject:
    """Returns a workload that does not exist yet: it stands for itself, without labels or containers.

    Raises:
        UsageError: It is of a kind whose spelling only an object, or the cluster, could tell.
    """
    if not wanted.built_in and wanted.kind.islower():
        raise UsageError(f"no {wanted.kind}.{wanted.group} named {wanted.name} is in the files; add it with --filename")
    path = TEMPLATE_PATHS.get((wanted.group, wanted.kind), ("spec", "template"))
    return Subject(
        WorkloadRef(wanted.group, wanted.kind, namespace, wanted.name),
        {"metadata": {}, "spec": {"containers": []}},
        path,
    )


def describe(subject: Subject, evaluation: Evaluation, *, exists: bool, notes: Sequence[str] = ()) -> dict[str, JSON]:
    """Returns the explanation as plain data."""
    decision, settings = evaluation.decision, evaluation.settings
    return {
        "workload": str(subject.owner),
        "exists": exists,
        "decision": decision.outcome.lower(),
        "reason": decision.reason,
        "trigger": decision.trigger or None,
        "message": decision.message,
        "warnings": [*evaluation.warnings, *notes],
        "inbound": _inbound(evaluation),
        "revisions": {"live": settings.live_revision, "restart": settings.restart_revision} if settings else {},
        "findings": [_finding(found) for found in (*settings.errors, *settings.findings)] if settings else [],
        "settings": list(_settings(settings)) if settings else [],
    }


def _inbound(evaluation: Evaluation) -> dict[str, JSON]:
    """Returns where inbound traffic goes and why; empty where nothing is injected."""
    sidecars, settings = evaluation.sidecars, evaluation.settings
    if sidecars is None or settings is None:
        return {}
    if sidecars.port_mapping is None:
        why = "inbound traffic is not validated: identity.inbound is off, or envoy-proxy is not injected"
        return {"portMapping": {}, "why": why, "probeBypasses": []}
    port, target = (settings.number(f"identity.inbound.{key}") for key in ("port", "targetPort"))
    why = f"identity.inbound.port is {port}, targetPort {target}, and no container of the app declares {port} itself"
    if not sidecars.port_mapping:
        same = f"identity.inbound.port and targetPort are both {port}"
        why = (
            same if port == target else f"the app declares port {port} itself, so nothing leads to targetPort {target}"
        )
    return {
        "portMapping": {str(dialled): to for dialled, to in sidecars.port_mapping.items()},
        "why": why,
        "probeBypasses": [{"path": path, "port": number} for path, number in sidecars.bypasses or ()],
    }


def _inbound_lines(answer: dict[str, JSON]) -> Iterator[str]:
    inbound = answer["inbound"]
    if not inbound:
        return
    mapped = ", ".join(f"{port} to {target}" for port, target in inbound["portMapping"].items())
    yield f"  port mapping: {mapped or 'off'}: {inbound['why']}"
    for bypass in inbound["probeBypasses"]:
        yield f"  probe without a token: {bypass['path']} on port {bypass['port']}"


def _finding(found: Any) -> dict[str, JSON]:  # Any: Finding, whose fields are read by name
    return {"reason": found.reason, "path": found.path, "message": found.message}


def _settings(settings: ResolvedSettings) -> Iterator[dict[str, JSON]]:
    for path in sorted(settings.values):
        origin = settings.origins[path]
        yield {
            "path": path,
            "value": settings.values[path],
            "layer": "derived" if origin.derived_from and origin.source.layer == "built-in" else origin.source.layer,
            "origin": f"derived from {origin.derived_from} ({origin.source})"
            if origin.derived_from
            else str(origin.source),
            "class": effective_class(path, settings.values),
        }


def _table(answer: dict[str, JSON]) -> str:
    lines = [
        f"{answer['workload']}: {answer['decision']} ({answer['reason']})"
        + ("" if answer["exists"] else ", not created yet"),
        *([f"  {answer['message']}"] if answer["message"] else []),
        *(f"  warning: {warning}" for warning in answer["warnings"]),
        *_inbound_lines(answer),
        *(f"  {found['reason']}: {found['message']}" for found in answer["findings"]),
    ]
    if not answer["settings"]:
        return "\n".join(lines) + "\n"
    rows = [
        (entry["path"], orjson.dumps(entry["value"]).decode(), entry["class"], entry["origin"])
        for entry in answer["settings"]
    ]
    path_width = max(len(row[0]) for row in rows)
    value_width = min(max(len(row[1]) for row in rows), 60)
    lines.append("")
    lines.append(f"  {'SETTING':{path_width}}  {'VALUE':{value_width}}  {'CLASS':7}  ORIGIN")
    for path, value, class_, origin in rows:
        short = value if len(value) <= value_width else value[: value_width - 1] + "…"
        lines.append(f"  {path:{path_width}}  {short:{value_width}}  {class_:7}  {origin}")
    return "\n".join(lines) + "\n"
