"""Is this installation healthy, and what is to be mended before it is removed, switched or upgraded: facts in, findings out.

The facts are raw objects as the API server gives them; what could not be read is listed in ``Facts.unread`` and is no finding.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kagenti.core import upgrade
from kagenti.core.inject import receipt
from kagenti.core.installed import INJECTOR, VALIDATOR, Target
from kagenti.core.settings.model import Finding
from kagenti.core.sidecars import RESERVED_CONTAINERS
from kagenti.core.workload import Subject, misplaced_label, subject_of
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw object

Purpose = Literal["", "uninstall", "switch", "upgrade"]
OPERATOR: Final = "kagenti-operator"
LEASE: Final = f"Lease {OPERATOR}"
PROBE: Final = "kagenti-check"
"""Name of the object that is created as a dry run."""
_NAMED: Final = 5  # workloads that a counting finding names
CRDS: Final = ("agentcards", "agentruntimeclusterconfigs", "agentruntimeconfigs", "agentruntimes")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said to the probe: the object as it would be stored, or the words of the refusal."""

    stored: JSON = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read; None stands for an object that does not exist.

    ``deployments`` are those of the release's namespace, ``crds`` ours by plural, ``drivers`` the CSIDrivers that the probe
    needs by name, ``lease`` the operator's, ``probe`` is None where none was sent.
    """

    injector: JSON = None
    validator: JSON = None
    deployments: Sequence[JSON] = ()
    crds: Mapping[str, JSON] = field(default_factory=dict)
    namespaces: Sequence[JSON] = ()
    probe: Answer | None = None
    drivers: Mapping[str, JSON] = field(default_factory=dict)
    lease: JSON = None
    unread: Sequence[str] = ()


def probe(namespace: str, target: Target) -> JSON:
    """Returns the object to create as a dry run: labelled, and within Pod Security's restricted by itself."""
    container = {
        "name": "probe",
        "image": "registry.invalid/probe",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    labels = {"app": PROBE, wellknown.INJECT_LABEL: wellknown.INJECT_ENABLED, wellknown.TYPE_LABEL: "agent"}
    metadata = {"name": PROBE, "namespace": namespace}
    if target == "pods":
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": labels}, "spec": spec}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": {"app": PROBE}}, "template": template},
    }


def examine(facts: Facts) -> list[Finding]:
    """Returns what is wrong with the installation now, the gravest first."""
    return [
        *_configurations(facts),
        *_probe(facts),
        *_definitions(facts),
        *_deployments(facts),
        *_leader(facts),
        *_drivers(facts),
        *_namespaces(facts),
    ]


def _configurations(facts: Facts) -> Iterator[Finding]:
    for kind, name, found in (
        ("MutatingWebhookConfiguration", INJECTOR, facts.injector),
        ("ValidatingWebhookConfiguration", VALIDATOR, facts.validator),
    ):
        if f"{kind} {name}" in facts.unread:
            continue
        if found is None:
            yield Finding("NotInstalled", f"{kind} {name} does not exist; install the chart")
            continue
        bundles = {(entry.get("clientConfig") or {}).get("caBundle") or "" for entry in found.get("webhooks") or ()}
        if "" in bundles:
            yield Finding("NoCABundle", f"{kind} {name} has an entry without caBundle; look whether cert-manager's "
                                         "cainjector runs, or the operator leads (certificates.mode selfManaged), or set "
                                         "certificates.caBundle")  # fmt: skip
        elif len(bundles) > 1:
            yield Finding("BundlesDiffer", f"{kind} {name} has entries with different caBundles; wait for the rotation, "
                                              "or upgrade the release")  # fmt: skip
        if any(entry.get("failurePolicy") == "Ignore" for entry in found.get("webhooks") or ()) and name == INJECTOR:
            yield Finding("FailsOpen", f"{kind} {name} has failurePolicy Ignore: while no webhook answers, pods start "
                                        "without sidecars; set webhook.failurePolicy to Fail")  # fmt: skip


