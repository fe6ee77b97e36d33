"""Workloads of the old installation: what its webhook read of them, the overrides that their labels meant, their AgentRuntimes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core import workload
from kagenti.core.migration import chain
from kagenti.core.migration.chain import OldPod
from kagenti.core.migration.eras import Era
from kagenti.core.migration.installation import Old
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a manifest

_TYPES: Final = ("agent", "tool")


@dataclass(frozen=True, slots=True)
class OldWorkload:
    """A workload at the top of its owner chain: its raw manifest, and its template as a subject."""

    manifest: JSON
    subject: Subject
    pod: OldPod

    @property
    def name(self) -> str:
        """Kind, namespace and name for people."""
        return str(self.subject.owner)


def workload_of(manifest: JSON, *, namespace: str = "default") -> OldWorkload | None:
    """Returns a raw workload as the old webhook saw it; None without a pod template, and for one that another controls."""
    subject = workload.subject_of(manifest, namespace=namespace)
    if subject is None or workload.controller_reference(manifest) is not None:
        return None
    account = subject.service_account
    return OldWorkload(manifest, subject, OldPod(subject.owner, subject.labels, subject.annotations, account))


def labelled(found: OldWorkload, era: Era) -> bool:
    """Whether a workload's template carries a label that was, or is, part of a trigger, and is not opted out."""
    labels = found.subject.labels
    if labels.get(wellknown.INJECT_LABEL) == wellknown.INJECT_DISABLED or labels.get(era.label("inject")) == "disabled":
        return False
    return wellknown.INJECT_LABEL in labels or labels.get(era.label("type")) in _TYPES


def overrides(old: Old, pod: OldPod) -> dict[str, JSON]:
    """Returns the settings that a pod's old labels meant and kagenti's labels do not: SPIRE on or off for this workload."""
    era = old.era
    if era.consolidated or not chain.selected(old, pod):
        return {}
    spire = chain.components(old, pod).spire
    base = chain.gates_in_force(old)["spiffeHelper"] and not era.spire_by_label
    return {} if spire == base else {"identity": {"spiffe": {"enabled": spire}}}


def runtimes(found: Iterable[OldWorkload], old: Old, *, always: bool) -> list[JSON]:
    """Returns AgentRuntimes for workloads; only for those with overrides unless ``always``. Names are unique in a namespace."""
    chosen = [(one, overrides(old, one.pod)) for one in found]
    chosen = [(one, spec) for one, spec in chosen if always or spec]
    taken = Counter((one.subject.namespace, one.subject.owner.name) for one, _ in chosen)
    made = []
    for one, spec in sorted(chosen, key=lambda pair: (pair[0].subject.namespace, pair[0].name)):
        owner = one.subject.owner
        twice = taken[owner.namespace, owner.name] > 1
        made.append(_runtime(one, f"{owner.name}-{owner.kind.lower()}" if twice else owner.name, spec, old.era))
    return made


def _runtime(found: OldWorkload, name: str, spec: Mapping[str, JSON], era: Era) -> JSON:
    owner = found.subject.owner
    kind = found.subject.labels.get(era.label("type")) or found.subject.labels.get(wellknown.TYPE_LABEL)
    target = {"apiVersion": found.manifest["apiVersion"], "kind": owner.kind, "name": owner.name}
    body = {"targetRef": target, **({"type": kind} if kind in _TYPES else {}), **spec}
    metadata = {"name": name, "namespace": owner.namespace}
    return {"apiVersion": wellknown.API_VERSION, "kind": "AgentRuntime", "metadata": metadata, "spec": body}


def namespaces_of(found: Sequence[OldWorkload]) -> list[str]:
    """Returns the namespaces of these workloads, sorted."""
    return sorted({one.subject.namespace for one in found})
