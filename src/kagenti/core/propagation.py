"""How far a configuration has reached its proxies: states of streams → a replica's status entry → one condition.

Each xDS replica counts the proxies that it serves; nobody knows them all. The condition is therefore derived from all
entries together and from the number of proxies that ought to run, and unknown is never reported as true (spec 01).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kagenti.core.ads import StreamState
from kagenti_api.v1alpha1.agentruntime import CONFIG_PROPAGATED, NO_REPLICA, PENDING, REJECTED

JSON = Any  # an entry of status.propagation or a condition, as received

PROPAGATED: Final = "Propagated"
"""Reason of True."""
NO_PROXIES: Final = "NoProxies"
"""Reason of Unknown: nothing runs that could acknowledge anything."""

MANAGER: Final = "kagenti-xds"
"""Field manager of the condition; each replica's entry belongs to this, a dash and the replica's name."""

_NOT_ALL: Final = "not every proxy has acknowledged the newest configuration yet"
_MOST_ERROR: Final = 1024  # characters of lastError in the CRD
_MOST_QUOTE: Final = 300  # characters of it in a condition

Verdict = Literal["acked", "rejected", "pending"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one connected proxy is; ``error`` is one line, empty where there is nothing to say."""

    verdict: Verdict
    error: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Proxies of one workload, or of all workloads that a config reaches, as one replica knows them.

    ``disconnected`` were served here and have no stream anywhere. ``refusal`` is a line about a proxy that refused,
    ``kept`` says why the newest settings are not served at all; the first in order of text, so that it does not flap.
    """

    acked: int = 0
    rejected: int = 0
    pending: int = 0
    disconnected: int = 0
    refusal: str = ""
    kept: str = ""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.acked + other.acked,
            self.rejected + other.rejected,
            self.pending + other.pending,
            self.disconnected + other.disconnected,
            _first(self.refusal, other.refusal),
            _first(self.kept, other.kept),
        )

    @property
    def connected(self) -> int:
        """Proxies with a stream here."""
        return self.acked + self.rejected + self.pending

    @property
    def on_the_way(self) -> bool:
        """Whether some have yet to answer, and nothing but their answers is missing."""
        return self.pending > 0 and not (self.kept or self.refusal)

    @property
    def empty(self) -> bool:
        """Whether this replica has nothing to report."""
        return not (self.connected or self.disconnected)


def standing(state: StreamState | None, *, desired: str, kept: str) -> Standing:
    """Returns how far one proxy is.

    Args:
        state: What its stream last reported; None before its first report.
        desired: Revision of the snapshot that it should have; empty while there is none.
        kept: Why the newest settings are not served; empty when they are.
    """
    if state is not None and state.revision == desired:
        if state.verdict == "rejected":
            return Standing("rejected", refusal_of(state))
        if state.verdict == "propagated" and not kept:
            return Standing("acked")
    return Standing("pending", kept)


def refusal_of(state: StreamState) -> str:
    """Returns a rejected stream's first refusal as one line: resource type, name, reason."""
    for type_url, rejection in state.rejected:
        what = " ".join(part for part in (type_url.rpartition(".")[2], rejection.name) if part)
        return f"{what}: {rejection.message}"
    return ""


def tally(standings: Iterable[Standing], *, disconnected: int = 0) -> Counts:
    """Returns the counts of some proxies."""
    counts = {"acked": 0, "rejected": 0, "pending": 0}
    refusal = kept = ""
    for found in standings:
        counts[found.verdict] += 1
        if found.verdict == "rejected":
            refusal = _first(refusal, found.error)
        else:
            kept = _first(kept, found.error)
    return Counts(**counts, disconnected=disconnected, refusal=refusal, kept=kept)


