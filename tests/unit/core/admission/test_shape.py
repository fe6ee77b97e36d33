"""Types of a template that later steps rely on: a fault is one sentence with its path."""

from typing import Any

import pytest

from kagenti.core.admission.shape import fault_of_metadata, fault_of_template
from tests.unit.core.admission.test_fuzz import POD

JSON = Any  # anything that JSON can hold


@pytest.mark.parametrize("template", [POD, {"spec": {"containers": []}}, {"metadata": None, "spec": {"future": [{}]}}])
def test_right_templates(template: JSON) -> None:
    """Absent and unknown fields are right."""
    assert fault_of_template(template, "object") == ""


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ([], "object: expected `object`, got `array`"),
        ({}, "object: object missing required field `spec`"),
        ({"spec": {"containers": {}}}, "object.spec.containers: expected `array | null`, got `object`"),
        ({"spec": {"initContainers": [1]}}, "object.spec.initContainers[0]: expected `object`, got `int`"),
        ({"spec": {"serviceAccountName": 5}}, "object.spec.serviceAccountName: expected `str | null`, got `int`"),
        (
            {"metadata": {"annotations": {"a": True}}, "spec": {}},
            "object.metadata.annotations[...]: expected `str`, got `bool`",
        ),
        (
            {"spec": {"containers": [{"name": "a", "env": [{"name": "A"}, {"value": "b"}]}]}},
            "object.spec.containers[0].env[1]: object missing required field `name`",
        ),
        (
            {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": "x"}]}]}},
            "object.spec.containers[0].ports[0].containerPort: expected `int | null`, got `str`",
        ),
        (
            {"spec": {"containers": [{"name": "a", "livenessProbe": {"tcpSocket": 5}}]}},
            "object.spec.containers[0].livenessProbe.tcpSocket: expected `object | null`, got `int`",
        ),
        (
            {"spec": {"initContainers": [{"name": "a", "resources": {"limits": ["cpu"]}}]}},
            "object.spec.initContainers[0].resources.limits: expected `object | null`, got `array`",
        ),
        (
            {"spec": {"containers": [{"name": "a", "securityContext": {"capabilities": {"drop": "ALL"}}}]}},
            "object.spec.containers[0].securityContext.capabilities.drop: expected `array | null`, got `str`",
        ),
        (
            {"spec": {"securityContext": {"supplementalGroups": 5}}},
            "object.spec.securityContext.supplementalGroups: expected `array | null`, got `int`",
        ),
        (
            {"spec": {"securityContext": {"fsGroup": []}}},
            "object.spec.securityContext.fsGroup: expected `int | null`, got `array`",
        ),
        (
            {"spec": {"containers": [{"name": "a", "securityContext": {"runAsGroup": {}}}]}},
            "object.spec.containers[0].securityContext.runAsGroup: expected `int | null`, got `object`",
        ),
    ],
)
def test_wrong_types(template: JSON, fault: str) -> None:
    """Named with the path from the object."""
    assert fault_of_template(template, "object") == fault


def test_metadata() -> None:
    """Absent is right; a list is not."""
    assert fault_of_metadata(None, "metadata") == ""
    assert fault_of_metadata([], "metadata") == "metadata: expected `object`, got `array`"
