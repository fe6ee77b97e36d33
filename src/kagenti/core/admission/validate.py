"""The validating webhook for our own kinds: rules across objects, and what people should know before they go on.

It fails open (spec 03): the merge ignores what it would have refused. It never changes anything, so that dry-run and
real requests get the same answer.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from kagenti import errors
from kagenti.core import layers as gathering
from kagenti.core import settings, trigger, validation, workload
from kagenti.core.admission import respond, targets
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.layers import Catalogue, LayerCache, Stored
from kagenti.core.settings.model import Finding, Layer, LayerName, ResolvedSettings, Source
from kagenti.core.trigger import reasons
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw manifest

VALID: Final = "Valid"
NOT_CHECKED: Final = "NotChecked"
# A merge takes about 0.1 ms and each AgentRuntime needs two: 0.2 s of the second that the API server's caller waits.
MOST_RUNTIMES: Final = 1000


class View(Catalogue, Protocol):
    """The catalogue with the one question more that configs ask."""

    def runtimes(self, namespace: str | None) -> Iterable[Stored]:
        """Returns the AgentRuntimes of a namespace, or all of them."""


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
        return settings.resolve(cluster, config, runtime, policy=policy, cluster_domain=domain)

    def coverage(self, namespace: str) -> trigger.Coverage:
        """Returns how the webhook's entries cover a namespace."""
        return trigger.coverage_of(
            namespace,
            labels=self.view.namespace_labels(namespace) or {},
            selector=self.context.installation.namespace_selector,
            release_namespace=self.context.installation.release_namespace,
        )


def needs(request: Request) -> WorkloadRef | None:
    """Returns the target that the shell should look up, or None: only a new AgentRuntime says something about it."""
    if request.kind != "AgentRuntime" or request.operation != "CREATE":
        return None
    return targets.target_of(request.object, request.namespace)


def validate(request: Request, desk: Desk, *, target: TargetFacts = targets.UNKNOWN) -> Answer:
    """Returns the answer to a write of one of our kinds.

    Args:
        request: A request on our group.
        desk: What is known to this process.
        target: What the shell found of ``needs(request)``.
    """
    if not desk.view.synced():
        note = f"{NOT_CHECKED}: kagenti has not read the other objects yet; conflicts show in the status later"
        return respond.allowed(request, reason=NOT_CHECKED, warnings=(note,))
    if request.kind == "AgentRuntime":
        return _Runtime(request, desk, target).answer()
    if request.kind in ("AgentRuntimeConfig", "AgentRuntimeClusterConfig"):
        return _Config(request, desk).answer()
    return respond.allowed(request, reason=VALID)


def _manifest(request: Request, which: Mapping[str, JSON]) -> JSON:
    metadata = {**(which.get("metadata") or {}), "namespace": request.namespace, "name": request.name}
    if not request.name:
        metadata["name"] = metadata.get("generateName") or ""
    return {"apiVersion": wellknown.API_VERSION, "kind": request.kind, "metadata": metadata, "spec": which.get("spec")}


def _untouched(request: Request) -> bool:
    """Whether an update leaves the spec alone, or the object is on its way out: neither is held up."""
    if request.operation != "UPDATE":
        return False
    if (request.object.get("metadata") or {}).get("deletionTimestamp"):
        return True
    return bool(request.object.get("spec") == request.old_object.get("spec"))


def _parsed(layer: LayerName, request: Request, which: Mapping[str, JSON]) -> Layer | None:
    """Returns the layer of an object that need not be valid: the old one of an update."""
    try:
        return settings.parse_layer(layer, _manifest(request, which)) if which else None
    except errors.ManifestError:
        return None


def _said(findings: Iterable[Finding]) -> list[str]:
    return [f"{found.reason}: {found.message}" for found in findings]


def _denied(request: Request, findings: tuple[Finding, ...]) -> Answer:
    names = ", ".join(sorted({name for found in findings for name in found.objects}))
    message = f"{request.subject}: {validation.sentences(findings)}"
    return respond.denied(request, reason=findings[0].reason, message=message, audit={"objects": names})


def _invalid(request: Request, error: errors.ManifestError) -> Answer:
    return respond.denied(request, reason=validation.CONFIG_INVALID, message=str(error))


