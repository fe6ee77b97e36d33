"""``kagenti explain``: the decision with its reason, and every setting with its value, origin and class."""

import datetime
import io
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from kagenti.cli import catalogue, manifests, workloads
from kagenti.cli.evaluation import Evaluator
from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.settings import effective_class
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.trigger import Mode
from kagenti.core.workload import Subject, subject_of
from kagenti.errors import UsageError

JSON = Any  # the answer, ready to be printed

KINDS: Final = {
    "deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "statefulset": "/apis/apps/v1/namespaces/{}/statefulsets/{}",
    "daemonset": "/apis/apps/v1/namespaces/{}/daemonsets/{}",
    "job": "/apis/batch/v1/namespaces/{}/jobs/{}",
    "cronjob": "/apis/batch/v1/namespaces/{}/cronjobs/{}",
    "pod": "/api/v1/namespaces/{}/pods/{}",
}
_NAMES: Final = {
    "deployment": ("apps/v1", "Deployment"),
    "statefulset": ("apps/v1", "StatefulSet"),
    "daemonset": ("apps/v1", "DaemonSet"),
    "job": ("batch/v1", "Job"),
    "cronjob": ("batch/v1", "CronJob"),
    "pod": ("v1", "Pod"),
}


def run(workload: str, *, namespace: str, files: Sequence[str], mode: Mode, output: str, kubeconfig: str) -> int:
    """Prints the explanation; returns 0, or 1 when the workload's pods would be denied or a setting has a finding."""
    kind, _, name = workload.rpartition("/")
    kind = (kind or "deployment").lower().removesuffix("s").split(".")[0]
    if kind not in KINDS or not name:
        raise UsageError(f"workload is {workload!r}, want KIND/NAME with a kind of {', '.join(KINDS)}")
    if files:
        holding, manifest = _from_files(files, kind=kind, name=name, namespace=namespace)
    else:
        path = KINDS[kind].format(quote(namespace, safe=""), quote(name, safe=""))
        holding, manifest = catalogue.from_cluster(kubeconfig, namespace=namespace, extra=path)
    subject = _subject(manifest, kind=kind, name=name, namespace=namespace)
    evaluator = Evaluator(holding, mode=mode, enrolled=True, now=datetime.datetime.now(datetime.UTC))
    evaluation = evaluator.evaluate(subject)
    answer = describe(subject, evaluation, exists=manifest is not None)
    sys.stdout.write(_printed(answer, output))
    return int(evaluation.decision.outcome == "Deny" or bool(answer["findings"]))


def _from_files(files: Sequence[str], *, kind: str, name: str, namespace: str) -> tuple[catalogue.Holding, JSON]:
    documents = manifests.unrolled(manifests.read(files))
    holding = catalogue.from_documents(documents, namespace=namespace)
    for document in documents:
        content = manifests.plain(document.content)
        if str(content["kind"]).lower() != kind:
            continue
        subject = workloads.subject_in(document, (), document.content, namespace=namespace)
        metadata = content.get("metadata") or {}
        if subject is not None and metadata.get("name") == name:
            return holding, {**content, "metadata": {"namespace": namespace, **metadata}}
    return holding, None


def _subject(manifest: JSON, *, kind: str, name: str, namespace: str) -> Subject:
    """Returns the workload as a subject; one that does not exist yet stands for itself, unlabelled.

    The question is about its pods, so the label on the workload's own metadata does not count (target pods).
    """
    api_version, kind_name = _NAMES[kind]
    named = {"apiVersion": api_version, "kind": kind_name}
    empty: JSON = {"metadata": {}, "spec": {"containers": []}}
    found = {**(manifest or {}), **named} if manifest else None
    subject = subject_of(found, namespace=namespace) if found else None
    if subject is None:
        body = {"spec": {"template": empty, "jobTemplate": {"spec": {"template": empty}}}} if kind != "pod" else empty
        ghost = {**named, **body, "metadata": {"name": name, "namespace": namespace}}
        subject = subject_of(ghost, namespace=namespace)
    if subject is None:
        raise UsageError(f"{kind} {namespace}/{name} has no pod template to explain")
    return Subject(subject.owner, subject.template, subject.path)


def describe(subject: Subject, evaluation: Evaluation, *, exists: bool) -> dict[str, JSON]:
    """Returns the explanation as plain data."""
    decision, settings = evaluation.decision, evaluation.settings
    return {
        "workload": str(subject.owner),
        "exists": exists,
        "decision": decision.outcome.lower(),
        "reason": decision.reason,
        "trigger": decision.trigger or None,
        "message": decision.message,
        "warnings": list(evaluation.warnings),
        "inbound": _inbound(evaluation),
        "revisions": {"live": settings.live_revision, "restart": settings.restart_revision} if settings else {},
        "findings": [_finding(found) for found in (*settings.errors, *settings.findings)] if settings else [],
        "settings": list(_settings(settings)) if settings else [],
    }


def _inbound(evaluation: Evaluation) -> dict[str, JSON]:
    """Returns where inbound traffic goes; empty where it is not validated. An empty mapping is one that is off."""
    sidecars = evaluation.sidecars
    if sidecars is None or sidecars.port_mapping is None:
        return {}
    return {
        "portMapping": {str(port): target for port, target in sidecars.port_mapping.items()},
        "probeBypasses": [{"path": path, "port": port} for path, port in sidecars.bypasses or ()],
    }


def _inbound_lines(answer: dict[str, JSON]) -> Iterator[str]:
    if not answer["inbound"]:
        return
    mapped = [f"{port} to {target}" for port, target in answer["inbound"]["portMapping"].items()]
    why = "off: the app declares the port itself, or port and targetPort are one"
    yield f"  port mapping: {', '.join(mapped) or why}"
    for bypass in answer["inbound"]["probeBypasses"]:
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


def _printed(answer: dict[str, JSON], output: str) -> str:
    if output == "json":
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n"
    if output == "yaml":
        from ruamel.yaml import YAML

        text = io.StringIO()
        YAML(pure=True).dump(answer, text)
        return text.getvalue()
    return _table(answer)


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