def disconnected(lost: int, *, proxies: int, connected: int) -> int:
    """Returns how many of the proxies that a replica has lost have no stream at another one.

    Replicas see each other's counts but not whom they count. So a lost proxy is missed only as far as fewer proxies are
    connected anywhere than run.

    Args:
        lost: Proxies that were last served here, still run, and have no stream here.
        proxies: Proxies that run.
        connected: Proxies with a stream at any replica, by all entries.
    """
    return min(lost, max(proxies - connected, 0))


def entry(replica: str, counts: Counts, *, revision: str) -> JSON:
    """Returns a replica's entry of ``status.propagation``."""
    content: dict[str, JSON] = {
        "replica": replica,
        "acked": counts.acked,
        "rejected": counts.rejected,
        "pending": counts.pending,
        "disconnected": counts.disconnected,
        "revision": revision,
    }
    error = counts.refusal or counts.kept
    return content | ({"lastError": error[:_MOST_ERROR]} if error else {})


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The condition ``ConfigPropagated``: status, reason, one sentence."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str

    @property
    def on_the_way(self) -> bool:
        """Whether nothing but answers is missing, which may come in a moment."""
        return (self.reason, self.message) == (PENDING, _NOT_ALL)


def conclude(entries: Sequence[Mapping[str, JSON]], *, proxies: int, revision: str) -> Conclusion:
    """Returns what all replicas' entries say together.

    An entry about another revision counts for nothing: its replica is behind, or gone without having taken it away.

    Args:
        entries: ``status.propagation``, of every replica.
        proxies: Proxies that run.
        revision: The revision that the entries should be about.
    """
    current = [found for found in entries if found.get("revision") == revision]
    rejected = sum(_count(found, "rejected") for found in current)
    quote = _quote(found for found in current if _count(found, "rejected") or not rejected)
    if rejected:
        what = f"{rejected} of {max(proxies, rejected)} proxies refused the configuration and keep the last good one"
        return Conclusion("False", REJECTED, f"{what}: {quote}" if quote else what)
    if proxies == 0 and quote and any(_count(found, "pending") for found in current):
        return Conclusion("False", PENDING, quote)  # pods that cannot start before what it names is there
    if proxies == 0:
        return Conclusion("Unknown", NO_PROXIES, "no pod runs that has a proxy")
    if not any(connected(found) for found in entries):
        return Conclusion("False", NO_REPLICA, "no xDS replica reports a connected proxy")
    if sum(_count(found, "acked") for found in current) >= proxies:
        return Conclusion("True", PROPAGATED, "every proxy acknowledged the configuration")
    return Conclusion("False", PENDING, quote or _NOT_ALL)


def connected(entry: Mapping[str, JSON]) -> int:
    """Returns the proxies with a stream at the replica of an entry."""
    return sum(_count(entry, key) for key in ("acked", "rejected", "pending"))


def condition(conclusion: Conclusion, *, observed: Mapping[str, JSON] | None, generation: int, now: str) -> JSON | None:
    """Returns the condition to write, or None when the object has it already.

    Args:
        conclusion: What it says.
        observed: The condition as the object has it; None without one.
        generation: ``metadata.generation`` of the object.
        now: RFC 3339; the time of the transition where the status changes.
    """
    content = {
        "type": CONFIG_PROPAGATED,
        "status": conclusion.status,
        "reason": conclusion.reason,
        "message": conclusion.message,
        "observedGeneration": generation,
    }
    known = observed or {}
    if all(known.get(key) == value for key, value in content.items()):
        return None
    kept = known.get("lastTransitionTime") if known.get("status") == conclusion.status else None
    return content | {"lastTransitionTime": kept or now}


def _quote(entries: Iterable[Mapping[str, JSON]]) -> str:
    errors = sorted(text for found in entries if (text := str(found.get("lastError") or "")))
    return errors[0][:_MOST_QUOTE] if errors else ""


def _first(one: str, other: str) -> str:
    return min(one, other) if one and other else one or other


def _count(entry: Mapping[str, JSON], key: str) -> int:
    value = entry.get(key)
    return value if isinstance(value, int) and value > 0 else 0
