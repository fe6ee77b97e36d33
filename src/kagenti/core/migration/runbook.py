"""The order in which a trigger is changed so that no pod is ever bare: steps for a person, each of which can be carried out.

What makes the order safe: a new trigger stands before the old one goes, and whatever takes a trigger away says which pods must
still be injected without it (``Guard``). A step is carried out only while its guard holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kagenti.core.migration import chain, mapping, patches
from kagenti.core.migration.eras import Era
from kagenti.core.migration.installation import Old
from kagenti.core.migration.patches import WorkloadPatch
from kagenti.core.migration.workloads import OldWorkload, labelled, namespaces_of, runtimes
from kagenti.core.trigger import Mode
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a manifest

Way = Literal["cr", "label"]
Guard = Literal["", "now", "label", "cr", "patched"]
"""What must be injected before a step: nothing; every workload as things are; in that trigger mode; each as it will be patched."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: objects to apply, patches, or a command that a person gives; ``why`` says why it stands where it stands.

    ``name`` stays what it is while steps before it are done and drop out. ``modes`` are the trigger modes of which one must be
    installed before the next step.
    """

    name: str
    title: str
    why: str
    manifests: tuple[JSON, ...] = ()
    patches: tuple[WorkloadPatch, ...] = ()
    command: str = ""
    guard: Guard = ""
    modes: tuple[Mode, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a runbook is made from.

    ``mode`` is the trigger mode that is installed, None without an installation. ``old_webhook`` names its configuration where it
    is there. ``targets`` are workloads that AgentRuntimes target, with their type.
    """

    way: Way
    old: Old
    workloads: Sequence[OldWorkload]
    mode: Mode | None = None
    old_webhook: str = ""
    targets: Sequence[tuple[OldWorkload, str]] = ()
    release_namespace: str = "kagenti-system"


_HELM: Final = (
    "helm upgrade --install kagenti charts/kagenti -n {} --create-namespace --reset-then-reuse-values "
    "--set webhook.triggerMode={}"
)


def runbook(plan: Plan) -> list[Step]:
    """Returns the steps from what is installed to the wanted trigger."""
    steps = _begin(plan) if plan.old_webhook or plan.mode is None else []
    return [*steps, *_renamed(plan), *(_to_cr(plan) if plan.way == "cr" else _to_label(plan))]


def _begin(plan: Plan) -> list[Step]:
    """Settings before anything can inject; in E1 the old webhook goes before its sidecars are taken out of the templates."""
    steps = [
        Step(
            "settings",
            "Settings",
            "they must be there before a pod is injected by them",
            command="kagenti crds --apply && kagenti migrate configmaps --all-namespaces --apply",
        )
    ]
    if plan.old_webhook and plan.old.era.target == "workloads":
        steps.append(
            Step(
                "old-webhook",
                "The old webhook goes",
                "it would put its sidecars back into every template that is cleaned; they stay in the templates until then, so "
                "pods that restart have them",
                command=f"kubectl delete mutatingwebhookconfiguration {plan.old_webhook}",
            )
        )
    return steps


def _both(plan: Plan, *, enough: tuple[Mode, ...]) -> Step:
    why = "labels and AgentRuntimes trigger side by side while the one replaces the other"
    return Step("mode-both", "Trigger mode both", why, command=_helm(plan, "both"), modes=enough)


def _helm(plan: Plan, mode: Mode) -> str:
    return _HELM.format(plan.release_namespace, mode)


def _enrol(found: Sequence[OldWorkload]) -> Step:
    manifests = tuple(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {wellknown.ENROLLED_LABEL: "true"}},
        }
        for name in namespaces_of(found)
    )
    why = "AgentRuntimes trigger in enrolled namespaces only; without a trigger nothing changes there"
    return Step("enrolment", "Namespaces are enrolled", why, manifests=manifests)


