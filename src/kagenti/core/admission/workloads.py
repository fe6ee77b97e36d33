"""The mutating webhook for target workloads: the older behaviour, kept for parity (spec 03).

The template inside the workload is injected. On UPDATE the sidecars are rendered anew only when the user's own part
changed; an UPDATE that leaves it alone is never denied and never changed; nothing is stripped because an AgentRuntime
vanished.
"""

import copy
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kagenti.core import inject, trigger, workload
from kagenti.core.admission import pods, respond
from kagenti.core.admission.evaluate import Context, Evaluation, evaluate
from kagenti.core.admission.pods import Facts
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.shape import fault_of_template
from kagenti.core.layers import LayerCache, Sources
from kagenti.core.trigger import Coverage, reasons
from kagenti.core.workload import OwnerReference, Subject, WorkloadRef
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw workload or a part of it

UNCHANGED: Final = "Unchanged"
"""Reason code of an UPDATE that leaves the user's part alone."""
DELETING: Final = "Deleting"
"""Reason code of an object on its way out: the garbage collector never waits for us."""

_KINDS: Final = {
    ("apps", "Deployment"): ("CREATE", "UPDATE"),
    ("apps", "StatefulSet"): ("CREATE", "UPDATE"),
    ("apps", "DaemonSet"): ("CREATE", "UPDATE"),
    ("batch", "CronJob"): ("CREATE", "UPDATE"),
    ("batch", "Job"): ("CREATE",),  # a Job's template is immutable
}
_MARKS: Final = (wellknown.INJECT_LABEL, wellknown.TYPE_LABEL)


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be known before the answer: the AgentRuntimes of the owner, with a strict read on a miss or without.

    ``reference`` is what the owner is taken from, None where the workload is its own top; ``itself`` is the workload.
    """

    owner: WorkloadRef
    runtimes: bool
    itself: WorkloadRef
    reference: OwnerReference | None = None


def at_once(request: Request) -> Answer | None:
    """Returns the answer that needs no facts, None where facts decide.

    An object on its way out and an UPDATE that leaves the user's part alone are never denied, whatever state this
    process is in: the garbage collector and every controller of the workload would wait for us otherwise.
    """
    ignored = _ignored(request)
    if ignored:
        return respond.allowed(request, reason=ignored)
    owner = _itself(request)  # whoever owns it: both sides are compared under the same one
    subject = _subject(request, request.object, owner)
    old = _subject(request, request.old_object, owner)
    if subject is None or old is None or not _same_part(subject, old):
        return None
    return respond.allowed(request, reason=UNCHANGED, patch=_restored(subject, old))


def needs(request: Request) -> Needs:
    """Returns what must be known to answer a workload's request that is not answered at once."""
    itself = _itself(request)
    reference = workload.controller_reference(request.object) if request.kind == "Job" else None
    owner = reference.workload(request.namespace) if reference else itself
    subject = _subject(request, request.object, owner)
    if subject is None:
        return Needs(itself, runtimes=False, itself=itself)
    label = subject.inject_label
    known = label is None or label == wellknown.INJECT_ENABLED
    return Needs(owner, runtimes=known, itself=itself, reference=reference)


def template_of(request: Request) -> JSON:
    """Returns the pod template of a workload's request, raw."""
    return workload.at(request.object, workload.TEMPLATE_PATHS.get((request.group, request.kind), ()))


def mutate_workload(
    request: Request, facts: Facts, *, context: Context, layers: LayerCache, now: datetime.datetime
) -> Answer:
    """Returns the answer to a write of a workload.

    Args:
        request: A request on one of the workload kinds.
        facts: What the shell found for ``needs(request)``.
        context: What is the same for every request of this process.
        layers: Parsed layers of this process.
        now: The clock, aware.
    """
    answer = at_once(request)
    if answer is not None:
        return answer
    subject = _subject(request, request.object, facts.owner)
    if subject is None:
        return respond.refused(request.uid, _fault(request))
    old = _subject(request, request.old_object, facts.owner)
    if facts.namespace_labels is None:
        return pods.not_ready(request, f"namespace {request.namespace} has not been seen yet")
    sources = layers.gather(cluster=facts.cluster, namespace=facts.namespace, runtimes=facts.runtimes)
    evaluation = evaluate(
        subject,
        sources=sources,
        context=context,
        coverage=_coverage(request, old, facts.namespace_labels, context),
        namespace_labels=facts.namespace_labels,
        now=now,
        proof=facts.proof,
    )
    if old is not None and inject.carries_ours(old) and evaluation.decision.outcome == "Allow":
        evaluation = _kept(evaluation, subject, old, sources, context, facts.namespace_labels, now)
    return pods.answer_of(request, evaluation, owner=facts.owner)


