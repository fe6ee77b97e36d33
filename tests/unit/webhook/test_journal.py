"""The log: one JSON object a line with fixed keys."""

import io
import json
import logging

import pytest

from kagenti.journal import JsonFormatter
from kagenti.webhook import journal

LINE = journal.Line(
    entry="pods",
    uid="u-1",
    operation="CREATE",
    kind="Pod",
    namespace="team1",
    name="weather-agent-5d8f-",
    resource="pods",
    user="system:serviceaccount:kube-system:replicaset-controller",
    decision="injected",
    reason="Label",
    trigger="label",
    milliseconds=0.42142,
)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def _logger(stream: io.StringIO, *, level: int = logging.INFO) -> logging.Logger:
    logger = logging.Logger("kagenti.webhook.test", level)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return logger


def test_decision_is_one_line_with_fixed_keys(stream: io.StringIO) -> None:
    """Every key is there, in one object on one line."""
    journal.Journal(_logger(stream)).decision(LINE)
    (line,) = stream.getvalue().splitlines()
    written = json.loads(line)
    assert written.pop("time").endswith("Z")
    assert written == {
        "level": "info",
        "logger": "kagenti.webhook.test",
        "message": "decision",
        "object": "Pod team1/weather-agent-5d8f-",
        "namespace": "team1",
        "name": "weather-agent-5d8f-",
        "resource": "pods",
        "operation": "CREATE",
        "user": "system:serviceaccount:kube-system:replicaset-controller",
        "uid": "u-1",
        "entry": "pods",
        "decision": "injected",
        "reason": "Label",
        "trigger": "label",
        "milliseconds": 0.421,
    }


def test_decisions_are_not_wanted_above_info(stream: io.StringIO) -> None:
    """A quiet log level costs nothing per decision."""
    levels = (logging.INFO, logging.WARNING)
    assert [journal.Journal(_logger(stream, level=level)).wants_decisions for level in levels] == [True, False]


def test_crash_carries_its_stack_in_the_same_line(stream: io.StringIO) -> None:
    """A stack trace is a field, so that one fault stays one line."""
    try:
        raise RuntimeError("a defect\nof two lines")
    except RuntimeError:
        journal.Journal(_logger(stream)).crash("pods", uid="u-1")
    (line,) = stream.getvalue().splitlines()
    written = json.loads(line)
    assert (written["entry"], written["uid"], written["level"]) == ("pods", "u-1", "error")
    assert "RuntimeError: a defect" in written["exception"]
