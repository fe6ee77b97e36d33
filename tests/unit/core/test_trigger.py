"""Every row of the truth table of spec 03, in every mode where it means something, and the coverage of namespaces."""

# ruff: noqa: E501  # a table reads by line
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from kagenti import errors
from kagenti.core import trigger
from kagenti.core.settings.model import Finding, Origin, ResolvedSettings, Source
from kagenti.core.trigger import Coverage, Decision, OwnerProof, reasons
from kagenti.core.workload import Subject, WorkloadRef

JSON = Any  # a pod spec as received

OWNER = WorkloadRef("apps", "Deployment", "team1", "weather")
RUNTIME = Source("workload", "AgentRuntime", "team1", "weather")
CONFIG = Source("namespace", "AgentRuntimeConfig", "team1", "default")
FAULT = Finding("ConfigInvalid", "AgentRuntimeConfig team1/default: spec.trace is a list", objects=(str(CONFIG),))
HOST_NETWORK = {"hostNetwork": True}


@dataclass(frozen=True)
class FakePolicy:
    """A policy as the table names it."""

    mandatory: bool = False
    exempt: bool = False
    declared_by: Source | None = CONFIG

    def is_exempt(self, owner: WorkloadRef, service_account: str) -> bool:
        return self.exempt


OPTIONAL, MANDATORY, EXEMPT = FakePolicy(), FakePolicy(mandatory=True), FakePolicy(mandatory=True, exempt=True)


@dataclass(frozen=True)
class Row:
    """One row: facts, and what must come of them."""

    why: str
    modes: str
    outcome: str
    reason: str
    label: str | None = None
    runtime: bool = False
    policy: FakePolicy | None = OPTIONAL
    enrolled: bool = True
    unreadable: bool = False
    values: Mapping[str, JSON] = field(default_factory=dict)
    type_label: str | None = None
    runtime_type: str = ""
    spec: Mapping[str, JSON] = field(default_factory=dict)
    nothing_left: bool = False
    inconsistent: bool = False
    warned: bool = False
    called: bool = True
    trigger: str | None = None
    message: str = ""


OFF = {"injection.enabled": False}
TOOLS = {"injection.types": ["tool"]}

