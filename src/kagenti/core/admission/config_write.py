"""A write of a config kind: what denies it, and whom among the workloads below it would break or overrule."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kagenti import errors
from kagenti.core import layers as gathering
from kagenti.core import settings, validation
from kagenti.core.admission import desk, respond
from kagenti.core.admission.desk import Desk
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.settings.model import Finding, Layer, LayerName, ResolvedSettings, Source
from kagenti.core.trigger import reasons
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw manifest

# A merge takes about 0.1 ms and each AgentRuntime needs two: 0.2 s of the second that the API server's caller waits.
MOST_RUNTIMES: Final = 1000


@dataclass(frozen=True, slots=True)
class ConfigWrite:
    """One write of a config kind."""

    request: Request
    at: Desk

    @property
    def layer(self) -> LayerName:
        """Which layer this config is."""
        return "namespace" if self.request.kind == "AgentRuntimeConfig" else "cluster"

    def answer(self) -> Answer:
        """Returns the answer to the write."""
        request = self.request
        if request.operation not in ("CREATE", "UPDATE", "DELETE") or desk.untouched(request):
            return respond.allowed(request, reason=desk.VALID)
        try:
            new = None
            if request.operation != "DELETE":
                new = gathering.parse(self.layer, desk.manifest_of(request, request.object))
        except errors.ManifestError as error:
            return desk.invalid(request, error)
        faults = self._faults(new)
        if faults:
            return desk.denied(request, faults)
        return respond.allowed(request, reason=desk.VALID, warnings=self._warnings(new))

    def _faults(self, new: Layer | None) -> tuple[Finding, ...]:
        """Returns values of a namespace's config that the cluster locks or keeps to itself."""
        if new is None or self.layer == "cluster":
            return ()
        over = validation.overreach(new.source, self._settings(self.request.namespace, new, None))
        old = desk.parsed(self.layer, self.request, self.request.old_object)
        if old is None:
            return over
        return validation.added(
            over, validation.overreach(old.source, self._settings(self.request.namespace, old, None))
        )

    def _settings(self, namespace: str, mine: Layer | None, runtime: Layer | None) -> ResolvedSettings:
        """Returns the settings with this config as it is given."""
        at = self.at
        cluster = mine if self.layer == "cluster" else at.cluster()
        config = mine if self.layer == "namespace" else at.namespace(namespace)
        return at.resolve(namespace, cluster=cluster, config=config, runtime=runtime)

    def _warnings(self, new: Layer | None) -> list[str]:
        old = desk.parsed(self.layer, self.request, self.request.old_object)
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
        return told + desk.said((*validation.notes(new.source, resolved), *validation.exporters(new)))

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
        """Returns where nothing can hold anybody to a Mandatory that this config declares."""
        if new is None or not (new.mandatory or any(rule.mandatory for rule in new.namespaces)):
            return []
        if self.at.context.mode == "label":
            why = "trigger mode is label: pods without the label are not seen; use mode both or cr"
            return [f"{reasons.POLICY_UNENFORCED}: {why}"]
        bare = [name for name in self._bound(new) if not self.at.coverage(name).enrolled]
        if not bare:
            return []
        others = f"; so are {len(bare) - 1} more" if len(bare) > 1 else ""
        return [f"{reasons.POLICY_UNENFORCED}: {self._not_covered(bare[0])}{others}"]

    def _bound(self, new: Layer) -> list[str]:
        """Returns the known namespaces that this config's Mandatory is about."""
        if self.layer == "namespace":
            return [self.request.namespace]
        view = self.at.view
        labelled = {name: view.namespace_labels(name) or {} for name in sorted(view.namespaces())}
        return [
            name
            for name, labels in labelled.items()
            if settings.namespace_policy(new, None, name=name, labels=labels).mandatory
        ]

    def _not_covered(self, namespace: str) -> str:
        enrol = f"kubectl label namespace {namespace} {wellknown.ENROLLED_LABEL}=true"
        return self.at.coverage(namespace).why or f"namespace {namespace} is not enrolled; {enrol}"

    def _runtimes(self) -> Iterable[tuple[Source, Layer]]:
        """Yields the readable AgentRuntimes below this config, as far as anybody waits for them."""
        scope = self.request.namespace if self.layer == "namespace" else None
        for count, stored in enumerate(self.at.view.runtimes(scope)):
            if count == MOST_RUNTIMES:
                return
            layer = self.at.read("workload", stored)
            if layer is not None:
                yield replace(layer.source, resource_version=""), layer

    def _with(
        self, mine: Layer | None, by_source: Mapping[Source, Layer]
    ) -> Callable[[Source], ResolvedSettings | None]:
        return lambda source: self._settings(source.namespace, mine, by_source[source])


def _count(number: int) -> str:
    return "1 AgentRuntime" if number == 1 else f"{number} AgentRuntimes"
