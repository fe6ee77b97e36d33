"""Every row of the truth table of spec 03, observed at the real API server, in modes label, cr and both."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.admission.manifests import config, pod, runtime
from tests.e2e.admission.observed import bare, injected, receipt, verdicts
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.control_plane import ControlPlane

JSON = Any  # a Kubernetes object as received

MANDATORY = {"policy": {"injection": "Mandatory"}}
WINDOWS = {"os": {"name": "windows"}}
HOST_NETWORK = {"hostNetwork": True}
OFF = {"injection": {"enabled": False}}
ONLY_TOOLS = {"injection": {"types": ["tool"]}}
NOTHING = {"identity": {"enabled": False}, "trace": {"exporters": []}}
# Two readable layers whose merge is not: Envoy's two ports would be one.
CONTRADICTION = {"identity": {"outbound": {"trafficInterception": {"inboundProxyPort": 15123}}}}


@dataclass(frozen=True)
class Row:
    """One row: what is there, and what must come of it. ``reason`` empty: the webhook is not called."""

    why: str
    modes: str
    reason: str
    outcome: str
    label: str | None = None
    runtime: bool = False
    enrolled: bool = True
    layer: JSON = None
    labels: dict[str, str] = field(default_factory=dict)
    spec: dict[str, JSON] = field(default_factory=dict)
    warned: str = ""
    trigger: str = ""


ROWS = [
    Row("a label alone injects", "label both", "Label", "injected", label="enabled", trigger="Label"),
    Row("a label injects outside enrolment", "label both", "Label", "injected", label="enabled", enrolled=False),
    Row(
        "label and AgentRuntime: the label is the trigger",
        "label both",
        "Label",
        "injected",
        label="enabled",
        runtime=True,
    ),
    Row("in cr the AgentRuntime is the trigger", "cr", "AgentRuntime", "injected", label="enabled", runtime=True),
    Row("in cr a label alone does nothing", "cr", "LabelIgnored", "bare", label="enabled", warned="label"),
    Row("in cr a label under Mandatory", "cr", "Mandatory", "injected", label="enabled", layer=MANDATORY),
    Row("a label under Mandatory stays a label", "label both", "Label", "injected", label="enabled", layer=MANDATORY),
    Row("an AgentRuntime alone injects", "cr both", "AgentRuntime", "injected", runtime=True, trigger="AgentRuntime"),
    Row("nothing triggers nothing", "cr both", "NoTrigger", "bare"),
    Row("Mandatory needs no trigger", "cr both", "Mandatory", "injected", layer=MANDATORY, trigger="Mandatory"),
    Row("in label an AgentRuntime alone is not seen", "label", "", "bare", runtime=True),
    Row("outside enrolment nothing is called", "cr both", "", "bare", runtime=True, enrolled=False),
    Row("in cr a label outside enrolment is not seen", "cr", "", "bare", label="enabled", enrolled=False),
    Row("Mandatory outside enrolment is not enforced", "cr both", "", "bare", layer=MANDATORY, enrolled=False),
    Row("disabled opts out", "label cr both", "OptOut", "bare", label="disabled"),
    Row("disabled opts out of an AgentRuntime", "cr both", "OptOut", "bare", label="disabled", runtime=True),
    Row(
        "Mandatory admits no opt-out",
        "label cr both",
        "MandatoryInjection",
        "denied",
        label="disabled",
        layer=MANDATORY,
    ),
    Row("an odd value is refused", "label cr both", "InvalidLabel", "denied", label="true"),
    Row("an empty value is refused", "label cr both", "InvalidLabel", "denied", label=""),
    Row("switched off by a layer", "label both", "InjectionDisabled", "bare", label="enabled", layer=OFF),
    Row("switched off, by AgentRuntime", "cr both", "InjectionDisabled", "bare", runtime=True, layer=OFF),
    Row("Mandatory ignores switching off", "cr both", "Mandatory", "injected", layer={**OFF, **MANDATORY}),
    Row(
        "an excluded type is left alone",
        "label both",
        "TypeExcluded",
        "bare",
        label="enabled",
        layer=ONLY_TOOLS,
        labels={"kagenti.io/type": "agent"},
        warned="type",
    ),
    Row(
        "an excluded type under Mandatory is injected",
        "cr both",
        "Mandatory",
        "injected",
        layer={**ONLY_TOOLS, **MANDATORY},
        labels={"kagenti.io/type": "agent"},
        warned="type",
    ),
    Row("an absent type never blocks", "label both", "Label", "injected", label="enabled", layer=ONLY_TOOLS),
    Row(
        "nothing left to inject",
        "label both",
        "NothingToInject",
        "bare",
        label="enabled",
        layer=NOTHING,
        warned="nothing",
    ),
    Row("hostNetwork by label", "label both", "UnsupportedPod", "denied", label="enabled", spec=HOST_NETWORK),
    Row(
        "hostNetwork by AgentRuntime",
        "cr both",
        "UnsupportedPod",
        "bare",
        runtime=True,
        spec=HOST_NETWORK,
        warned="hostNetwork",
    ),
    Row("hostNetwork under Mandatory", "cr both", "UnsupportedPod", "denied", layer=MANDATORY, spec=HOST_NETWORK),
    Row("hostNetwork without trigger", "cr both", "NoTrigger", "bare", spec=HOST_NETWORK),
    Row("Windows by label", "label both", "UnsupportedPod", "denied", label="enabled", spec=WINDOWS),
    Row("an inconsistent result", "label both", "ConfigInvalid", "denied", label="enabled", layer=CONTRADICTION),
    Row(
        "an inconsistent result, by AgentRuntime",
        "cr both",
        "ConfigInvalid",
        "denied",
        runtime=True,
        layer=CONTRADICTION,
    ),
]
CASES = [
    pytest.param(mode, row, id=f"{mode}: {row.why}")
    for mode in ("label", "cr", "both")
    for row in ROWS
    if mode in row.modes.split()
]


def _check(row: Row, answer: Any, described: str) -> None:
    if row.outcome == "denied":
        assert not answer.ok, described
        assert row.reason in answer.message, described
        return
    assert answer.ok, f"{described}: {answer.message}"
    assert (injected if row.outcome == "injected" else bare)(answer.body), described
    if row.warned:
        assert any(row.warned.lower() in warning.lower() for warning in answer.warnings), (described, answer.warnings)
    if row.trigger:
        assert receipt(answer.body)["trigger"] == row.trigger


@pytest.mark.parametrize(("mode", "row"), CASES)
def test_row_of_the_truth_table(
    mode: str,
    row: Row,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster: ControlPlane,
) -> None:
    """The pod comes out as the row says, and the audit log names the row's reason code."""
    install(mode=mode)
    namespace = team(enrolled=row.enrolled)
    if row.layer is not None:
        made = api.create(config(namespace, **row.layer))
        assert made.ok, made.message
    if row.runtime:
        made = api.create(runtime(namespace, "weather", kind="Pod", target="weather"))
        assert made.ok, made.message
    answer = api.create(pod(namespace, "weather", label=row.label, labels=row.labels, **row.spec))
    _check(row, answer, f"{mode}: {row.why}")
    seen = verdicts(cluster, resource="pods", namespace=namespace, name="weather")
    assert [verdict.reason for verdict in seen][-1:] == ([row.reason] if row.reason else [])