ROWS = [
    Row("label", "label both", "Inject", "Label", label="enabled", trigger="Label"),
    Row("label, Mandatory", "label both", "Inject", "Label", label="enabled", policy=MANDATORY, trigger="Label"),
    Row("label and AgentRuntime", "label both", "Inject", "Label", label="enabled", runtime=True, trigger="Label"),
    Row("cr: label and AgentRuntime", "cr", "Inject", "AgentRuntime", label="enabled", runtime=True),
    Row("cr: label alone", "cr", "Allow", "LabelIgnored", label="enabled", warned=True, message="create an AgentRuntime"),
    Row("cr: label, Mandatory", "cr", "Inject", "Mandatory", label="enabled", policy=MANDATORY, trigger="Mandatory"),
    Row("AgentRuntime alone", "cr both", "Inject", "AgentRuntime", runtime=True, trigger="AgentRuntime"),
    Row("AgentRuntime, Mandatory", "cr both", "Inject", "AgentRuntime", runtime=True, policy=MANDATORY),
    Row("nothing", "cr both", "Allow", "NoTrigger"),
    Row("Mandatory alone", "cr both", "Inject", "Mandatory", policy=MANDATORY, message="AgentRuntimeConfig team1/default"),
    Row("label mode: AgentRuntime, no label", "label", "Allow", "LabelMissing", runtime=True, called=False),
    Row("label mode: nothing", "label", "Allow", "NoTrigger", called=False),
    Row("label mode: Mandatory, no label", "label", "Allow", "PolicyUnenforced", policy=MANDATORY, called=False),
    Row("label mode: Mandatory, no label, exempt", "label", "Allow", "NoTrigger", policy=EXEMPT, called=False),
    Row("not enrolled", "cr both", "Allow", "NotEnrolled", runtime=True, enrolled=False, called=False),
    Row("not enrolled, label, mode cr", "cr", "Allow", "NotEnrolled", label="enabled", enrolled=False, called=False),
    Row("not enrolled, odd label, mode cr", "cr", "Allow", "NotEnrolled", label="x", enrolled=False, called=False),
    Row("not enrolled, label", "label both", "Inject", "Label", label="enabled", enrolled=False),
    Row("not enrolled, Mandatory", "cr both", "Allow", "PolicyUnenforced", policy=MANDATORY, enrolled=False, called=False),
    Row("exempt", "cr both", "Allow", "Exempt", policy=EXEMPT, message="exempts"),
    Row("exempt, AgentRuntime", "cr both", "Inject", "AgentRuntime", policy=EXEMPT, runtime=True),
    Row("exempt, cr, label", "cr", "Allow", "LabelIgnored", policy=EXEMPT, label="enabled", warned=True),
    Row("exempt, disabled", "label cr both", "Allow", "OptOut", policy=EXEMPT, label="disabled"),
    Row("disabled", "label cr both", "Allow", "OptOut", label="disabled"),
    Row("disabled, AgentRuntime", "label cr both", "Allow", "OptOut", label="disabled", runtime=True),
    Row("disabled, Mandatory", "label cr both", "Deny", "MandatoryInjection", label="disabled", policy=MANDATORY),
    Row("odd value", "label cr both", "Deny", "InvalidLabel", label="true", message='"enabled" or "disabled"'),
    Row("empty value", "label cr both", "Deny", "InvalidLabel", label=""),
    Row("odd value, AgentRuntime, Mandatory", "label cr both", "Deny", "InvalidLabel", label="on", runtime=True, policy=MANDATORY),
    Row("disabled by a layer", "label both", "Allow", "InjectionDisabled", label="enabled", values=OFF, message=str(CONFIG)),
    Row("disabled by a layer, AgentRuntime", "cr both", "Allow", "InjectionDisabled", runtime=True, values=OFF),
    Row("disabled by a layer, Mandatory", "cr both", "Inject", "Mandatory", policy=MANDATORY, values=OFF),
    Row("disabled by a layer, label, Mandatory", "label both", "Inject", "Label", label="enabled", policy=MANDATORY, values=OFF),
    Row("disabled by a layer, exempt", "cr both", "Allow", "InjectionDisabled", runtime=True, policy=EXEMPT, values=OFF),
    Row("type excluded", "label both", "Allow", "TypeExcluded", label="enabled", values=TOOLS, type_label="agent", warned=True),
    Row("type excluded, AgentRuntime", "cr both", "Allow", "TypeExcluded", runtime=True, values=TOOLS, type_label="agent", warned=True),
    Row("type excluded, Mandatory", "cr both", "Inject", "Mandatory", policy=MANDATORY, values=TOOLS, type_label="agent", warned=True),
    Row("type absent", "label both", "Inject", "Label", label="enabled", values=TOOLS),
    Row("type from AgentRuntime", "cr both", "Allow", "TypeExcluded", runtime=True, values=TOOLS, runtime_type="agent", warned=True),
    Row("label's type wins", "cr both", "Inject", "AgentRuntime", runtime=True, values=TOOLS, runtime_type="agent", type_label="tool"),
    Row("nothing left", "label both", "Allow", "NothingToInject", label="enabled", nothing_left=True, warned=True),
    Row("nothing left, Mandatory", "cr both", "Deny", "MandatoryInjection", policy=MANDATORY, nothing_left=True),
    Row("hostNetwork, label", "label both", "Deny", "UnsupportedPod", label="enabled", spec=HOST_NETWORK, message="hostNetwork"),
    Row("hostNetwork, Mandatory", "cr both", "Deny", "UnsupportedPod", policy=MANDATORY, spec=HOST_NETWORK),
    Row("hostNetwork, label, Mandatory: without the label it is Mandatory still", "label both", "Deny", "UnsupportedPod", label="enabled", policy=MANDATORY, spec=HOST_NETWORK, message="drop the field, or ask the platform"),
    Row("hostNetwork, AgentRuntime, Mandatory", "cr both", "Deny", "UnsupportedPod", runtime=True, policy=MANDATORY, spec=HOST_NETWORK),
    Row("hostNetwork, AgentRuntime", "cr both", "Allow", "UnsupportedPod", runtime=True, spec=HOST_NETWORK, warned=True),
    Row("hostNetwork, AgentRuntime and ignored label", "cr", "Allow", "UnsupportedPod", label="enabled", runtime=True, spec=HOST_NETWORK, warned=True),
    Row("hostNetwork, nothing", "cr both", "Allow", "NoTrigger", spec=HOST_NETWORK),
    Row("hostNetwork, label, switched off", "label both", "Allow", "InjectionDisabled", label="enabled", spec=HOST_NETWORK, values=OFF),
    Row("Windows, label", "label both", "Deny", "UnsupportedPod", label="enabled", spec={"os": {"name": "windows"}}),
    Row("Windows node, label", "label both", "Deny", "UnsupportedPod", label="enabled", spec={"nodeSelector": {"kubernetes.io/os": "windows"}}),
    Row("Windows, AgentRuntime", "cr both", "Allow", "UnsupportedPod", runtime=True, spec={"os": {"name": "windows"}}, warned=True),
    Row("unreadable layer, label", "label both", "Deny", "ConfigInvalid", label="enabled", unreadable=True, message="spec.trace"),
    Row("unreadable layer, AgentRuntime", "cr both", "Deny", "ConfigInvalid", runtime=True, unreadable=True),
    Row("unreadable layer, Mandatory", "cr both", "Deny", "ConfigInvalid", policy=MANDATORY, unreadable=True),
    Row("unreadable layer, no trigger", "cr both", "Allow", "NoTrigger", unreadable=True),
    Row("inconsistent, label", "label both", "Deny", "ConfigInvalid", label="enabled", inconsistent=True, message="15123"),
    Row("inconsistent, AgentRuntime", "cr both", "Deny", "ConfigInvalid", runtime=True, inconsistent=True),
    Row("unreadable policy, no trigger", "cr both", "Deny", "ConfigInvalid", policy=None, unreadable=True),
    Row("unreadable policy, label", "label cr both", "Deny", "ConfigInvalid", label="enabled", policy=None, unreadable=True),
    Row("unreadable policy, disabled", "label cr both", "Deny", "ConfigInvalid", label="disabled", policy=None, unreadable=True),
    Row("unreadable policy, odd label", "label cr both", "Deny", "InvalidLabel", label="x", policy=None, unreadable=True),
]  # fmt: skip
CASES = [
    pytest.param(mode, row, id=f"{mode}: {row.why}")
    for mode in ("label", "cr", "both")
    for row in ROWS
    if mode in row.modes.split()
]