def _to_cr(plan: Plan) -> list[Step]:
    found = [one for one in plan.workloads if labelled(one, plan.old.era)]
    made = tuple(runtimes(found, plan.old, always=True))
    cleaned = tuple(patch for patch in map(patches.untrigger, found) if patch is not None)
    why = "the label still triggers, so an AgentRuntime only adds to it"
    return [
        Step("runtimes", "AgentRuntimes", why, manifests=made),
        _enrol(found),
        _both(plan, enough=("both", "cr")),
        *_first(plan),
        *_handed_over(
            plan,
            cleaned,
            title="Labels are cleaned",
            why="each pod template rolls out; its pods are injected by their AgentRuntime, which was tried before",
            after="labels trigger nothing from here on",
        ),
    ]


def _to_label(plan: Plan) -> list[Step]:
    old_ones = [(one, _type(one, plan.old.era)) for one in plan.workloads if labelled(one, plan.old.era)]
    known = {one.name for one, _ in old_ones}
    found = [*old_ones, *((one, kind) for one, kind in plan.targets if one.name not in known)]
    marked = tuple(patch for patch in (patches.trigger(one, kind=kind) for one, kind in found) if patch is not None)
    return [
        *_overriding([one for one, _ in found], plan),
        _both(plan, enough=("both", "label")),
        *_handed_over(
            plan,
            marked,
            title="Pod templates are labelled",
            why="each rolls out, and its pods are injected by their label, which was tried before",
            after="AgentRuntimes trigger nothing from here on, and go on overriding settings",
        ),
    ]


def _handed_over(plan: Plan, changed: tuple[WorkloadPatch, ...], *, title: str, why: str, after: str) -> list[Step]:
    """The pods go over to the wanted trigger, the old webhook goes, and the other trigger after it."""
    way = plan.way
    mode = Step(
        f"mode-{way}",
        f"Trigger mode {way}",
        f"{after}; leave this step out to keep both",
        command=_helm(plan, way),
        guard=way,
        modes=(way,),
    )
    labels = Step("labels", title, why, patches=changed, guard="patched", modes=("both", way))
    return [labels, *_last(plan), mode]


def _renamed(plan: Plan) -> list[Step]:
    """What old labels and annotations said besides the trigger, where kagenti would not read it or read it the other way round."""
    found = [one for one in plan.workloads if chain.injected(plan.old, one.pod)]
    moved = tuple(patch for patch in (patches.renamed(one, plan.old.era) for one in found) if patch is not None)
    title = "Labels and annotations say the same to kagenti"
    why = "the old webhook does not read what is added or miss what goes; without it an opt-out or excluded port would be lost"
    return [Step("pod-labels", title, why, patches=moved)] if moved else []


def _overriding(found: Sequence[OldWorkload], plan: Plan) -> list[Step]:
    needed = tuple(runtimes(found, plan.old, always=False))
    title, why = "AgentRuntimes with settings of their own", "what old labels said besides the trigger"
    return [Step("runtimes", title, why, manifests=needed)] if needed else []


def _type(found: OldWorkload, era: Era) -> str:
    return found.subject.labels.get(era.label("type"), "")


def _first(plan: Plan) -> list[Step]:
    """One workload before all: where the old webhook is there, its pods change hands."""
    if not plan.old_webhook or plan.old.era.target == "workloads":
        return []
    return [
        Step(
            "one-workload",
            "One workload is restarted",
            "its pods are kagenti's from here on; look at it before the others follow",
            command="kubectl rollout restart deployment/NAME -n NAMESPACE && kagenti migrate configmaps --all-namespaces --verify",
        )
    ]


def _last(plan: Plan) -> list[Step]:
    """The old webhook goes when everything that it injected is injected without it."""
    if not plan.old_webhook or plan.old.era.target == "workloads":
        return []
    return [
        Step(
            "old-webhook",
            "The old webhook goes",
            "every workload that it injected is injected by kagenti; running pods keep the sidecars that they have",
            command=f"kubectl delete mutatingwebhookconfiguration {plan.old_webhook}",
            guard="now",
        )
    ]


def described(step: Step) -> list[str]:
    """Returns what a step does, one line for each object, patch or command."""
    lines = [f"apply {name}" for name in mapping.names(step.manifests)]
    lines += [f"patch {patch.workload.name}: {', '.join(patch.why)}" for patch in step.patches]
    return [*lines, *([step.command] if step.command else [])] or ["nothing to do"]
