"""What is held and what time it is → the next step, and the CAs that clients must trust until then.

A CA changes in this order, so that at no moment somebody is asked to trust what he has not been told of: the new CA is
made; it is published beside the old one; once it has been seen published for a while it signs the leaf; once the leaf
has been served for a while the old one is published no more. Each state can be left and taken up again by another
process: nothing but the two Secrets is remembered.
"""

import datetime
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kagenti.core.certificates.certificate import Certificate
from kagenti.core.certificates.material import Held

BACKDATED: Final = datetime.timedelta(minutes=5)
"""By how much a certificate begins before it is made: clocks differ."""


class Step(StrEnum):
    """What to do next; one at a time, then look again."""

    KEEP = "Keep"
    CREATE_AUTHORITY = "CreateAuthority"
    CREATE_SUCCESSOR = "CreateSuccessor"
    PROMOTE_SUCCESSOR = "PromoteSuccessor"
    ISSUE_LEAF = "IssueLeaf"


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things live and overlap.

    ``settle`` is how long a CA has to be seen published before it signs, ``retire`` how long a leaf is served before CAs
    that did not sign it are dropped. ``lasting`` is for clients that keep for their life the CAs that they were made with:
    a leaf of a former CA is then served until it is due, and a successor signs only when its predecessor has less than
    ``reserve`` left.
    """

    authority_life: datetime.timedelta
    leaf_life: datetime.timedelta
    settle: datetime.timedelta
    retire: datetime.timedelta = datetime.timedelta(days=1)
    lasting: bool = False
    reserve: datetime.timedelta = datetime.timedelta(days=180)


WEBHOOK: Final = Rules(
    authority_life=datetime.timedelta(days=365),
    leaf_life=datetime.timedelta(days=90),
    settle=datetime.timedelta(seconds=60),
)
"""API servers follow a caBundle within seconds."""
XDS: Final = Rules(
    authority_life=datetime.timedelta(days=3650),
    leaf_life=datetime.timedelta(days=90),
    # A kubelet shows webhooks a changed Secret within two minutes; pods made until then know the old CA alone.
    settle=datetime.timedelta(seconds=180),
    lasting=True,
)
"""Injected pods carry the CA for their life (spec 04: 10 years)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step and why, as one clause; ``bundle`` is to be published before it is taken."""

    step: Step
    bundle: tuple[Certificate, ...]
    reason: str = ""


def decide(
    found: Held, *, names: AbstractSet[str], now: datetime.datetime, settled: AbstractSet[str], rules: Rules
) -> Decision:
    """Returns what to do next.

    Args:
        found: What the Secrets hold.
        names: DNS names that clients ask for.
        now: The clock, aware.
        settled: Fingerprints of CAs that have been seen published for ``rules.settle``.
        rules: Lives and overlaps.
    """
    bundle = _bundle(found, now=now, rules=rules)
    signing, successor = _usable(found.signing, now), _usable(found.successor, now)
    if signing is None and successor is not None:
        return Decision(Step.PROMOTE_SUCCESSOR, bundle, "the CA that signed is gone or expired")
    if signing is None:
        return Decision(Step.CREATE_AUTHORITY, bundle, "there is no CA with its key" if found.signing is None
                        else "the CA expired and has no successor")  # fmt: skip
    if successor is None and due(signing, now):
        return Decision(Step.CREATE_SUCCESSOR, bundle, "the CA has lived two thirds of its life")
    in_turn = not rules.lasting or signing.ends - now <= rules.reserve
    if successor is not None and successor.fingerprint in settled and in_turn:
        return Decision(Step.PROMOTE_SUCCESSOR, bundle, "the successor has been published long enough")
    reason = _leaf_fault(found.leaf, signing, bundle, names=names, now=now, settled=settled, rules=rules)
    return Decision(Step.ISSUE_LEAF if reason else Step.KEEP, bundle, reason)


def due(certificate: Certificate, now: datetime.datetime) -> bool:
    """Whether it has lived two thirds of its life."""
    return now >= certificate.begins + (certificate.ends - certificate.begins) * 2 / 3


def _usable(certificate: Certificate | None, now: datetime.datetime) -> Certificate | None:
    return certificate if certificate is not None and now <= certificate.ends else None


def _bundle(found: Held, *, now: datetime.datetime, rules: Rules) -> tuple[Certificate, ...]:
    """Returns who is to be trusted: who signs, who will sign, and who signed what may still be served."""
    own = [one for one in (_usable(found.signing, now), _usable(found.successor, now)) if one is not None]
    leaf, signing = found.leaf, found.signing
    switched = leaf is not None and signing is not None and leaf.issued_by(signing)
    if switched and leaf is not None and now >= leaf.begins + BACKDATED + rules.retire:
        return tuple(own)
    former = [anchor for anchor in found.anchors if now <= anchor.ends and anchor not in own]
    return (*own, *former)


def _leaf_fault(
    leaf: Certificate | None,
    signing: Certificate,
    bundle: tuple[Certificate, ...],
    *,
    names: AbstractSet[str],
    now: datetime.datetime,
    settled: AbstractSet[str],
    rules: Rules,
) -> str:
    """Returns why a leaf is to be issued now; empty while the one that there is serves."""
    if leaf is None:
        return "there is no leaf with its key"
    if not leaf.holds(now):
        return "the leaf is not within its dates"
    if missing := sorted(names - leaf.names):
        return f"the leaf is not for {missing[0]}"
    if not any(leaf.issued_by(anchor) for anchor in bundle):
        return "no published CA signed the leaf"
    if leaf.issued_by(signing):
        return "the leaf has lived two thirds of its life" if due(leaf, now) else ""
    if signing.fingerprint not in settled or (rules.lasting and not due(leaf, now)):
        return ""
    return "another CA signs now"