def _subject(row: Row) -> Subject:
    labels = {"kagenti.io/inject": row.label, "kagenti.io/type": row.type_label}
    marks = {key: value for key, value in labels.items() if value is not None}
    return Subject(OWNER, {"metadata": {"labels": marks}, "spec": dict(row.spec)})


def _settings(row: Row) -> ResolvedSettings:
    values = {"injection.enabled": True, "injection.types": ["agent", "tool"], **row.values}
    clash = (Finding("PortCollision", "proxyPort and inboundProxyPort are both 15123", objects=(str(CONFIG),)),)
    return ResolvedSettings(
        values=values,
        origins={path: Origin(CONFIG, path) for path in values},
        errors=clash if row.inconsistent else (),
    )


def _decide(row: Row, mode: Any) -> Decision:
    subject = _subject(row)
    decision = trigger.decide(
        subject,
        mode=mode,
        policy=row.policy,
        runtime=RUNTIME if row.runtime else None,
        coverage=Coverage(enrolled=row.enrolled),
        unreadable=(FAULT,) if row.unreadable else (),
    )
    decision = trigger.confirm(decision, settings=_settings(row), subject=subject, runtime_type=row.runtime_type)
    return trigger.nothing_left(decision, subject) if decision.injects and row.nothing_left else decision


@pytest.mark.parametrize(("mode", "row"), CASES)
def test_row_of_the_truth_table(mode: str, row: Row) -> None:
    """Outcome, reason, trigger, whether the author is warned, and what the message must name."""
    decision = _decide(row, mode)
    assert (decision.outcome, decision.reason) == (row.outcome, row.reason), row.why
    assert decision.called == row.called
    assert bool(decision.warnings) == row.warned, decision.warnings
    assert row.message in decision.message
    if row.trigger:
        assert decision.trigger == row.trigger


def test_every_reason_is_documented_and_every_message_is_one_line() -> None:
    """Reason codes are a bounded set with meanings; messages are for people: one line, and never empty."""
    decisions = [_decide(case.values[1], case.values[0]) for case in CASES]
    assert {decision.reason for decision in decisions} <= set(reasons.MEANINGS)
    assert [decision for decision in decisions if not decision.message or "\n" in decision.message] == []


def test_no_field_of_a_config_kind_but_mandatory_triggers() -> None:
    """Settings are not even looked at before there is a trigger."""
    row = Row("all on", "both", "Allow", "NoTrigger", values={"injection.enabled": True})
    assert _decide(row, "both").reason == "NoTrigger"


@pytest.mark.parametrize(
    ("mode", "label", "entry"),
    [
        ("label", "enabled", "label"),
        ("label", "disabled", "label"),
        ("label", "", "label"),
        ("label", None, None),
        ("cr", "enabled", "cr"),
        ("cr", None, "cr"),
        ("both", "enabled", "label"),
        ("both", "typo", "label"),
        ("both", None, "cr"),
    ],
)
def test_each_pod_has_one_entry(mode: Any, label: str | None, entry: str | None) -> None:
    """The objectSelectors of the chart, as a function."""
    assert trigger.entry_of(mode, label) == entry


