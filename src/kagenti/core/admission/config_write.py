"""A write of a config kind: what denies it, and whom among the workloads below it would break or overrule."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from kagenti import errors
from kagenti.core import layers as gathering
from kagenti.core import validation
from kagenti.core.admission import desk, respond
from kagenti.core.admission.desk import Desk
from kagenti.core.admission.reach import Reach, explore
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.settings.model import Finding, Layer, LayerName, ResolvedSettings

JSON = Any  # a raw manifest


@dataclass(frozen=True, slots=True)
class ConfigWrite:
    """One write of a config kind."""

    request: Request
    at: Desk

    @property
    def layer(self) -> LayerName:
        """Which layer this config is."""
        return "namespace" if self.request.kind == "AgentRuntimeConfig" else "cluster"

    def steps(self) -> Generator[None, bool, Answer]:
        """Returns the answer to the write; yields between AgentRuntimes and wants to be sent whether to go on."""
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
        return respond.allowed(request, reason=desk.VALID, warnings=(yield from self._warnings(new)))

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

    def _warnings(self, new: Layer | None) -> Generator[None, bool, list[str]]:
        old = desk.parsed(self.layer, self.request, self.request.old_object)
        warnings = self._unlabelled(new)
        found = yield from self._reach(new, old)
        warnings += found.warnings()
        if new is not None:
            warnings += desk.said((*self.at.unenforced(new), *self.at.idle_rules(new)))
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

    def _reach(self, new: Layer | None, old: Layer | None) -> Generator[None, bool, Reach]:
        """Looks at the AgentRuntimes below this config, as far as the caller has time."""
        locks = new is not None and bool(new.locked or new.mandatory or new.namespaces or (old and old.delegated))
        scope = self.request.namespace if self.layer == "namespace" else None
        return explore(
            tuple(self.at.view.runtimes(scope)),
            read=lambda stored: self.at.read("workload", stored),
            before=lambda runtime: self._settings(runtime.source.namespace, old, runtime),
            after=lambda runtime: self._settings(runtime.source.namespace, new, runtime),
            locks=locks,
        )
