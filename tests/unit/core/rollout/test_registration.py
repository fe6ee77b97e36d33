"""What our MutatingWebhookConfiguration says of where the webhook is and whom it is called for."""

import base64
import dataclasses
from typing import Any

import pytest

from kagenti.core.rollout import Registration, registration

JSON = Any  # a raw MutatingWebhookConfiguration, or a part of it

SERVICE = {"name": "kagenti-webhook", "namespace": "kagenti-system", "path": "/mutate/pods", "port": 443}
BUNDLE = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()


def entry(name: str, **more: JSON) -> JSON:
    """One entry as the chart renders it, shortened."""
    return {
        "name": f"inject-{name}.kagenti.io",
        "clientConfig": {"service": SERVICE, "caBundle": BUNDLE},
        "namespaceSelector": {"matchLabels": {"kagenti.io/enrolled": "true"}},
        "failurePolicy": "Fail",
        "rules": [{"resources": ["pods"], "operations": ["CREATE"]}],
        **more,
    }


def configuration(*entries: JSON) -> JSON:
    """A configuration of these entries."""
    return {"metadata": {"name": "kagenti-injector"}, "webhooks": list(entries)}


def test_the_service_is_asked_under_the_name_that_the_api_server_uses() -> None:
    """Its certificate is for that name."""
    found = registration(configuration(entry("label"), entry("cr")), mode="both")
    assert isinstance(found, Registration)
    assert found.url == "https://kagenti-webhook.kagenti-system.svc:443/readyz"
    assert found.authority == "-----BEGIN CERTIFICATE-----"


def test_a_webhook_by_url_is_asked_at_its_host() -> None:
    """Outside of the cluster, or in a test."""
    client = {"url": "https://127.0.0.1:9443/mutate/pods", "caBundle": BUNDLE}
    found = registration(configuration(entry("cr", clientConfig=client)), mode="cr")
    assert isinstance(found, Registration)
    assert found.url == "https://127.0.0.1:9443/readyz"


MISSING: list[tuple[str, JSON, str]] = [
    ("no entries at all", configuration(), 'has no entry "inject-label.kagenti.io"'),
    ("an entry was taken out by hand", configuration(entry("label")), 'has no entry "inject-cr.kagenti.io"'),
    (
        "called for workloads: not what this installation should be",
        configuration(entry("label", rules=[{"resources": ["deployments"], "operations": ["CREATE"]}]), entry("cr")),
        "is not called for new pods",
    ),
    ("no address", configuration(entry("label", clientConfig={}), entry("cr")), "says of no address"),
    (
        "plain http",
        configuration(entry("label", clientConfig={"url": "http://x"}), entry("cr")),
        "says of no address",
    ),
    (
        "a caBundle that is none",
        configuration(entry("label", clientConfig={"service": SERVICE, "caBundle": "?"}), entry("cr")),
        "a caBundle that is no PEM",
    ),
]


@pytest.mark.parametrize(("why", "raw", "message"), MISSING, ids=[row[0] for row in MISSING])
def test_what_is_missing_is_said(why: str, raw: JSON, message: str) -> None:
    """Each row: a part of the sentence."""
    found = registration(raw, mode="both")
    assert isinstance(found, str), why
    assert message in found


def test_the_scope_changes_with_whom_it_is_called_for_and_with_nothing_else() -> None:
    """A new CA is no reason to try again what was given up; another selector is."""
    before = registration(configuration(entry("cr")), mode="cr")
    other_ca = {"service": SERVICE, "caBundle": base64.b64encode(b"-----BEGIN").decode()}
    rotated = registration(configuration(entry("cr", clientConfig=other_ca)), mode="cr")
    scoped = registration(configuration(entry("cr", matchConditions=[{"name": "x", "expression": "false"}])), mode="cr")
    assert isinstance(before, Registration)
    assert isinstance(rotated, Registration)
    assert isinstance(scoped, Registration)
    assert rotated == dataclasses.replace(before, authority="-----BEGIN")
    assert scoped.scope != before.scope


def test_where_templates_are_injected_nobody_is_called_for_pods() -> None:
    """Target workloads: what a new pod will be is its template's affair."""
    rules = [{"resources": ["deployments"], "operations": ["CREATE", "UPDATE"]}]
    raw = configuration(entry("label", rules=rules), entry("cr", rules=rules))
    assert isinstance(registration(raw, mode="both", by_workload=True), Registration)
