"""The truth table of spec 03 with target workloads: what comes of a Deployment, in modes label, cr and both."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.admission.manifests import runtime, workload
from tests.e2e.admission.observed import bare, injected
from tests.e2e.admission.rows import (
    AGENT,
    CONTRADICTION,
    HOST_NETWORK,
    MANDATORY,
    NOTHING,
    OFF,
    ONLY_TOOLS,
    WINDOWS,
    Observer,
    Row,
    cases,
)
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.control_plane import ControlPlane

JSON = Any  # a Kubernetes object as received
ITSELF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}

ROWS = [
    Row("a label injects", "label both", "Label", "injected", label="enabled"),
    Row("in cr the AgentRuntime is the trigger", "cr", "AgentRuntime", "injected", label="enabled", runtime=True),
    Row("an AgentRuntime alone injects", "cr both", "AgentRuntime", "injected", runtime=True),
    Row("in label an AgentRuntime alone is not seen", "label", "", "bare", runtime=True),
    Row("outside enrolment nothing is called", "cr both", "", "bare", runtime=True, enrolled=False),
    Row("nothing triggers nothing", "cr both", "NoTrigger", "bare"),
    Row("in cr a label alone does nothing", "cr", "LabelIgnored", "bare", label="enabled", warned="LabelIgnored"),
    Row("Mandatory needs no trigger", "cr both", "Mandatory", "injected", layer=MANDATORY),
    Row("Mandatory outside enrolment is not enforced", "cr both", "", "bare", layer=MANDATORY, enrolled=False),
    Row("disabled opts out", "label cr both", "OptOut", "bare", label="disabled"),
    Row("Mandatory admits no opt-out", "label cr both", "MandatoryInjection", "denied", label="disabled", layer=MANDATORY),
    Row("an odd value is refused", "label cr both", "InvalidLabel", "denied", label="true"),
    Row("switched off by a layer", "label both", "InjectionDisabled", "bare", label="enabled", layer=OFF),
    Row("switched off, by AgentRuntime", "cr both", "InjectionDisabled", "bare", runtime=True, layer=OFF),
    Row("Mandatory ignores switching off", "cr both", "Mandatory", "injected", layer={**OFF, **MANDATORY}),
    Row(
        "an excluded type is left alone", "label both", "TypeExcluded", "bare",
        label="enabled", layer=ONLY_TOOLS, labels=AGENT, warned="TypeExcluded",
    ),
    Row(
        "an excluded type under Mandatory is injected", "cr both", "Mandatory", "injected",
        layer={**ONLY_TOOLS, **MANDATORY}, labels=AGENT, warned="TypeExcluded",
    ),
    Row("nothing left", "label both", "NothingToInject", "bare", label="enabled", layer=NOTHING, warned="NothingToInject"),
    Row("nothing left, by AgentRuntime", "cr both", "NothingToInject", "bare", runtime=True, layer=NOTHING),
    Row("nothing left under Mandatory", "cr both", "MandatoryInjection", "denied", layer={**NOTHING, **MANDATORY}),
    Row("hostNetwork by label", "label both", "UnsupportedPod", "denied", label="enabled", spec=HOST_NETWORK),
    Row("hostNetwork by AgentRuntime", "cr both", "UnsupportedPod", "bare", runtime=True, spec=HOST_NETWORK, warned="UnsupportedPod"),
    Row("hostNetwork under Mandatory", "cr both", "UnsupportedPod", "denied", layer=MANDATORY, spec=HOST_NETWORK),
    Row("Windows by label", "label both", "UnsupportedPod", "denied", label="enabled", spec=WINDOWS),
    Row("an inconsistent result", "label both", "ConfigInvalid", "denied", label="enabled", layer=CONTRADICTION),
    Row("an inconsistent result, by AgentRuntime", "cr both", "ConfigInvalid", "denied", runtime=True, layer=CONTRADICTION),
    Row("the workload itself is exempt", "cr both", "Exempt", "bare", exempt=ITSELF, policy="Exempt"),
    Row("another one is exempt", "cr both", "Mandatory", "injected", exempt={**ITSELF, "name": "other"}),
]  # fmt: skip


def deployment(namespace: str, row: Row) -> JSON:
    """The row's Deployment."""
    label = {"kagenti.io/inject": row.label} if row.label is not None else {}
    manifest = workload("Deployment", namespace, "weather", labels={**row.labels, **label})
    manifest["spec"]["template"]["spec"].update(row.spec)
    return manifest


def shown(found: JSON) -> str:
    """Whether a workload's template is injected, bare, or neither."""
    template = found["spec"]["template"]
    return "injected" if injected(template) else "bare" if bare(template) else "half injected"


@pytest.mark.parametrize(("mode", "row"), cases(ROWS, pytest.param))
def test_row_of_the_truth_table(
    mode: str,
    row: Row,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster: ControlPlane,
    cluster_config: Callable[[JSON], None],
) -> None:
    """The template comes out as the row says, and the audit log names the row's reason code."""
    install(mode=mode, target="workloads")
    namespace = team(enrolled=row.enrolled)
    observer = Observer(api, cluster, cluster_config, "deployments")
    observer.layers(row, namespace)
    if row.runtime:
        made = api.create(runtime(namespace, "weather", kind="Deployment", target="weather"))
        assert made.ok, made.message
    answer = observer.created(row, deployment(namespace, row))
    observer.check(row, answer, f"{mode}: {row.why}", shown=shown)
    seen = observer.seen(namespace)[-1:]
    assert [verdict.reason for verdict in seen] == ([row.reason] if row.reason else [])
    assert row.policy in ("", *(verdict.policy for verdict in seen))