def _probe(facts: Facts) -> Iterator[Finding]:
    if facts.probe is None or facts.injector is None:
        return
    refusal = facts.probe.refusal
    if "failed calling webhook" in refusal:
        cause = "the caBundle does not fit the serving certificate" if "x509" in refusal else "it cannot be reached"
        yield Finding("WebhookUnreachable", f"the API server cannot call the webhook: {cause}; look at the pods of "
                                             f"Deployment kagenti-webhook and their /readyz ({refusal})")  # fmt: skip
    elif refusal:
        yield Finding("ProbeRefused", f"a pod with the inject label would be refused: {refusal}")
    elif not _is_injected(facts.probe.stored):
        yield Finding("NotInjected", "a pod with the inject label comes back without sidecars; see whether its namespace "
                                      "is covered (mode cr: enrolled, and an AgentRuntime targets it): "
                                      "`kagenti explain` says why")  # fmt: skip


def _is_injected(stored: JSON) -> bool:
    subject = subject_of(stored or {}, namespace="")
    return subject is not None and bool(receipt.read(subject))


def _definitions(facts: Facts) -> Iterator[Finding]:
    for plural, found in facts.crds.items():
        name = f"{plural}.{wellknown.GROUP}"
        if found is None:
            yield Finding("NoCRD", f"CRD {name} does not exist; run `kagenti crds --apply`")
            continue
        served = [version["name"] for version in found["spec"]["versions"] if version.get("served")]
        established = any(
            condition.get("type") == "Established" and condition.get("status") == "True"
            for condition in (found.get("status") or {}).get("conditions") or ()
        )
        if wellknown.VERSION not in served or not established:
            yield Finding("KindNotServed", f"CRD {name} does not serve {wellknown.VERSION}; run `kagenti crds --apply` "
                                           "and read its conditions")  # fmt: skip


def _deployments(facts: Facts) -> Iterator[Finding]:
    images: dict[str, list[str]] = {}
    for deployment in facts.deployments:
        name, wanted = deployment["metadata"]["name"], deployment["spec"].get("replicas", 1)
        ready = (deployment.get("status") or {}).get("readyReplicas", 0)
        if ready < wanted:
            yield Finding(
                "ReplicasNotReady", f"Deployment {name} has {ready} of {wanted} replicas ready; describe its pods"
            )
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            images.setdefault(container["image"], []).append(name)
    if len(images) > 1:
        told = ", ".join(f"{image} ({', '.join(names)})" for image, names in sorted(images.items()))
        yield Finding("VersionsDiffer", f"the processes run different images: {told}; finish the upgrade")


def _leader(facts: Facts) -> Iterator[Finding]:
    """The clock of another machine is not believed: a holder is all that one look can tell."""
    present = any(deployment["metadata"]["name"] == OPERATOR for deployment in facts.deployments)
    held = ((facts.lease or {}).get("spec") or {}).get("holderIdentity")
    if present and not held and LEASE not in facts.unread:
        yield Finding(
            "NoLeader", f"{LEASE} has no holder: statuses are not written; look at the pods of Deployment {OPERATOR}"
        )


def needed_drivers(stored: JSON) -> set[str]:
    """Returns the CSI drivers without which a pod, or the pods of a workload, would not start."""
    subject = subject_of(stored or {}, namespace="")
    volumes = subject.spec.get("volumes") or () if subject is not None else ()
    return {volume["csi"]["driver"] for volume in volumes if "csi" in volume}


def _drivers(facts: Facts) -> Iterator[Finding]:
    for name, found in facts.drivers.items():
        if found is None:
            yield Finding("NoCSIDriver", f"CSIDriver {name} does not exist: injected pods would not start; install it (SPIRE), "
                                         "or set identity.spiffe.source or identity.spiffe.enabled")  # fmt: skip


