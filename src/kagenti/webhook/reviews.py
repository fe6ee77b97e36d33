"""The four entries: gather what core asks for, from memory and where needed from the API server, and let core decide."""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from kagenti.core import layers as gathering
from kagenti.core.admission import advise, pods, validate, workloads
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import Request
from kagenti.core.admission.targets import UNKNOWN, TargetFacts
from kagenti.core.admission.validate import View
from kagenti.core.layers import LayerCache, Stored
from kagenti.core.trigger import OwnerProof
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.webhook.config import Consistency, Target
from kagenti.webhook.door import Entry
from kagenti.webhook.entry import AtOnce, Decide, ReviewEntry, nothing_at_once
from kagenti.webhook.journal import Journal
from kagenti.webhook.metrics import Metrics
from kagenti.webhook.slices import in_slices

NOT_SYNCED: Final = "kagenti has not read its caches yet"


class Cluster(Protocol):
    """The reads that a decision may need; each raises ClusterError when the API server does not answer in time."""

    async def caught_up(self) -> None:
        """Returns once no cache is known to be behind the API server."""

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of an owner chain, or None when the reference does not hold."""

    async def proof_of(self, reference: OwnerReference, namespace: str) -> OwnerProof:
        """Returns whether the top of that chain exists under its UID."""

    async def runtimes_for(self, namespace: str, kind: str, name: str) -> tuple[Stored, ...]:
        """Returns the AgentRuntimes that target kind and name now, by a consistent read."""

    async def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Returns the labels of a namespace that the cache does not know yet; None where it does not exist."""

    async def target_facts(self, target: WorkloadRef) -> TargetFacts:
        """Returns what is known of an AgentRuntime's target; never raises."""


@dataclass(slots=True)
class Reviews:
    """The four entries of one process; ``now`` is the clock, aware."""

    view: View
    cluster: Cluster
    context: Context
    layers: LayerCache
    target: Target
    consistency: Consistency
    journal: Journal
    metrics: Metrics
    now: Callable[[], datetime.datetime]

    def trust(self, xds_authority: str) -> None:
        """Gives the pods from now on this CA of the xDS server (PEM); those before keep what they were given."""
        installation = replace(self.context.installation, xds_authority=xds_authority)
        self.context = replace(self.context, installation=installation)

    def entries(self) -> Mapping[str, Entry]:
        """Returns the entries by path."""
        return {
            path: entry.serve
            for path, entry in (
                ("/mutate/pods", self._entry("pods", self.mutate_pod)),
                ("/mutate/workloads", self._entry("workloads", self.mutate_workload, at_once=workloads.at_once)),
                ("/validate", self._entry("validate", self.validate, fails_open=True)),
                ("/advise", self._entry("advise", self.advise, fails_open=True)),
            )
        }

    async def mutate_pod(self, request: Request) -> Answer:
        """Answers the creation of a pod."""
        if not self.view.synced():
            return pods.not_ready(request, NOT_SYNCED)
        await self._current()
        needed = pods.needs(request)
        owner = needed.standalone
        if needed.reference is not None:
            owner = await self.cluster.top_owner(needed.reference, request.namespace) or owner
        facts = await self._facts(request, owner, strict=needed.runtimes)
        if needed.reference is not None and pods.hangs_on_owner(request.object, facts, layers=self.layers):
            facts = await self._proved(request, facts, needed.reference, needed.standalone, strict=needed.runtimes)
        return pods.mutate_pod(request, facts, context=self.context, layers=self.layers, now=self.now())

    async def mutate_workload(self, request: Request) -> Answer:
        """Answers a write of a workload (target workloads) that is not answered at once."""
        if not self.view.synced():
            return pods.not_ready(request, NOT_SYNCED)
        await self._current()
        needed = workloads.needs(request)
        facts = await self._facts(request, needed.owner, strict=needed.runtimes)
        if needed.reference is not None and pods.hangs_on_owner(
            workloads.template_of(request), facts, layers=self.layers
        ):
            facts = await self._proved(request, facts, needed.reference, needed.itself, strict=needed.runtimes)
        return workloads.mutate_workload(request, facts, context=self.context, layers=self.layers, now=self.now())

    async def validate(self, request: Request) -> Answer:
        """Answers a write of one of our kinds."""
        desk = validate.Desk(self.view, self.layers, self.context)
        target = validate.needs(request)
        facts = UNKNOWN if target is None else await self.cluster.target_facts(target)
        return await in_slices(validate.answer_in_steps(request, desk, target=facts))

    async def advise(self, request: Request) -> Answer:
        """Answers a write of a workload with warnings."""
        return advise.advise(
            request, view=self.view, layers=self.layers, context=self.context, target=self.target, now=self.now()
        )

    async def _current(self) -> None:
        """In strict, no layer may be of before an outage: configs are looked up in memory alone."""
        if self.consistency == "strict":
            await self.cluster.caught_up()

    async def _facts(self, request: Request, owner: WorkloadRef, *, strict: bool) -> pods.Facts:
        """Gathers from memory, and asks the API server where memory has nothing and the past must not decide."""
        view = self.view
        runtimes = view.runtimes_for(owner)
        # A name that does not exist yet (generateName) cannot be targeted.
        if not runtimes and strict and self.consistency == "strict" and owner.name:
            found = await self.cluster.runtimes_for(owner.namespace, owner.kind, owner.name)
            runtimes = gathering.for_target(found, owner)
        labels = view.namespace_labels(request.namespace)
        if labels is None:
            labels = await self.cluster.namespace_labels(request.namespace)
        return pods.Facts(
            owner=owner,
            cluster=view.cluster_config(),
            namespace=view.namespace_config(request.namespace),
            runtimes=runtimes,
            namespace_labels=labels,
        )

    async def _proved(
        self, request: Request, facts: pods.Facts, reference: OwnerReference, itself: WorkloadRef, *, strict: bool
    ) -> pods.Facts:
        """Proves the owner whom an exemption names; one that does not exist makes the object its own top."""
        proof = await self.cluster.proof_of(reference, request.namespace)
        if proof == "broken":
            return await self._facts(request, itself, strict=strict)
        return msgspec.structs.replace(facts, proof=proof)

    def _entry(
        self, name: str, decide: Decide, *, at_once: AtOnce = nothing_at_once, fails_open: bool = False
    ) -> ReviewEntry:
        return ReviewEntry(name, decide, at_once, fails_open, self.journal, self.metrics)
