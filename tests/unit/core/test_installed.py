"""What is installed, read back from the webhook configuration; tests/e2e holds it against what helm renders."""

from typing import Any

import pytest

from kagenti.core import installed

JSON = Any  # a raw configuration

SYSTEM_AND_ANOTHER = ["kube-system", "kube-public", "kube-node-lease", "cert-manager"]
ADDED = [
    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "kube-public", "kube-node-lease", "k"]},
    {"key": "kagenti.io/break-glass", "operator": "DoesNotExist"},
]  # fmt: skip


def configuration(*names: str, resource: str = "pods", selector: JSON = None) -> JSON:
    """A MutatingWebhookConfiguration with these entries."""
    client = {"service": {"name": "kagenti-webhook", "namespace": "platform"}}
    entries = [
        {
            "name": f"{name}.kagenti.io",
            "clientConfig": client,
            "rules": [{"resources": [resource]}],
            "namespaceSelector": selector or {},
        }
        for name in names
    ]
    return {"metadata": {"name": "kagenti-injector"}, "webhooks": entries}


@pytest.mark.parametrize(
    ("names", "resource", "expected"),
    [
        (("inject-label",), "pods", ("label", "pods")),
        (("inject-cr",), "deployments", ("cr", "workloads")),
        (("inject-label", "inject-cr"), "pods", ("both", "pods")),
        (("inject-label", "somebody"), "pods", ("label", "pods")),
        (("somebody",), "pods", (None, "pods")),
        ((), "pods", (None, "pods")),
    ],
)
def test_mode_and_target(names: tuple[str, ...], resource: str, expected: tuple[str | None, str]) -> None:
    """Of the configuration that stands, whatever the values were; no mode where it has no entry of ours."""
    found = configuration(*names, resource=resource)
    assert (installed.mode(found), installed.target(found)) == expected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {"kagenti.io/enrolled": "true"}, "matchExpressions": ADDED}, "kagenti.io/enrolled=true"),
        ({"matchExpressions": ADDED}, ""),
        (
            {"matchExpressions": [*ADDED, {"key": "team", "operator": "In", "values": ["a", "b"]}]},
            "team in (a,b)",
        ),
        (
            {
                "matchLabels": {"a": "1", "b": "2"},
                "matchExpressions": [
                    *ADDED,
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": SYSTEM_AND_ANOTHER},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ],
            },
            "a=1,b=2,kubernetes.io/metadata.name notin (kube-system,kube-public,kube-node-lease,cert-manager),c,!d",
        ),
    ],
    ids=["the default", "every namespace", "a set", "all operators, and one that looks like the chart's"],
)
def test_the_selector_is_what_the_values_say(selector: JSON, expected: str) -> None:
    """Without the namespaces that the chart leaves out of every entry."""
    assert installed.namespace_selector(configuration("inject-label", "inject-cr", selector=selector)) == expected


def test_mode_label_has_no_selector() -> None:
    """Nothing is enrolled there."""
    assert installed.namespace_selector(configuration("inject-label")) is None
    assert installed.namespace_selector(None) is None


def test_the_release_is_where_the_service_is() -> None:
    """Entries with a URL instead say nothing of it."""
    assert installed.release_namespace(configuration("inject-cr")) == "platform"
    assert installed.release_namespace({"webhooks": [{"name": "x", "clientConfig": {"url": "https://x"}}]}) == ""
    assert installed.release_namespace(None) == ""