def _ignored(request: Request) -> str:
    """Returns the reason code of a request that is answered untouched; empty for one that is looked at."""
    if (request.object.get("metadata") or {}).get("deletionTimestamp"):
        return DELETING
    if request.subresource or request.operation not in _KINDS.get((request.group, request.kind), ()):
        return pods.NOT_OURS
    return ""


def _itself(request: Request) -> WorkloadRef:
    return WorkloadRef(request.group, request.kind, request.namespace, request.name)


def _subject(request: Request, manifest: Mapping[str, JSON], owner: WorkloadRef) -> Subject | None:
    """Returns the template as a subject; None where there is none or its types are wrong."""
    path = workload.TEMPLATE_PATHS.get((request.group, request.kind), ())
    template = workload.at(manifest, path)
    if not path or fault_of_template(template, "template"):
        return None
    return Subject(owner, template, path, (manifest.get("metadata") or {}).get("labels") or {})


def _fault(request: Request) -> str:
    path = workload.TEMPLATE_PATHS[request.group, request.kind]
    return fault_of_template(workload.at(request.object, path), "object." + ".".join(path))


def _same_part(subject: Subject, old: Subject) -> bool:
    """Whether the user's part is what it was: the template without anything of ours, and our labels on the workload."""
    new_labels, old_labels = subject.labels_of_workload or {}, old.labels_of_workload or {}
    if any(new_labels.get(key) != old_labels.get(key) for key in _MARKS):
        return False
    return subject.template == old.template or users_part(subject) == users_part(old)


def users_part(subject: Subject) -> JSON:
    """Returns the template as it would be without anything of ours; the subject is not modified."""
    operations = inject.uninject(Subject(subject.owner, subject.template))
    if not operations:
        return subject.template
    template = copy.deepcopy(dict(subject.template))
    for operation in operations:
        _remove(template, operation["path"])
    return template


def _remove(document: JSON, pointer: str) -> None:
    """Removes what stands at a JSON pointer (RFC 6901); the inverse of injection only ever removes."""
    *path, last = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    for token in path:
        document = document[int(token)] if isinstance(document, list) else document[token]
    if isinstance(document, list):
        del document[int(last)]
    else:
        del document[last]


def _restored(subject: Subject, old: Subject) -> Sequence[JSON]:
    """Returns the patch that gives back our part as it was, where a writer of the whole object lost or changed it."""
    if subject.template == old.template:
        return ()
    return ({"op": "replace", "path": "/" + "/".join(subject.path), "value": old.template},)


def _coverage(request: Request, old: Subject | None, labels: Mapping[str, str], context: Context) -> Coverage:
    """Returns the coverage: being called proves it, unless the call came for a label that has just gone.

    Mode cr has one entry, which asks for no label: whoever calls has seen the namespace enrolled.
    """
    if context.mode == "cr" or old is None or old.inject_label is None:
        return trigger.CALLED
    return trigger.coverage_of(
        request.namespace,
        labels=labels,
        selector=context.installation.namespace_selector,
        release_namespace=context.installation.release_namespace,
    )


def _kept(
    evaluation: Evaluation,
    subject: Subject,
    old: Subject,
    sources: Sources,
    context: Context,
    labels: Mapping[str, str],
    now: datetime.datetime,
) -> Evaluation:
    """Completes an admission without trigger of a workload that has sidecars: strips them, or keeps them.

    Stripped: the label was removed or says disabled, or the pod can no longer be intercepted. Kept otherwise: an
    AgentRuntime that vanished renders them from the layers that remain, a switch in a layer leaves them as they stand.
    """
    reason = evaluation.decision.reason
    removed = context.mode != "cr" and old.inject_label is not None and subject.inject_label is None
    if removed or reason in (reasons.OPT_OUT, reasons.UNSUPPORTED_POD):
        return msgspec.structs.replace(
            evaluation, patch=inject.uninject(subject), warnings=evaluation.decision.warnings
        )
    if reason not in (reasons.NO_TRIGGER, reasons.LABEL_IGNORED, reasons.EXEMPT):
        return msgspec.structs.replace(evaluation, patch=(), warnings=evaluation.decision.warnings)
    receipt = inject.read(old) or {}
    return evaluate(
        subject,
        sources=sources,
        context=context,
        namespace_labels=labels,
        now=now,
        again="Label" if receipt.get("trigger") == "Label" else "AgentRuntime",
    )