@dataclass(frozen=True, slots=True)
class _Runtime:
    """One write of an AgentRuntime."""

    request: Request
    desk: Desk
    target: TargetFacts

    def answer(self) -> Answer:
        request = self.request
        if request.operation == "DELETE":
            return respond.allowed(request, reason=VALID, warnings=self._after_deletion())
        if request.operation not in ("CREATE", "UPDATE") or _untouched(request):
            return respond.allowed(request, reason=VALID)
        try:
            layer = settings.parse_layer("workload", _manifest(request, request.object))
        except errors.ManifestError as error:
            return _invalid(request, error)
        resolved = self._resolve(layer)
        faults = self._faults(layer, resolved)
        if faults:
            return _denied(request, faults)
        return respond.allowed(request, reason=VALID, warnings=self._warnings(layer, resolved))

    def _resolve(self, layer: Layer | None) -> ResolvedSettings:
        namespace, desk = self.request.namespace, self.desk
        config = desk.namespace(namespace)
        return desk.resolve(namespace, cluster=desk.cluster(), config=config, runtime=layer)

    def _faults(self, layer: Layer, resolved: ResolvedSettings) -> tuple[Finding, ...]:
        """Returns what denies: a second AgentRuntime for a target, and values that it may not set."""
        over = validation.overreach(layer.source, resolved)
        if self.request.operation == "UPDATE":
            old = _parsed("workload", self.request, self.request.old_object)
            before = validation.overreach(old.source, self._resolve(old)) if old else ()
            return validation.added(over, before)
        target = targets.target_of(self.request.object, self.request.namespace)
        if target is None:
            return over
        rivals = [gathering.source_of("workload", stored) for stored in self.desk.view.runtimes_for(target)]
        kind = validation.target_kind(target)
        return (*validation.duplicate_target(layer.source, target, rivals), *kind, *over)

    def _warnings(self, layer: Layer, resolved: ResolvedSettings) -> list[str]:
        warnings = [f"{found.reason}: its pods will be denied: {found.message}" for found in resolved.errors]
        warnings += _said(validation.overreach(layer.source, resolved))
        warnings += _said(validation.notes(layer.source, resolved))
        if self.request.operation == "CREATE":
            warnings += self._on_creation()
        return warnings

    def _on_creation(self) -> list[str]:
        request = self.request
        target = targets.target_of(request.object, request.namespace)
        if target is None:
            return []
        bare = workload.at(request.object, ("spec", "rollout", "bare")) or "Evict"
        told = [f"{request.subject} {targets.sentence(target, self.target, bare=bare)}"]
        told += _said(validation.target_kind(target, owned_by=self.target.owned_by))
        return [*self._coverage(target), *told]

    def _coverage(self, target: WorkloadRef) -> list[str]:
        """Returns what keeps this AgentRuntime from triggering."""
        coverage = self.desk.coverage(self.request.namespace)
        if coverage.excluded:
            return [f"{coverage.excluded}: {coverage.why}"]
        if self.desk.context.mode == "label":
            pods = f"{wellknown.INJECT_LABEL}: {wellknown.INJECT_ENABLED} on the pod template of {target}"
            return [f"{reasons.LABEL_MISSING}: trigger mode is label: this gives settings only, put {pods}"]
        if coverage.enrolled:
            return []
        namespace = self.request.namespace
        enrol = f"kubectl label namespace {namespace} {wellknown.ENROLLED_LABEL}=true"
        return [f"{reasons.NOT_ENROLLED}: namespace {namespace} is not enrolled, pods stay bare; enrol it: {enrol}"]

    def _after_deletion(self) -> list[str]:
        request, mode = self.request, self.desk.context.mode
        target = targets.target_of(request.old_object, request.namespace)
        if target is None:
            return []
        mine = (request.namespace, request.name)
        heirs = [found for found in self.desk.view.runtimes_for(target) if (found.namespace, found.name) != mine]
        heir = gathering.pick_runtime(heirs)
        if heir is not None:
            return [f"{gathering.source_of('workload', heir)} targets {target} too: its settings hold for future pods"]
        labels = self.desk.view.namespace_labels(request.namespace) or {}
        layers = (self.desk.cluster(), self.desk.namespace(request.namespace))
        policy = settings.namespace_policy(*layers, name=request.namespace, labels=labels)
        if policy.mandatory and mode != "label":
            return [
                f"future pods of {target} are still injected ({policy.declared_by}: Mandatory), without its settings"
            ]
        label = f"{wellknown.INJECT_LABEL}: {wellknown.INJECT_ENABLED}"
        bare = "future pods of {target} come up without sidecars; running pods keep theirs"
        labelled = "future pods of {target} with label {label} get the settings of the layers above"
        text = {"cr": bare, "label": labelled, "both": f"{labelled}, those without come up without sidecars"}[mode]
        return [text.format(target=target, label=label)]


