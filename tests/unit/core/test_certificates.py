"""What is done next about certificates, row by row; whole lives are walked in ``tests/unit/operator/certificates``."""

import base64
import datetime
import functools
from dataclasses import replace
from typing import Any

import pytest

from kagenti.core.certificates import (
    WEBHOOK,
    XDS,
    Certificate,
    Held,
    Rules,
    Step,
    decide,
    held,
    leads_to,
    near_expiry,
    read,
)
from kagenti.operator.certificates.issue import Pair, new_authority, new_leaf

JSON = Any  # a raw Secret

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
NAME = "kagenti-webhook.kagenti-system.svc"


@functools.cache
def authority(which: str, *, age: int, life: int = 365) -> Pair:
    """A CA of that age in days; ``which`` tells two of one age apart."""
    return new_authority(f"kagenti {which}", life=life * DAY, now=NOW - age * DAY)


def certificate(pair: Pair) -> Certificate:
    """The certificate of a pair."""
    return read(pair.certificate)[0]


def leaf(by: Pair, *, age: int, name: str = NAME) -> Certificate:
    """A leaf of that age in days."""
    return certificate(new_leaf({name}, authority=by, life=90 * DAY, now=NOW - age * DAY))


YOUNG, OTHER, OLD = authority("a", age=10), authority("b", age=1), authority("a", age=300)
ENDED, LAST = authority("a", age=400), authority("a", age=3500, life=3650)
ROWS: list[tuple[str, Held, Rules, bool, Step, str]] = [
    ("nothing is there", Held(), WEBHOOK, False, Step.CREATE_AUTHORITY, "there is no CA with its key"),
    (
        "the CA expired",
        Held(certificate(ENDED)),
        WEBHOOK,
        False,
        Step.CREATE_AUTHORITY,
        "the CA expired and has no successor",
    ),
    (
        "it has a successor",
        Held(certificate(ENDED), certificate(YOUNG)),
        WEBHOOK,
        False,
        Step.PROMOTE_SUCCESSOR,
        "the CA that signed is gone or expired",
    ),
    ("no leaf yet", Held(certificate(YOUNG)), WEBHOOK, False, Step.ISSUE_LEAF, "there is no leaf with its key"),
    ("all is well", Held(certificate(YOUNG), leaf=leaf(YOUNG, age=59)), WEBHOOK, False, Step.KEEP, ""),
    (
        "the leaf is due",
        Held(certificate(YOUNG), leaf=leaf(YOUNG, age=61)),
        WEBHOOK,
        False,
        Step.ISSUE_LEAF,
        "the leaf has lived two thirds of its life",
    ),
    (
        "the leaf ended",
        Held(certificate(YOUNG), leaf=leaf(YOUNG, age=91)),
        WEBHOOK,
        False,
        Step.ISSUE_LEAF,
        "the leaf is not within its dates",
    ),
    (
        "the leaf is for another",
        Held(certificate(YOUNG), leaf=leaf(YOUNG, age=1, name="other")),
        WEBHOOK,
        False,
        Step.ISSUE_LEAF,
        f"the leaf is not for {NAME}",
    ),
    (
        "the leaf is nobody's",
        Held(certificate(YOUNG), leaf=leaf(OTHER, age=1)),
        WEBHOOK,
        False,
        Step.ISSUE_LEAF,
        "no published CA signed the leaf",
    ),
    (
        "the CA is due",
        Held(certificate(OLD), leaf=leaf(OLD, age=1)),
        WEBHOOK,
        False,
        Step.CREATE_SUCCESSOR,
        "the CA has lived two thirds of its life",
    ),
    (
        "not known long enough",
        Held(certificate(OLD), certificate(YOUNG), leaf(OLD, age=1)),
        WEBHOOK,
        False,
        Step.KEEP,
        "",
    ),
    (
        "known long enough",
        Held(certificate(OLD), certificate(YOUNG), leaf(OLD, age=1)),
        WEBHOOK,
        True,
        Step.PROMOTE_SUCCESSOR,
        "the successor has been published long enough",
    ),
    (
        "pods live on the first for years",
        Held(certificate(OLD), certificate(YOUNG), leaf(OLD, age=1)),
        replace(XDS, reserve=30 * DAY),
        True,
        Step.KEEP,
        "",
    ),
    (
        "until it is near its end",
        Held(certificate(LAST), certificate(YOUNG), leaf(LAST, age=1)),
        XDS,
        True,
        Step.PROMOTE_SUCCESSOR,
        "the successor has been published long enough",
    ),
    (
        "a lost CA, its leaf still trusted",
        Held(certificate(YOUNG), None, leaf(OTHER, age=1), (certificate(OTHER),)),
        WEBHOOK,
        False,
        Step.KEEP,
        "",
    ),
    (
        "the new one is known",
        Held(certificate(YOUNG), None, leaf(OTHER, age=1), (certificate(OTHER),)),
        WEBHOOK,
        True,
        Step.ISSUE_LEAF,
        "another CA signs now",
    ),
    (
        "pods know the lost one alone",
        Held(certificate(YOUNG), None, leaf(OTHER, age=1), (certificate(OTHER),)),
        XDS,
        True,
        Step.KEEP,
        "",
    ),
]


