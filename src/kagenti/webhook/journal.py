"""The process's log: one JSON object a line, and one line per decision with fixed keys; never a manifest or a value."""

import logging
import sys
import time
from dataclasses import dataclass
from typing import IO, Any, Final

import orjson

JSON = Any  # values of a log line: text and numbers

LOGGER: Final = "kagenti.webhook"


@dataclass(frozen=True, slots=True)
class Line:
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


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time (RFC 3339, UTC), level, logger, message, then the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without its end."""
        line: dict[str, JSON] = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if fields is not None:
            line |= fields
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


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
    """Returns the journal and sends every logger of the process through the same formatter to ``stream`` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    return Journal(logging.getLogger(LOGGER))


def _rfc3339(seconds: float) -> str:
    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1000):03d}Z"
