"""The process's log: one JSON object a line, and one line per decision with fixed keys; never a manifest or a value."""

import logging
from typing import IO, Final

import msgspec

from kagenti.journal import open_logger

LOGGER: Final = "kagenti.webhook"


class Line(msgspec.Struct, frozen=True):
    """One decision, for the log; ``milliseconds`` from the end of the request's headers to the answer."""

    entry: str
    uid: str
    operation: str
    kind: str
    namespace: str
    name: str
    resource: str
    user: str
    decision: str
    reason: str
    trigger: str
    milliseconds: float


class Journal:
    """Writes decisions and faults to one logger."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger

    @property
    def wants_decisions(self) -> bool:
        """Whether decisions are logged at all: not while the level is above info."""
        return self.logger.isEnabledFor(logging.INFO)

    def decision(self, line: Line) -> None:
        """Logs one answer."""
        record = logging.LogRecord(self.logger.name, logging.INFO, "", 0, "decision", None, None)
        record.fields = {
            "object": f"{line.kind} {line.namespace}/{line.name}",
            "namespace": line.namespace,
            "name": line.name,
            "resource": line.resource,
            "operation": line.operation,
            "user": line.user,
            "uid": line.uid,
            "entry": line.entry,
            "decision": line.decision,
            "reason": line.reason,
            "trigger": line.trigger,
            "milliseconds": round(line.milliseconds, 3),
        }
        self.logger.handle(record)

    def crash(self, entry: str, *, uid: str) -> None:
        """Logs the exception being handled, with its stack."""
        self.logger.exception("crash", extra={"fields": {"entry": entry, "uid": uid}})


def open_journal(level: str, *, stream: IO[str] | None = None) -> Journal:
    """Returns the journal; every logger of the process writes to ``stream`` (stderr) from now on."""
    return Journal(open_logger(LOGGER, level, stream=stream))
