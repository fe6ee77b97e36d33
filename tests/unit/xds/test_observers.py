"""Who listens besides the census: the log that does not flood, and the clock."""

import io
import logging

import orjson

from kagenti.core.ads import ROUTE, Rejection, StreamState, TypeState
from kagenti.core.workload import WorkloadRef
from kagenti.journal import JsonFormatter
from kagenti.xds.identity import PodIdentity
from kagenti.xds.observers import Logbook, Observers, Stopwatch
from kagenti.xds.session import Connection, Node
from tests.unit.xds.cluster import NOW, pod

IDENTITY = PodIdentity(pod(), WorkloadRef("", "Pod", "team1", "weather-1"), NOW)
CONNECTION = Connection(1, IDENTITY, Node("auth-proxy", "", {}), "delta", "ipv4:10.0.0.7:1")


def _state(verdict: str, *, revision: str = "r1", message: str = "bad") -> StreamState:
    rejected = (Rejection("inbound", "v", message),) if verdict == "rejected" else ()
    return StreamState(revision, verdict, (TypeState(ROUTE, "v", subscribed=True, rejected=rejected),))  # type: ignore[arg-type]  # a literal


def _logbook(level: int) -> tuple[Logbook, io.StringIO]:
    stream, logger = io.StringIO(), logging.Logger("test", level)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return Logbook(logger), stream


def test_a_refusal_is_logged_once_as_long_as_it_is_the_same() -> None:
    """Type and name of the resource, the pod, Envoy's reason; and again when it is another."""
    logbook, stream = _logbook(logging.INFO)
    logbook.opened(CONNECTION)
    for message in ("bad", "bad", "worse"):
        logbook.reported(CONNECTION, _state("rejected", message=message))
    logbook.reported(CONNECTION, _state("propagated"))
    logbook.reported(CONNECTION, _state("rejected"))
    logbook.closed(CONNECTION, "gone")
    logbook.refused("ipv4:10.0.0.9:1", "the token has expired")
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("refusal") or line.get("reason") for line in lines] == [
        "RouteConfiguration inbound: bad",
        "RouteConfiguration inbound: worse",
        "RouteConfiguration inbound: bad",
        "the token has expired",
    ]
    assert lines[0]["pod"] == "team1/weather-1/pod-1"


def test_streams_are_logged_for_debugging_only() -> None:
    """A storm of connects is no storm of lines."""
    logbook, stream = _logbook(logging.DEBUG)
    logbook.opened(CONNECTION)
    logbook.closed(CONNECTION, "max age")
    assert [orjson.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        "stream opened",
        "stream closed",
    ]


def test_the_stopwatch_measures_one_snapshot_at_a_time() -> None:
    """From the first report about it to its acknowledgement; a refused or replaced one is not counted."""
    time = 0.0
    stopwatch = Stopwatch(now=lambda: time)
    steps = [
        (0.0, _state("pending")),
        (0.004, _state("propagated")),
        (1.0, _state("pending", revision="r2")),
        (2.0, _state("pending", revision="r3")),
        (2.3, _state("propagated", revision="r3")),
        (3.0, _state("pending", revision="r4")),
        (3.1, _state("rejected", revision="r4")),
        (9.0, _state("propagated", revision="r4")),
    ]
    for moment, state in steps:
        time = moment
        stopwatch.reported(CONNECTION, state)
    assert round(stopwatch.seconds.total, 3) == 0.304
    assert stopwatch.seconds.buckets()[-1] == ("+Inf", 2)
    assert stopwatch.events == {"rejected": 1}


def test_everybody_is_told() -> None:
    """In order, each event."""
    told: list[str] = []

    class Ear:
        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, event: str) -> object:
            return lambda *_: told.append(f"{self._name} {event}")

    both = Observers((Ear("a"), Ear("b")))  # type: ignore[arg-type]  # hears everything
    both.opened(CONNECTION)
    both.reported(CONNECTION, _state("pending"))
    both.closed(CONNECTION, "gone")
    both.refused("peer", "reason")
    assert told == [f"{name} {event}" for event in ("opened", "reported", "closed", "refused") for name in "ab"]
