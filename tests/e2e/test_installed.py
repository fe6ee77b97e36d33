"""What is read back from a webhook configuration is what the chart was given: every mode and target, and selectors of all forms."""

import itertools

import pytest

from kagenti.core import installed
from tests.e2e.charts import RELEASE_NAMESPACE, render

SELECTORS = {
    "the default": (),
    "every namespace": ("--set", "webhook.namespaceSelector.matchLabels=null"),
    "expressions": (
        "--set-json",
        'webhook.namespaceSelector={"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"In","values":["x","y"]},'
        '{"key":"c","operator":"DoesNotExist"},{"key":"d","operator":"Exists"},{"key":"kubernetes.io/metadata.name","operator":"NotIn",'
        '"values":["kube-system","kube-public","kube-node-lease","cert-manager"]}]}',
    ),
}


SHAPES = [
    *(
        (mode, target, "the default")
        for mode, target in itertools.product(("label", "cr", "both"), ("pods", "workloads"))
    ),
    *(("cr", "pods", selector) for selector in list(SELECTORS)[1:]),
]


@pytest.mark.parametrize(("mode", "target", "selector"), SHAPES)
def test_what_was_rendered_is_read_back(mode: str, target: str, selector: str) -> None:
    """The selector in the very words in which the webhook's own process is told it."""
    values = ("--set", f"webhook.triggerMode={mode},webhook.target={target}", *SELECTORS[selector])
    objects = {f"{found['kind']}/{found['metadata']['name']}": found for found in render(*values)}
    injector = objects["MutatingWebhookConfiguration/kagenti-injector"]
    assert (installed.mode(injector), installed.target(injector)) == (mode, target)
    assert installed.release_namespace(injector) == RELEASE_NAMESPACE
    [container] = objects["Deployment/kagenti-webhook"]["spec"]["template"]["spec"]["containers"]
    told = installed.namespace_selector(injector)
    assert told is None if mode == "label" else f"--namespace-selector={told}" in container["args"]
