"""The log of a process: one JSON object a line, on standard error; what is worth saying is decided by its shell."""

import functools
import logging
import sys
import time
from typing import IO, Any

import orjson

JSON = Any  # values of a log line: text and numbers


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time (RFC 3339, UTC), level, logger, message, then the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without its end."""
        line: dict[str, JSON] = {
            "time": rfc3339(record.created),
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


def open_logger(name: str, level: str, *, stream: IO[str] | None = None) -> logging.Logger:
    """Returns that logger, and sends every logger of the process through one formatter to ``stream`` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    # No line says them (logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    return logging.getLogger(name)


def rfc3339(seconds: float) -> str:
    """Returns seconds since the epoch as a time in UTC with milliseconds."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=1)
def _second(whole: int) -> str:
    """Returns a second without its zone; a busy process writes a thousand lines in one."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