def _namespaces(facts: Facts) -> Iterator[Finding]:
    for namespace in facts.namespaces:
        metadata = namespace["metadata"]
        if wellknown.BREAK_GLASS_LABEL in (metadata.get("labels") or {}):
            yield Finding("BreakGlass", f"namespace {metadata['name']} carries {wellknown.BREAK_GLASS_LABEL}: its pods start "
                                         "without sidecars; remove it when the emergency is over")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs: managed pods, workloads with templates, and the targets of AgentRuntimes as (kind, namespace, name).

    For an upgrade also the ``objects`` of our kinds, and CRDs by name: ``installed`` in the cluster, ``packaged`` here.
    """

    pods: Sequence[JSON] = ()
    workloads: Sequence[JSON] = ()
    targets: frozenset[tuple[str, str, str]] = frozenset()
    objects: Sequence[JSON] = ()
    installed: Mapping[str, JSON] = field(default_factory=dict)
    packaged: Mapping[str, JSON] = field(default_factory=dict)


def before(purpose: Purpose, fleet: Fleet, *, target: Target = "pods") -> list[Finding]:
    """Returns what must be rolled or mended before that step; each finding names one object, or counts those of a namespace.

    ``target`` is the installed one: what stands in templates matters to who leaves it.
    """
    if purpose == "uninstall":
        return [*_left_behind(fleet.pods), *_templates(fleet.workloads)]
    if purpose == "switch":
        empty = _empty_templates(fleet) if target == "pods" else ()
        return [*_misplaced(fleet.workloads), *_templates(fleet.workloads), *_one_trigger(fleet), *empty]
    if purpose == "upgrade":
        return upgrade.before(
            pods=fleet.pods, objects=fleet.objects, installed=fleet.installed, packaged=fleet.packaged
        )
    return []


def _left_behind(pods: Sequence[JSON]) -> Iterator[Finding]:
    counted: dict[str, int] = {}
    for pod in pods:
        counted[pod["metadata"]["namespace"]] = counted.get(pod["metadata"]["namespace"], 0) + 1
    for namespace, number in sorted(counted.items()):
        yield Finding("KeepsLastPolicy", f"{number} injected pods in namespace {namespace} keep their last policy and the "
                                          "keys they have, and accept no token of a later key; roll their workloads "
                                          "afterwards, they come up without sidecars")  # fmt: skip


def _templates(workloads: Iterable[JSON]) -> Iterator[Finding]:
    """Sidecars inside templates: target workloads, or webhooks up to March 2026 (reference §1)."""
    for subject in _subjects(workloads):
        if _has_sidecars(subject):
            yield Finding("SidecarsInTemplate", f"{subject.owner} has sidecars in its template, which every new pod brings "
                                                 "along; take them out: `kubectl get … -o yaml | kagenti uninject -f -`")  # fmt: skip


def _has_sidecars(subject: Subject) -> bool:
    names = {item.get("name") for key in ("containers", "initContainers") for item in subject.spec.get(key) or ()}
    return not names.isdisjoint(RESERVED_CONTAINERS)


def _empty_templates(fleet: Fleet) -> Iterator[Finding]:
    """To target workloads: no entry sees a pod any more, and a template is filled when it is next written."""
    waiting: dict[str, list[str]] = {}
    for subject in _subjects(fleet.workloads):
        owner = subject.owner
        targeted = (owner.kind, owner.namespace, owner.name) in fleet.targets
        own = (subject.labels_of_workload or {}).get(wellknown.INJECT_LABEL)  # counts there too
        labelled = (subject.inject_label or own) == wellknown.INJECT_ENABLED
        if (targeted or labelled) and not _has_sidecars(subject):
            waiting.setdefault(owner.namespace, []).append(f"{owner.kind} {owner.name}")
    for namespace, names in sorted(waiting.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield Finding("EmptyTemplate", f"{len(names)} triggered workloads in namespace {namespace} have no sidecars in their "
                                        f"template ({', '.join(names[:_NAMED])}{more}): after a switch to target workloads their "
                                        "next pods come up bare until the template is written again; right after it run `kubectl "
                                        f"rollout restart deployment,statefulset,daemonset -n {namespace}`, and change "
                                        "something in the templates of CronJobs")  # fmt: skip


def _misplaced(workloads: Iterable[JSON]) -> Iterator[Finding]:
    for subject in _subjects(workloads):
        sentence = misplaced_label(subject)
        if sentence:
            yield Finding("LabelOnWorkload", f"{subject.owner}: with target pods the {sentence}")


def _one_trigger(fleet: Fleet) -> Iterator[Finding]:
    for subject in _subjects(fleet.workloads):
        labelled = subject.inject_label == wellknown.INJECT_ENABLED
        targeted = (subject.owner.kind, subject.owner.namespace, subject.owner.name) in fleet.targets
        if labelled and not targeted:
            yield Finding("OnlyLabel", f"{subject.owner} is triggered by its label alone: in mode cr its next pods come up "
                                        "bare; create an AgentRuntime for it first (`kagenti migrate trigger --to cr`)")  # fmt: skip
        if targeted and not labelled:
            yield Finding("OnlyAgentRuntime", f"{subject.owner} is triggered by an AgentRuntime alone: in mode label its next "
                                               "pods come up bare; label its pod template first")  # fmt: skip


def _subjects(workloads: Iterable[JSON]) -> Iterator[Subject]:
    for workload in workloads:
        subject = subject_of(workload, namespace="")
        if subject is not None:
            yield subject
