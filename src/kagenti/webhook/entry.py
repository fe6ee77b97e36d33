"""One review from bytes to bytes: parse, let an entry decide, encode, count, log; decides nothing itself.

Every review that has a uid is answered with it, whatever happens. What could not be decided is denied where the entry
fails closed (pods, workloads), and let through with a warning where it fails open (validate, advise): an answer of
``allowed: false`` is a denial for the API server, whatever the entry's failurePolicy says (decision 0006).
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from kagenti import errors
from kagenti.core.admission import pods, respond, review
from kagenti.core.admission.respond import Answer
from kagenti.core.admission.review import BadReview, Request
from kagenti.webhook.door import BadRequest
from kagenti.webhook.journal import Journal, Line
from kagenti.webhook.metrics import Metrics

BUSY: Final = "too many reviews at once"

Decide = Callable[[Request], Awaitable[Answer]]
AtOnce = Callable[[Request], Answer | None]
"""Answers what needs neither facts nor patience, so that it is answered in every state of the process."""


def nothing_at_once(request: Request) -> Answer | None:  # noqa: ARG001  # an AtOnce
    """The AtOnce of entries whose every answer needs facts."""
    return None


@dataclass(frozen=True, slots=True)
class ReviewEntry:
    """One entry of the door; ``fails_open`` says what becomes of a review that could not be decided."""

    name: str
    decide: Decide
    at_once: AtOnce
    fails_open: bool
    journal: Journal
    metrics: Metrics

    async def serve(self, body: bytes, busy: bool) -> bytes:  # noqa: FBT001  # the door's signature
        """Returns the AdmissionReview with the answer; raises BadRequest for a body without a uid to answer to."""
        started = time.perf_counter()
        answer, request = await self._answered(body, busy=busy)
        answer = self._opened(answer)
        encoded = self._encoded(answer)
        seconds = time.perf_counter() - started
        self.metrics.decided(self.name, reason=answer.reason, allowed=answer.allowed, seconds=seconds)
        self._log(answer, request, seconds=seconds)
        return encoded

    async def _answered(self, body: bytes, *, busy: bool) -> tuple[Answer, Request | None]:
        try:
            request = review.parse_review(body)
        except BadReview as bad:
            if not bad.uid:
                raise BadRequest(400, str(bad)) from bad
            return respond.refused(bad.uid, str(bad)), None
        try:
            answer = self.at_once(request)
            if answer is None:
                answer = pods.not_ready(request, BUSY) if busy else await self.decide(request)
            return answer, request
        except errors.ClusterError as error:
            return pods.not_ready(request, str(error)), request
        except Exception as defect:
            return self._crashed(request.uid, defect), request

    def _opened(self, answer: Answer) -> Answer:
        """Returns the answer as the entry's failure mode wants it."""
        if not self.fails_open or answer.code not in _UNDECIDED:
            return answer
        warning = f"{answer.reason}: not checked by kagenti: {answer.message}"
        audit = {**answer.audit, "decision": "allowed"}
        return msgspec.structs.replace(
            answer, allowed=True, message="", warnings=(*answer.warnings, warning), audit=audit
        )

    def _encoded(self, answer: Answer) -> bytes:
        try:
            return answer.body()
        except Exception as defect:
            return self._opened(self._crashed(answer.uid, defect)).body()

    def _crashed(self, uid: str, defect: Exception) -> Answer:
        """Counts and logs the exception being handled; returns the answer that it becomes."""
        self.metrics.crashes[self.name] += 1
        self.journal.crash(self.name, uid=uid)
        return respond.errored(uid, defect)

    def _log(self, answer: Answer, request: Request | None, *, seconds: float) -> None:
        if not self.journal.wants_decisions:
            return
        self.journal.decision(
            Line(
                entry=self.name,
                uid=answer.uid,
                operation=request.operation if request else "",
                kind=request.kind if request else "",
                namespace=request.namespace if request else "",
                name=_name_of(request) if request else "",
                resource=request.resource if request else "",
                user=request.user if request else "",
                decision=answer.audit.get("decision", ""),
                reason=answer.reason,
                trigger=answer.audit.get("trigger", ""),
                milliseconds=seconds * 1000,
            )
        )


# Codes of answers that decide nothing: what no API server sends, a defect of ours, facts that could not be had.
_UNDECIDED: Final = (400, 500, 503)


def _name_of(request: Request) -> str:
    name: str = request.name or (request.object.get("metadata") or {}).get("generateName") or ""
    return name
