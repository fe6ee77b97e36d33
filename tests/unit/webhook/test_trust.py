"""Readiness against the live caBundle: what the API server would say of our leaf, before it says it."""

import base64
import datetime

import pytest
from tests.unit.webhook.conftest import NOW, Authority

from kagenti import tls
from kagenti.webhook import trust

SERVICE = {"name": "kagenti-webhook", "namespace": "kagenti-system"}
HOST = "kagenti-webhook.kagenti-system.svc"


def _leaf(chain: bytes) -> tls.Leaf:
    return tls.Leaf(chain=chain, not_after=NOW + datetime.timedelta(days=30), fingerprint="")


def _configuration(bundle: bytes | None, *, service: dict[str, str] | None = SERVICE) -> dict[str, object]:
    client: dict[str, object] = {"service": service} if service else {"url": "https://127.0.0.1:9443/mutate/pods"}
    if bundle is not None:
        client["caBundle"] = base64.b64encode(bundle).decode()
    return {
        "metadata": {"name": "kagenti-injector"},
        "webhooks": [{"name": "inject-label.kagenti.io", "clientConfig": client}],
    }


PREFIX = 'MutatingWebhookConfiguration kagenti-injector entry "inject-label.kagenti.io": '


@pytest.mark.parametrize(
    ("bundle", "name", "expected", "reason"),
    [
        ("own", HOST, "", "the bundle's CA issued the leaf"),
        ("both", HOST, "", "a rotation carries old and new CA"),
        ("none", HOST, "", "without a bundle the API server asks system roots, which nobody here can see"),
        ("own", "*.kagenti-system.svc", "", "a wildcard covers one label"),
        (
            "other",
            HOST,
            PREFIX + "its caBundle does not verify the serving certificate; wait for the rotation or mend the caBundle",
            "another CA's bundle refuses every review",
        ),
        (
            "garbage",
            HOST,
            PREFIX + "its caBundle is not PEM of certificates; let the operator or cert-manager write it",
            "a placeholder is no bundle",
        ),
        (
            "own",
            "localhost",
            PREFIX + f'the serving certificate is not for "{HOST}"; issue it with that subject alternative name',
            "the API server asks for the Service's name",
        ),
    ],
)
def test_verdict(
    bundle: str, name: str, expected: str, reason: str, authority: Authority, other_authority: Authority
) -> None:
    """One verdict per kind of bundle and leaf."""
    bundles = {
        "own": authority.pem,
        "both": other_authority.pem + authority.pem,
        "none": None,
        "other": other_authority.pem,
        "garbage": b"to be filled in",
    }
    leaf = _leaf(authority.issue(name=name).certificate)
    assert trust.distrust(_configuration(bundles[bundle]), leaf=leaf, now=NOW) == expected, reason


def test_self_signed_leaf_in_the_bundle_is_trusted(authority: Authority) -> None:
    """A bundle may hold the leaf itself; a url entry has no Service name to compare."""
    assert trust.distrust(_configuration(authority.pem, service=None), leaf=_leaf(authority.pem), now=NOW) == ""


def test_expired_authority_verifies_nothing(authority: Authority) -> None:
    """A CA past its date is no issuer any more."""
    leaf = _leaf(authority.issue(name=HOST).certificate)
    later = NOW + datetime.timedelta(days=400)
    assert "does not verify" in trust.distrust(_configuration(authority.pem), leaf=leaf, now=later)


def test_a_leaf_of_tomorrow_is_refused_today(authority: Authority) -> None:
    """A leaf that is not valid yet is refused by every API server, whatever the bundle says."""
    leaf = _leaf(authority.issue(name=HOST).certificate)
    early = NOW - datetime.timedelta(days=91)
    begins = NOW - datetime.timedelta(days=90)
    assert trust.distrust(_configuration(authority.pem), leaf=leaf, now=early) == (
        f"the serving certificate is valid from {begins:%Y-%m-%dT%H:%M:%SZ} only; mend the clocks, or wait"
    )