@dataclass(frozen=True, slots=True)
class _Config:
    """One write of a config kind."""

    request: Request
    desk: Desk

    @property
    def layer(self) -> LayerName:
        return "namespace" if self.request.kind == "AgentRuntimeConfig" else "cluster"

    def answer(self) -> Answer:
        request = self.request
        if request.operation not in ("CREATE", "UPDATE", "DELETE") or _untouched(request):
            return respond.allowed(request, reason=VALID)
        try:
            new = None
            if request.operation != "DELETE":
                new = settings.parse_layer(self.layer, _manifest(request, request.object))
        except errors.ManifestError as error:
            return _invalid(request, error)
        faults = self._faults(new)
        if faults:
            return _denied(request, faults)
        return respond.allowed(request, reason=VALID, warnings=self._warnings(new))

    def _faults(self, new: Layer | None) -> tuple[Finding, ...]:
        """Returns values of a namespace's config that the cluster locks or keeps to itself."""
        if new is None or self.layer == "cluster":
            return ()
        over = validation.overreach(new.source, self._settings(self.request.namespace, new, None))
        old = _parsed(self.layer, self.request, self.request.old_object)
        if old is None:
            return over
        return validation.added(
            over, validation.overreach(old.source, self._settings(self.request.namespace, old, None))
        )

    def _settings(self, namespace: str, mine: Layer | None, runtime: Layer | None) -> ResolvedSettings:
        """Returns the settings with this config as it is given."""
        desk = self.desk
        cluster = mine if self.layer == "cluster" else desk.cluster()
        config = mine if self.layer == "namespace" else desk.namespace(namespace)
        return desk.resolve(namespace, cluster=cluster, config=config, runtime=runtime)

    def _warnings(self, new: Layer | None) -> list[str]:
        old = _parsed(self.layer, self.request, self.request.old_object)
        warnings = self._unlabelled(new)
        warnings += self._broken(new, old)
        warnings += self._overruled(new, old)
        warnings += self._unenforced(new)
        if new is None:
            reach = f"namespace {self.request.namespace}" if self.layer == "namespace" else "the cluster"
            warnings.append(f"workloads of {reach} go back to the layers that remain: live settings at once")
        return warnings

    def _unlabelled(self, new: Layer | None) -> list[str]:
        """Returns what pods without an AgentRuntime would run into."""
        if new is None:
            return []
        resolved = self._settings(self.request.namespace, new, None)
        told = [f"{found.reason}: triggered pods will be denied: {found.message}" for found in resolved.errors]
        return told + _said(validation.notes(new.source, resolved))

    def _broken(self, new: Layer | None, old: Layer | None) -> list[str]:
        by_source = dict(self._runtimes())
        broken = validation.newly_broken(
            by_source,
            before=self._with(old, by_source),
            after=self._with(new, by_source),
            limit=MOST_RUNTIMES,
        )
        if not broken:
            return []
        first, fault = broken[0]
        return [
            f"{fault.reason}: this breaks the settings of {_count(len(broken))}: pods will be denied; "
            f"first {first}: {fault.message}"
        ]

    def _overruled(self, new: Layer | None, old: Layer | None) -> list[str]:
        """Returns how many AgentRuntimes set what this config locks from now on."""
        if new is None or not (new.locked or new.mandatory or new.namespaces or (old and old.delegated)):
            return []
        by_source = dict(self._runtimes())
        before, after = self._with(old, by_source), self._with(new, by_source)
        losers = []
        for source in list(by_source)[:MOST_RUNTIMES]:
            then, now = after(source), before(source)
            if then is None or now is None:
                continue
            if validation.added(validation.overreach(source, then), validation.overreach(source, now)):
                losers.append(source)
        if not losers:
            return []
        return [f"LockViolation: values of {_count(len(losers))} lose their effect, first {losers[0]}"]

    def _unenforced(self, new: Layer | None) -> list[str]:
        if new is None or not new.mandatory:
            return []
        if self.desk.context.mode == "label":
            why = "trigger mode is label: pods without the label are not seen; use mode both or cr"
            return [f"{reasons.POLICY_UNENFORCED}: {why}"]
        namespace = self.request.namespace
        coverage = self.desk.coverage(namespace)
        if coverage.enrolled or not namespace:
            return []
        enrol = f"kubectl label namespace {namespace} {wellknown.ENROLLED_LABEL}=true"
        return [f"{reasons.POLICY_UNENFORCED}: {coverage.why or f'namespace {namespace} is not enrolled; {enrol}'}"]

    def _runtimes(self) -> Iterable[tuple[Source, Layer]]:
        """Yields the readable AgentRuntimes below this config, as far as anybody waits for them."""
        scope = self.request.namespace if self.layer == "namespace" else None
        for count, stored in enumerate(self.desk.view.runtimes(scope)):
            if count == MOST_RUNTIMES:
                return
            layer = self.desk.read("workload", stored)
            if layer is not None:
                yield replace(layer.source, resource_version=""), layer

    def _with(
        self, mine: Layer | None, by_source: Mapping[Source, Layer]
    ) -> Callable[[Source], ResolvedSettings | None]:
        return lambda source: self._settings(source.namespace, mine, by_source[source])


def _count(number: int) -> str:
    return "1 AgentRuntime" if number == 1 else f"{number} AgentRuntimes"
