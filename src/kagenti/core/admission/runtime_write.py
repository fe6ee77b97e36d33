"""A write of an AgentRuntime: what denies it, and what its author should know of its target and its settings."""

from dataclasses import dataclass
from typing import Any

from kagenti import errors
from kagenti.core import layers as gathering
from kagenti.core import settings, validation, workload
from kagenti.core.admission import desk, respond, targets
from kagenti.core.admission.desk import Desk
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.settings.model import Finding, Layer, ResolvedSettings
from kagenti.core.trigger import reasons
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw manifest


@dataclass(frozen=True, slots=True)
class RuntimeWrite:
    """One write of an AgentRuntime."""

    request: Request
    at: Desk
    target: TargetFacts

    def answer(self) -> Answer:
        """Returns the answer to the write."""
        request = self.request
        if request.operation == "DELETE":
            return respond.allowed(request, reason=desk.VALID, warnings=self._after_deletion())
        if request.operation not in ("CREATE", "UPDATE") or desk.untouched(request):
            return respond.allowed(request, reason=desk.VALID)
        try:
            layer = gathering.parse("workload", desk.manifest_of(request, request.object))
        except errors.ManifestError as error:
            return desk.invalid(request, error)
        resolved = self._resolve(layer)
        faults = self._faults(layer, resolved)
        if faults:
            return desk.denied(request, faults)
        return respond.allowed(request, reason=desk.VALID, warnings=self._warnings(layer, resolved))

    def _resolve(self, layer: Layer | None) -> ResolvedSettings:
        namespace, at = self.request.namespace, self.at
        config = at.namespace(namespace)
        return at.resolve(namespace, cluster=at.cluster(), config=config, runtime=layer)

    def _faults(self, layer: Layer, resolved: ResolvedSettings) -> tuple[Finding, ...]:
        """Returns what denies: a second AgentRuntime for a target, and values that it may not set."""
        over = validation.overreach(layer.source, resolved)
        if self.request.operation == "UPDATE":
            old = desk.parsed("workload", self.request, self.request.old_object)
            before = validation.overreach(old.source, self._resolve(old)) if old else ()
            return validation.added(over, before)
        target = targets.target_of(self.request.object, self.request.namespace)
        if target is None:
            return over
        rivals = [gathering.source_of("workload", stored) for stored in self.at.view.runtimes_for(target)]
        kind = validation.target_kind(target)
        return (*validation.duplicate_target(layer.source, target, rivals), *kind, *over)

    def _warnings(self, layer: Layer, resolved: ResolvedSettings) -> list[str]:
        warnings = [f"{found.reason}: its pods will be denied: {found.message}" for found in resolved.errors]
        warnings += desk.said(validation.overreach(layer.source, resolved))
        warnings += desk.said(validation.notes(layer.source, resolved))
        warnings += desk.said(validation.exporters(layer))
        if self.request.operation == "CREATE":
            warnings += self._on_creation(resolved)
        return warnings

    def _on_creation(self, resolved: ResolvedSettings) -> list[str]:
        request = self.request
        target = targets.target_of(request.object, request.namespace)
        if target is None:
            return []
        bare = workload.at(request.object, ("spec", "rollout", "bare")) or "Evict"
        told = [f"{request.subject} {targets.sentence(target, self.target, bare=bare)}"]
        told += desk.said(validation.target_kind(target, owned_by=self.target.owned_by))
        told += desk.said(validation.shared_identity(self.target.service_account, resolved, what=str(target)))
        return [*self._coverage(target), *told]

    def _coverage(self, target: WorkloadRef) -> list[str]:
        """Returns what keeps this AgentRuntime from triggering."""
        coverage = self.at.coverage(self.request.namespace)
        if coverage.excluded:
            return [f"{coverage.excluded}: {coverage.why}"]
        if self.at.context.mode == "label":
            pods = f"{wellknown.INJECT_LABEL}: {wellknown.INJECT_ENABLED} on the pod template of {target}"
            return [f"{reasons.LABEL_MISSING}: trigger mode is label: this gives settings only, put {pods}"]
        if coverage.enrolled:
            return []
        namespace = self.request.namespace
        what = f"namespace {namespace} is not enrolled, pods stay bare; enrol it: {coverage.enrol}"
        return [f"{reasons.NOT_ENROLLED}: {what}"]

    def _after_deletion(self) -> list[str]:
        request, mode = self.request, self.at.context.mode
        target = targets.target_of(request.old_object, request.namespace)
        if target is None:
            return []
        name = request.name or (request.old_object.get("metadata") or {}).get("name")  # a deletecollection names nobody
        mine = (request.namespace, name)
        heirs = [found for found in self.at.view.runtimes_for(target) if (found.namespace, found.name) != mine]
        heir = gathering.pick_runtime(heirs)
        if heir is not None:
            return [f"{gathering.source_of('workload', heir)} targets {target} too: its settings hold for future pods"]
        labels = self.at.view.namespace_labels(request.namespace) or {}
        layers = (self.at.cluster(), self.at.namespace(request.namespace))
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
