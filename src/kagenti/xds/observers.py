"""Who listens to the streams besides the census: the log, and the clock that measures how long a push takes."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from kagenti.core import propagation
from kagenti.core.ads import StreamState
from kagenti.histogram import Histogram
from kagenti.xds.session import Connection, Observer

# Seconds. One Envoy acknowledges in 1–10 ms, the last of a thousand after 0.2 s (facts §5); a start takes longer.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)


class Observers:
    """Tells several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def opened(self, connection: Connection) -> None:
        """Passes it on."""
        for observer in self._observers:
            observer.opened(connection)

    def reported(self, connection: Connection, state: StreamState) -> None:
        """Passes it on."""
        for observer in self._observers:
            observer.reported(connection, state)

    def closed(self, connection: Connection, reason: str) -> None:
        """Passes it on."""
        for observer in self._observers:
            observer.closed(connection, reason)

    def refused(self, peer: str, reason: str) -> None:
        """Passes it on."""
        for observer in self._observers:
            observer.refused(peer, reason)


class Logbook:
    """Logs refusals, of callers and by Envoys; streams that come and go only at level debug."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._refusals: dict[int, str] = {}

    def opened(self, connection: Connection) -> None:
        """Logs who it is."""
        self._log(logging.DEBUG, "stream opened", connection, kind=connection.kind, node=connection.node.id)

    def reported(self, connection: Connection, state: StreamState) -> None:
        """Logs what an Envoy refuses, once as long as it is the same."""
        refusal = propagation.refusal_of(state)
        if refusal == self._refusals.get(connection.number, ""):
            return
        if refusal:
            self._refusals[connection.number] = refusal
            self._log(logging.WARNING, "an Envoy refused its configuration", connection, refusal=refusal)
        else:
            del self._refusals[connection.number]

    def closed(self, connection: Connection, reason: str) -> None:
        """Logs why it is over."""
        self._refusals.pop(connection.number, None)
        self._log(logging.DEBUG, "stream closed", connection, reason=reason)

    def refused(self, peer: str, reason: str) -> None:
        """Logs who was turned away; the reason carries no token."""
        self._logger.warning("stream refused", extra={"fields": {"peer": peer, "reason": reason}})

    def _log(self, level: int, message: str, connection: Connection, **fields: Any) -> None:  # Any: log values
        if self._logger.isEnabledFor(level):
            shown = {"pod": connection.identity.node_id, "peer": connection.peer, **fields}
            self._logger.log(level, message, extra={"fields": shown})


class Stopwatch:
    """Measures from the first report about a snapshot to its acknowledgement; ``now`` is monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun: dict[int, tuple[str, float]] = {}
        self.seconds = Histogram(BUCKETS)
        self.events: Counter[str] = Counter()

    def opened(self, connection: Connection) -> None:  # noqa: ARG002  # the protocol's
        """Counts it."""
        self.events["opened"] += 1

    def reported(self, connection: Connection, state: StreamState) -> None:
        """Starts or stops the watch of one stream."""
        revision, begun = self._begun.get(connection.number, ("", 0.0))
        match state.verdict:
            case "propagated":
                self._begun.pop(connection.number, None)
                if revision == state.revision:
                    self.seconds.observe(self._now() - begun)
            case "rejected":
                self._begun.pop(connection.number, None)
                self.events["rejected"] += 1
            case "pending" if state.revision != revision:
                self._begun[connection.number] = state.revision, self._now()

    def closed(self, connection: Connection, reason: str) -> None:  # noqa: ARG002  # the protocol's
        """Counts it, and forgets what was under way."""
        self._begun.pop(connection.number, None)
        self.events["closed"] += 1

    def refused(self, peer: str, reason: str) -> None:  # noqa: ARG002  # the protocol's
        """Counts it."""
        self.events["refused"] += 1