@pytest.mark.parametrize(
    ("namespace", "labels", "expected"),
    [
        ("team1", {"kagenti.io/enrolled": "true"}, (True, "")),
        ("team1", {"kagenti.io/enrolled": "false"}, (False, "")),
        ("team1", {}, (False, "")),
        ("team1", {"kagenti.io/enrolled": "true", "kagenti.io/break-glass": ""}, (False, "BreakGlass")),
        ("kube-system", {"kagenti.io/enrolled": "true"}, (False, "SystemNamespace")),
        ("kagenti-system", {"kagenti.io/enrolled": "true"}, (False, "SystemNamespace")),
    ],
)
def test_coverage_of_a_namespace(namespace: str, labels: dict[str, str], expected: tuple[bool, str]) -> None:
    """Enrolment, the emergency door and the namespaces that are never covered."""
    coverage = trigger.coverage_of(
        namespace, labels=labels, selector="kagenti.io/enrolled=true", release_namespace="kagenti-system"
    )
    assert (coverage.enrolled, coverage.excluded) == expected


@pytest.mark.parametrize(
    ("selector", "enrol"),
    [
        ("kagenti.io/enrolled=true", "kubectl label namespace team1 kagenti.io/enrolled=true"),
        ("team=a,stage==prod", "kubectl label namespace team1 team=a stage=prod"),
        ("team in (a,b)", "label it so that webhook.namespaceSelector (team in (a,b)) selects it"),
        ("team=a,!x", "label it so that webhook.namespaceSelector (team=a,!x) selects it"),
        ("team=a,x!=b", "label it so that webhook.namespaceSelector (team=a,x!=b) selects it"),
    ],
)
def test_how_to_enrol_follows_the_selector(selector: str, enrol: str) -> None:
    """The chart's default is one label; advice to set that one under another selector would change nothing."""
    coverage = trigger.coverage_of("team1", labels={"x": "b"}, selector=selector)
    assert (coverage.enrolled, coverage.enrol) == (False, enrol)
    decision = trigger.decide(
        _subject(Row("not enrolled", "cr", "Allow", "NotEnrolled")),
        mode="cr",
        policy=None,
        runtime=None,
        coverage=coverage,
    )
    assert enrol in decision.message


def test_an_excluded_namespace_says_why_even_with_a_label() -> None:
    """Break-glass beats every trigger, because no entry is called."""
    row = Row("", "both", "", "", label="enabled")
    coverage = Coverage(enrolled=False, excluded=reasons.BREAK_GLASS, why="namespace team1 carries the label")
    decision = trigger.decide(_subject(row), mode="both", policy=OPTIONAL, runtime=RUNTIME, coverage=coverage)
    said = "namespace team1 carries the label"
    assert decision == Decision("Allow", "BreakGlass", said, object="AgentRuntime team1/weather", called=False)


@dataclass(frozen=True)
class ByOwner(FakePolicy):
    """A policy that exempts one owner and one service account."""

    def is_exempt(self, owner: WorkloadRef, service_account: str) -> bool:
        return owner == OWNER or service_account == "trusted"


@pytest.mark.parametrize(
    ("proof", "account", "reason"),
    [
        (None, "default", "Exempt"),
        ("holds", "default", "Exempt"),
        ("unknown", "default", "Mandatory"),
        ("broken", "default", "Mandatory"),
        ("unknown", "trusted", "Exempt"),
    ],
)
def test_an_exemption_by_owner_hangs_on_the_owner(proof: OwnerProof | None, account: str, reason: str) -> None:
    """An owner that is not proved exempts nobody; a service account needs no proof."""
    subject = Subject(OWNER, {"metadata": {}, "spec": {"serviceAccountName": account}})
    policy = ByOwner(mandatory=True)
    assert trigger.exempt_by_owner(policy, subject) is (account == "default")
    decision = trigger.decide(subject, mode="both", policy=policy, runtime=None, proof=proof)
    assert decision.reason == reason
    assert bool(decision.warnings) is (reason == "Mandatory")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("a=1", True),
        ("a==1,b", True),
        ("a=2", False),
        ("a!=2", True),
        ("c!=2", True),
        ("!c", True),
        ("!a", False),
        ("a in (1, 3),b", True),
        ("a notin (1,3)", False),
        ("c notin (1)", True),
        ("c", False),
    ],
)
def test_selector_syntax(selector: str, expected: bool) -> None:
    """The forms of kubectl's selectors."""
    assert trigger.matches(selector, {"a": "1", "b": "2"}) is expected


@pytest.mark.parametrize(
    "selector", ["a ~ 1", "a within (1)", "a in (1", "a=b=c", "a=b,((", "a in (1,(2))", "=1", "!a b", "a/b/c"]
)
def test_a_selector_of_no_known_form_is_refused(selector: str) -> None:
    """A typing error never silently matches nothing."""
    with pytest.raises(errors.UsageError, match="namespace selector"):
        trigger.matches(selector, {})
