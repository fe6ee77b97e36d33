"""Whether this process may take reviews, and if not, what is missing, for people; changes nothing."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kagenti import tls

# Resources of ours: where they are unknown to the API server, the cure is the same for all.
NO_CRD: Final = "CRD {crd} is missing: run kagenti crds --apply"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready when nothing is missing; one sentence per missing thing, sorted as given."""

    missing: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether reviews may come."""
        return not self.missing


def judge(*, draining: bool, caches: Sequence[str], leaf: tls.Leaf, trust: str, now: datetime.datetime) -> Readiness:
    """Returns the readiness of a process.

    Args:
        draining: SIGTERM was received.
        caches: What the caches miss, one sentence each.
        leaf: The certificate being served.
        trust: Why the leaf does not verify against the live caBundle; empty when it does or nobody asked.
        now: The clock, aware.
    """
    missing: list[str] = []
    if draining:
        missing.append("shutting down")
    missing.extend(caches)
    if leaf.seconds_left(now) <= 0:
        missing.append(f"the serving certificate expired {leaf.not_after:%Y-%m-%dT%H:%M:%SZ}: renew it")
    if trust:
        missing.append(trust)
    return Readiness(tuple(missing))
