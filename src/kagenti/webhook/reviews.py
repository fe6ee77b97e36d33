"""One review from bytes to bytes: parse, gather what core asks for, let core decide, count, log; decides nothing itself.

Every review that has a uid is answered with it, whatever happens. What could not be decided is denied where the entry
fails closed (pods, workloads), and let through with a warning where it fails open (validate, advise): an answer of
``allowed: false`` is a denial for the API server, whatever the entry's failurePolicy says.
"""

import datetime
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from kagenti import errors
from kagenti.core import layers as gathering
from kagenti.core.admission import advise, pods, respond, review, validate, workloads
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import BadReview, Request
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.admission.validate import View
from kagenti.core.layers import LayerCache, Stored
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.webhook.config import Consistency, Target
from kagenti.webhook.door import BadRequest, Entry
from kagenti.webhook.journal import Journal, Line
from kagenti.webhook.metrics import Metrics

BUSY: Final = "too many reviews at once"
NOT_SYNCED: Final = "kagenti has not read its caches yet"
NO_REASON: Final = "NotAReview"


class Cluster(Protocol):
    """The reads that a decision may need; each raises ClusterError when the API server does not answer in time."""

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of an owner chain, or None when the reference does not hold."""

    async def runtimes_for(self, namespace: str, kind: str, name: str) -> tuple[Stored, ...]:
        """Returns the AgentRuntimes that target kind and name now, by a consistent read."""

    async def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Returns the labels of a namespace that the cache does not know yet; None where it does not exist."""

    async def target_facts(self, target: WorkloadRef) -> TargetFacts:
        """Returns what is known of an AgentRuntime's target; never raises."""


Decide = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
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

    def entries(self) -> Mapping[str, Entry]:
        """Returns the entries by path."""
        return {
            "/mutate/pods": self._entry("pods", self.mutate_pod, fails_open=False),
            "/mutate/workloads": self._entry("workloads", self.mutate_workload, fails_open=False),
            "/validate": self._entry("validate", self.validate, fails_open=True),
            "/advise": self._entry("advise", self.advise, fails_open=True),
        }

    async def mutate_pod(self, request: Request) -> Answer:
        """Answers the creation of a pod."""
        if not self.view.synced():
            return pods.not_ready(request, NOT_SYNCED)
        needed = pods.needs(request)
        owner = needed.standalone
        if needed.reference is not None:
            owner = await self.cluster.top_owner(needed.reference, request.namespace) or owner
        facts = await self._facts(request, owner, strict=needed.runtimes)
        return pods.mutate_pod(request, facts, context=self.context, layers=self.layers, now=self.now())

    async def mutate_workload(self, request: Request) -> Answer:
        """Answers a write of a workload (target workloads)."""
        if not self.view.synced():
            return pods.not_ready(request, NOT_SYNCED)
        needed = workloads.needs(request)
        facts = await self._facts(request, needed.owner, strict=needed.runtimes)
        return workloads.mutate_workload(request, facts, context=self.context, layers=self.layers, now=self.now())

    async def validate(self, request: Request) -> Answer:
        """Answers a write of one of our kinds."""
        desk = validate.Desk(self.view, self.layers, self.context)
        target = validate.needs(request)
        if target is None:
            return validate.validate(request, desk)
        return validate.validate(request, desk, target=await self.cluster.target_facts(target))

    async def advise(self, request: Request) -> Answer:
        """Answers a write of a workload with warnings."""
        return advise.advise(
            request, view=self.view, layers=self.layers, context=self.context, target=self.target, now=self.now()
        )

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

    def _entry(self, name: str, decide: Decide, *, fails_open: bool) -> Entry:
        async def entry(body: bytes, busy: bool) -> bytes:  # noqa: FBT001  # the door's signature
            started = time.perf_counter()
            answer, request = await self._answered(name, decide, body, busy=busy)
            if fails_open and answer.code in _UNDECIDED:
                answer = _let_through(answer)
            encoded = self._encoded(name, answer)
            seconds = time.perf_counter() - started
            self.metrics.decided(name, reason=answer.reason, allowed=answer.allowed, seconds=seconds)
            self._log(name, answer, request, body, seconds=seconds)
            return encoded

        return entry

    async def _answered(self, name: str, decide: Decide, body: bytes, *, busy: bool) -> tuple[Answer, Request | None]:
        try:
            request = review.parse_review(body)
        except BadReview as bad:
            if not bad.uid:
                raise BadRequest(400, str(bad)) from bad
            return respond.refused(bad.uid, str(bad)), None
        if busy:
            return pods.not_ready(request, BUSY), request
        try:
            return await decide(request), request
        except errors.ClusterError as error:
            return pods.not_ready(request, str(error)), request
        except Exception as defect:
            self.metrics.crashes[name] += 1
            self.journal.crash(name, uid=request.uid)
            return respond.errored(request.uid, defect), request

    def _encoded(self, name: str, answer: Answer) -> bytes:
        try:
            return answer.body()
        except Exception as defect:
            self.metrics.crashes[name] += 1
            self.journal.crash(name, uid=answer.uid)
            return respond.errored(answer.uid, defect).body()

    def _log(self, name: str, answer: Answer, request: Request | None, body: bytes, *, seconds: float) -> None:
        if not self.journal.wants_decisions:
            return
        caller = _caller_of(body)
        self.journal.decision(
            Line(
                entry=name,
                uid=answer.uid,
                operation=request.operation if request else "",
                kind=request.kind if request else "",
                namespace=request.namespace if request else "",
                name=_name_of(request) if request else "",
                resource=caller.resource.resource,
                user=caller.user_info.username,
                decision=answer.audit.get("decision", ""),
                reason=answer.reason,
                trigger=answer.audit.get("trigger", ""),
                milliseconds=seconds * 1000,
            )
        )


# Codes of answers that decide nothing: a defect of ours, and facts that could not be had.
_UNDECIDED: Final = (500, 503)


def _let_through(answer: Answer) -> Answer:
    warning = f"{answer.reason}: not checked by kagenti: {answer.message}"
    audit = {**answer.audit, "decision": "allowed"}
    return replace(answer, allowed=True, message="", warnings=(*answer.warnings, warning), audit=audit)


def _name_of(request: Request) -> str:
    name: str = request.name or (request.object.get("metadata") or {}).get("generateName") or ""
    return name


class _UserInfo(msgspec.Struct):
    username: str = ""


class _Resource(msgspec.Struct):
    resource: str = ""


class _Caller(msgspec.Struct, rename="camel"):
    user_info: _UserInfo = msgspec.field(default_factory=_UserInfo)
    resource: _Resource = msgspec.field(default_factory=_Resource)


class _Envelope(msgspec.Struct):
    request: _Caller


_envelopes: Final = msgspec.json.Decoder(_Envelope)


def _caller_of(body: bytes) -> _Caller:
    """Returns who wrote what, for the log alone: core decides without them, and they may be of any type."""
    try:
        return _envelopes.decode(body).request
    except (msgspec.DecodeError, RecursionError):
        return _Caller()
