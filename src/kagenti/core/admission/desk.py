"""What a validation reads, and the answers that both kinds of write share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kagenti import errors
from kagenti.core import layers as gathering
from kagenti.core import settings, trigger, validation
from kagenti.core.admission import respond
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.layers import Catalogue, LayerCache, Stored
from kagenti.core.settings.model import Finding, Layer, LayerName, ResolvedSettings
from kagenti.core.trigger import reasons
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw manifest

VALID: Final = "Valid"
"""Reason code of a write that nothing forbids."""


class View(Catalogue, Protocol):
    """The catalogue with the questions more that configs ask."""

    def runtimes(self, namespace: str | None) -> Iterable[Stored]:
        """Returns the AgentRuntimes of a namespace, or all of them."""

    def namespaces(self) -> Iterable[str]:
        """Returns the names of the namespaces that are known."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a validation reads: the objects known to this process, parsed layers, and what is the same for all."""

    view: View
    layers: LayerCache
    context: Context

    def read(self, layer: LayerName, stored: Stored | None) -> Layer | None:
        """Returns the layer in force of a stored object, None where it does not exist or cannot be read."""
        return None if stored is None else self.layers.read(layer, stored).layer

    def cluster(self) -> Layer | None:
        """Returns the cluster's layer."""
        return self.read("cluster", self.view.cluster_config())

    def namespace(self, name: str) -> Layer | None:
        """Returns a namespace's layer."""
        return self.read("namespace", self.view.namespace_config(name))

    def resolve(
        self, namespace: str, *, cluster: Layer | None, config: Layer | None, runtime: Layer | None
    ) -> ResolvedSettings:
        """Returns the settings that these layers would give in that namespace."""
        labels = self.view.namespace_labels(namespace) or {}
        policy = settings.namespace_policy(cluster, config, name=namespace, labels=labels)
        domain = self.context.installation.cluster_domain
        known = settings.KnownNamespaces(lambda name: self.view.namespace_labels(name) is not None)
        return settings.resolve(cluster, config, runtime, policy=policy, cluster_domain=domain, namespaces=known)

    def coverage(self, namespace: str) -> trigger.Coverage:
        """Returns how the webhook's entries cover a namespace; one whose labels are not known yet may be enrolled."""
        labels = self.view.namespace_labels(namespace)
        return trigger.coverage_of(
            namespace,
            labels=labels or {},
            selector=self.context.installation.namespace_selector if labels is not None else "",
            release_namespace=self.context.installation.release_namespace,
        )

    def unenforced(self, config: Layer) -> tuple[Finding, ...]:
        """Returns where nothing can hold anybody to a Mandatory that a config declares (spec 01)."""
        if not (config.mandatory or any(rule.mandatory for rule in config.namespaces)):
            return ()
        name = str(config.source)
        if self.context.mode == "label":
            why = "trigger mode is label: pods without the label are not seen; use mode both or cr"
            return (Finding(reasons.POLICY_UNENFORCED, why, "spec.policy", (name,)),)
        if self.context.by_workload:
            why = "webhook.target is workloads: standalone pods, ReplicaSets and kinds of others are not seen; use target pods"
            return (Finding(reasons.POLICY_UNENFORCED, why, "spec.policy", (name,)),)
        bare = [found for found in self._bound(config) if not self.coverage(found).enrolled]
        if not bare:
            return ()
        others = f"; so are {len(bare) - 1} more" if len(bare) > 1 else ""
        return (Finding(reasons.POLICY_UNENFORCED, f"{self._not_covered(bare[0])}{others}", "spec.policy", (name,)),)

    def idle_rules(self, config: Layer) -> tuple[Finding, ...]:
        """Returns which rules of the cluster's policy are about no namespace; nothing while none is known."""
        labelled = self._labelled()
        return validation.idle_rules(config, labelled) if labelled else ()

    def _labelled(self) -> Mapping[str, Mapping[str, str]]:
        return {name: self.view.namespace_labels(name) or {} for name in sorted(self.view.namespaces())}

    def _bound(self, config: Layer) -> list[str]:
        """Returns the known namespaces that a config's Mandatory is about."""
        if config.source.layer == "namespace":
            return [config.source.namespace]
        return [
            name
            for name, labels in self._labelled().items()
            if settings.namespace_policy(config, None, name=name, labels=labels).mandatory
        ]

    def _not_covered(self, namespace: str) -> str:
        coverage = self.coverage(namespace)
        return coverage.why or f"namespace {namespace} is not enrolled; enrol it: {coverage.enrol}"


def manifest_of(request: Request, which: Mapping[str, JSON]) -> JSON:
    """Returns the new or old object of a request as a manifest, its name and namespace filled in."""
    metadata = {**(which.get("metadata") or {}), "namespace": request.namespace, "name": request.name}
    if not request.name:
        metadata["name"] = metadata.get("generateName") or ""
    return {"apiVersion": wellknown.API_VERSION, "kind": request.kind, "metadata": metadata, "spec": which.get("spec")}


def untouched(request: Request) -> bool:
    """Whether an update leaves the spec alone, or the object is on its way out: neither is held up."""
    if request.operation != "UPDATE":
        return False
    if (request.object.get("metadata") or {}).get("deletionTimestamp"):
        return True
    return bool(request.object.get("spec") == request.old_object.get("spec"))


def parsed(layer: LayerName, request: Request, which: Mapping[str, JSON]) -> Layer | None:
    """Returns the layer of an object that need not be valid: the old one of an update."""
    try:
        return gathering.parse(layer, manifest_of(request, which)) if which else None
    except errors.ManifestError:
        return None


def said(findings: Iterable[Finding]) -> list[str]:
    """Returns findings as warnings."""
    return [f"{found.reason}: {found.message}" for found in findings]


def denied(request: Request, findings: tuple[Finding, ...]) -> Answer:
    """Returns the denial for findings, naming every object."""
    names = ", ".join(sorted({name for found in findings for name in found.objects}))
    message = f"{request.subject}: {validation.sentences(findings)}"
    return respond.denied(request, reason=findings[0].reason, message=message, audit={"objects": names})


def invalid(request: Request, error: errors.ManifestError) -> Answer:
    """Returns the denial of an object that does not parse."""
    return respond.denied(request, reason=validation.CONFIG_INVALID, message=str(error))
