"""Advice for the author of a workload, at ``kubectl apply``: warnings only, never a denial, never a patch.

Runs the pod webhook's own evaluation on the template as if a pod were made from it now, and says what would happen.
"""

import datetime
from collections.abc import Mapping
from typing import Any, Final

from kagenti.core import layers as gathering
from kagenti.core import trigger, validation, workload
from kagenti.core.admission import respond
from kagenti.core.admission.evaluate import Context, Evaluation, evaluate
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.shape import fault_of_template
from kagenti.core.layers import Catalogue, LayerCache
from kagenti.core.trigger import Coverage, reasons
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw manifest

ADVICE: Final = "Advice"
SILENT: Final = "Silent"
TYPES: Final = ("agent", "tool")


def advise(
    request: Request,
    *,
    view: Catalogue,
    layers: LayerCache,
    context: Context,
    target: str,
    now: datetime.datetime,
) -> Answer:
    """Returns an admission with warnings about the workload's pods.

    Args:
        request: CREATE or UPDATE of a workload.
        view: What this process knows of our objects and namespaces.
        layers: Parsed layers of this process.
        context: What is the same for every request of this process.
        target: ``webhook.target``: pods or workloads.
        now: The clock, aware.
    """
    subject = _subject(request)
    if subject is None or not view.synced() or not _concerns_pods(request, subject):
        return respond.allowed(request, reason=SILENT)
    warnings = _label_place(request, subject, target)
    labels = view.namespace_labels(request.namespace)
    if labels is not None:  # of a namespace that is too new for the cache nothing is foretold: it may be enrolled
        warnings += _foresee(subject, labels, view, layers, context, target, now)
    return respond.allowed(request, reason=ADVICE if warnings else SILENT, warnings=warnings)


def _subject(request: Request) -> Subject | None:
    """Returns the workload's template as a subject, or None for what has no pods or is on its way out."""
    if request.operation not in ("CREATE", "UPDATE") or request.subresource:
        return None
    if (request.object.get("metadata") or {}).get("deletionTimestamp"):
        return None
    manifest = {**request.object, "kind": request.kind, "apiVersion": f"{request.group}/v1" if request.group else "v1"}
    path = workload.template_path(manifest)
    if path is None or fault_of_template(workload.at(manifest, path), "template"):
        return None
    return workload.subject_of(manifest, namespace=request.namespace)


def _concerns_pods(request: Request, subject: Subject) -> bool:
    """Whether the author touched what decides about pods: an HPA's or a controller's update needs no advice."""
    if request.operation == "CREATE":
        return True
    old = request.old_object
    labels = (old.get("metadata") or {}).get("labels") or {}
    return workload.at(old, subject.path) != subject.template or labels != (subject.labels_of_workload or {})


def _label_place(request: Request, subject: Subject, target: str) -> list[str]:
    """Returns advice for a label on the workload's own metadata, which no pod ever carries."""
    own = (subject.labels_of_workload or {}).get(wellknown.INJECT_LABEL)
    if own is None or target == "workloads" or not subject.path or wellknown.INJECT_LABEL in subject.labels:
        return []
    path = ".".join((*subject.path, "metadata", "labels"))
    return [
        f"label {wellknown.INJECT_LABEL} is on the {request.kind}'s own metadata, where its pods do not see it; "
        f"put it on the pod template: {path}"
    ]


def _foresee(
    subject: Subject,
    labels: Mapping[str, str],
    view: Catalogue,
    layers: LayerCache,
    context: Context,
    target: str,
    now: datetime.datetime,
) -> list[str]:
    """Returns advice from the evaluation of a pod as the template would make it."""
    if target == "pods":
        subject = Subject(subject.owner, subject.template)
    sources = layers.gather(
        cluster=view.cluster_config(),
        namespace=view.namespace_config(subject.namespace),
        runtimes=view.runtimes_for(subject.owner),
    )
    coverage = trigger.coverage_of(
        subject.namespace,
        labels=labels,
        selector=context.installation.namespace_selector,
        release_namespace=context.installation.release_namespace,
    )
    evaluation = evaluate(
        subject, sources=sources, context=context, coverage=coverage, namespace_labels=labels, now=now
    )
    return [
        *_decision(subject, evaluation, coverage, sources),
        *evaluation.warnings,
        *_type(subject, evaluation, sources),
        *_shared(subject, evaluation),
    ]


def _decision(subject: Subject, evaluation: Evaluation, coverage: Coverage, sources: gathering.Sources) -> list[str]:
    decision = evaluation.decision
    if decision.outcome == "Deny":
        return [f"{decision.reason}: pods of this workload will be denied: {decision.message}"]
    if decision.called and decision.trigger == "AgentRuntime" and decision.injects:
        return [f"{decision.object} will capture this workload: its pods get sidecars"]
    wants = sources.runtime_source is not None or subject.inject_label == wellknown.INJECT_ENABLED
    if not decision.called and wants and decision.reason != reasons.NO_TRIGGER:
        return [f"{decision.reason}: pods of this workload stay bare: {decision.message}"]
    if not decision.called and decision.reason == reasons.POLICY_UNENFORCED:
        return [f"{decision.reason}: {decision.message}"]
    if wants and not coverage.enrolled and decision.trigger == "Label" and sources.runtime_source is not None:
        return [
            f"{reasons.NOT_ENROLLED}: namespace {subject.namespace} is not enrolled: only labelled pods are injected"
        ]
    return []


def _type(subject: Subject, evaluation: Evaluation, sources: gathering.Sources) -> list[str]:
    """Returns advice on the type label of a workload that is to be injected."""
    kind = subject.type_label
    if kind is not None and kind not in TYPES:
        return [f'label {wellknown.TYPE_LABEL} is "{kind[:63]}", want {" or ".join(TYPES)}; selections by type miss it']
    if kind is None and evaluation.decision.injects and not sources.runtime_type:
        return [
            f"label {wellknown.TYPE_LABEL} is missing on the pod template; add agent or tool, so that lists find it"
        ]
    return []


def _shared(subject: Subject, evaluation: Evaluation) -> list[str]:
    """Returns the note that the workload shares its identity with others of its service account."""
    if evaluation.settings is None or not evaluation.decision.injects:
        return []
    found = validation.shared_identity(subject.service_account, evaluation.settings, what=str(subject.owner))
    return [f"{note.reason}: {note.message}" for note in found]