@pytest.mark.parametrize(("case", "found", "rules", "known", "step", "reason"), ROWS, ids=[row[0] for row in ROWS])
def test_the_next_step(case: str, found: Held, rules: Rules, known: bool, step: Step, reason: str) -> None:
    """One step and its reason; who signs and who will sign is always published."""
    every = {one.fingerprint for one in (found.signing, found.successor) if one is not None}
    decision = decide(found, names={NAME}, now=NOW, settled=every if known else set(), rules=rules)
    assert (decision.step, decision.reason) == (step, reason), case
    alive = {one for one in (found.signing, found.successor) if one is not None and one.ends >= NOW}
    assert alive <= set(decision.bundle)


@pytest.mark.parametrize(("age", "kept"), [(0, True), (2, False)])
def test_a_former_ca_is_published_until_its_leaf_is_gone_everywhere(age: int, kept: bool) -> None:
    """A day after another has signed."""
    found = Held(certificate(YOUNG), None, leaf(YOUNG, age=age), (certificate(OTHER), certificate(YOUNG)))
    bundle = decide(found, names={NAME}, now=NOW, settled=set(), rules=WEBHOOK).bundle
    assert bundle == (certificate(YOUNG), *([certificate(OTHER)] if kept else []))


def secret(**data: bytes) -> JSON:
    """A raw Secret named one."""
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"name": "one"}, "data": encoded}


SERVED = new_leaf({NAME}, authority=YOUNG, life=90 * DAY, now=NOW)
FAULTS: list[tuple[JSON, JSON, str]] = [
    ({"metadata": {"name": "one"}, "data": {"tls.crt": "%"}}, None, "Secret one: tls.crt is not base64"),
    (
        secret(tls_crt=b"x", tls_key=YOUNG.key),
        None,
        "Secret one: tls.crt and tls.key are not both PEM of a certificate and of its key",
    ),
    (secret(tls_crt=YOUNG.certificate, tls_key=OTHER.key), None, "Secret one: tls.key is not the key of tls.crt"),
    (
        secret(tls_crt=SERVED.certificate, tls_key=SERVED.key),
        None,
        "Secret one: tls.crt is no CA certificate with an EC or RSA key",
    ),
    (
        None,
        secret(ca_crt=b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"),
        "Secret one: ca.crt is not PEM of certificates",
    ),
]


@pytest.mark.parametrize(("of_ca", "of_leaf", "fault"), FAULTS, ids=[row[2] for row in FAULTS])
def test_what_cannot_be_used_is_said_and_left_out(of_ca: JSON, of_leaf: JSON, fault: str) -> None:
    """Without what stands in it."""
    found = held(of_ca, of_leaf)
    assert found.faults == (fault,)
    assert (found.signing, found.leaf, found.anchors) == (None, None, ())


def test_an_empty_secret_is_no_fault() -> None:
    """Some tool made it, without content yet."""
    assert held({"metadata": {"name": "one"}}, {"metadata": {"name": "two"}, "data": None}) == Held()


def test_a_root_that_is_not_within_its_dates_vouches_for_nobody() -> None:
    """As in the API server."""
    young = leaf(YOUNG, age=1)
    assert leads_to(young, roots=[certificate(YOUNG)], between=(), now=NOW)
    assert not leads_to(young, roots=[certificate(YOUNG)], between=(), now=NOW + 400 * DAY)
    assert not leads_to(young, roots=[certificate(OTHER)], between=(certificate(OTHER),), now=NOW)


@pytest.mark.parametrize(
    ("bundles", "told"),
    [
        ([YOUNG.certificate], False),
        ([ENDED.certificate], True),
        ([authority("a", age=340).certificate], True),
        ([authority("a", age=340).certificate + YOUNG.certificate], False),
        ([authority("a", age=340).certificate + YOUNG.certificate, authority("a", age=340).certificate], True),
        ([b""], False),
        ([], False),
    ],
    ids=[
        "young",
        "ended",
        "ends soon",
        "its successor is there",
        "in one entry alone",
        "none is there yet",
        "no entry",
    ],
)
def test_a_bundle_near_its_end_is_told_unless_its_successor_is_trusted(bundles: list[bytes], told: bool) -> None:
    """By every entry: one that is left out would fail its calls. One without a bundle is `kagenti check`'s to tell."""
    webhooks = [{"clientConfig": {"caBundle": base64.b64encode(bundle).decode()}} for bundle in bundles]
    found = near_expiry({"metadata": {"name": "n"}, "webhooks": webhooks}, "MutatingWebhookConfiguration", NOW)
    assert [one.objects for one in found] == [("MutatingWebhookConfiguration n",)] * told
