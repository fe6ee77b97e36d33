"""The order of steps: a new trigger stands before the old one goes, and every step that takes one away has its guard."""

import json
from typing import Any

import pytest

from kagenti.core.migration import crs, runbook
from kagenti.core.migration.eras import ERAS
from kagenti.core.migration.report import Report
from kagenti.core.migration.runbook import Plan, Step
from kagenti.core.migration.workloads import workload_of
from tests import legacy
from tests.unit.core.migration.given import PLACE, era_objects, read, workload

JSON = Any  # an object

HOOK = "kagenti-webhook-authbridge-mutating-webhook-configuration"


def steps(era: str, way: Any, *, mode: Any = None, old_webhook: str = HOOK) -> list[Step]:
    """Returns the runbook of an era's example."""
    objects = legacy.example(era, PLACE)
    old, _ = read(objects, era)
    found = [workload_of(one) for one in legacy.of_kind(objects, "Deployment", "StatefulSet")]
    return runbook.runbook(Plan(way, old, [one for one in found if one], mode, old_webhook))


def titles(found: list[Step]) -> list[str]:
    """Returns the titles of steps."""
    return [step.title for step in found]


CR, LABEL = ("AgentRuntimes", "Namespaces are enrolled"), ("Pod templates are labelled",)
ORDER = [
    (
        "E1c",
        "cr",
        None,
        HOOK,
        ["Settings", "The old webhook goes", *CR, "Trigger mode both", "Labels are cleaned", "Trigger mode cr"],
    ),
    (
        "E1c",
        "label",
        None,
        HOOK,
        ["Settings", "The old webhook goes", "Trigger mode both", *LABEL, "Trigger mode label"],
    ),
    (
        "E2b",
        "cr",
        None,
        HOOK,
        [
            "Settings",
            *CR,
            "Trigger mode both",
            "One workload is restarted",
            "Labels are cleaned",
            "The old webhook goes",
            "Trigger mode cr",
        ],
    ),
    (
        "E2b",
        "label",
        None,
        HOOK,
        ["Settings", "Trigger mode both", *LABEL, "The old webhook goes", "Trigger mode label"],
    ),
    ("E2b", "cr", "label", "", [*CR, "Trigger mode both", "Labels are cleaned", "Trigger mode cr"]),
    ("E2b", "label", "cr", "", ["Trigger mode both", *LABEL, "Trigger mode label"]),
]


@pytest.mark.parametrize(("era", "way", "mode", "hook", "expected"), ORDER)
def test_the_order(era: str, way: str, mode: str | None, hook: str, expected: list[str]) -> None:
    """By era, by way, and by what is installed."""
    assert titles(steps(era, way, mode=mode, old_webhook=hook)) == expected


@pytest.mark.parametrize("era", sorted(ERAS))
@pytest.mark.parametrize("way", ["cr", "label"])
def test_what_takes_a_trigger_away_is_guarded(era: str, way: str) -> None:
    """Patches are tried first; the old webhook and the other mode go only when all are injected without them.

    In E1 the sidecars stand in the templates, so the old webhook takes nothing away.
    """
    for step in steps(era, way):
        takes = step.title in ("Labels are cleaned", *LABEL, "Trigger mode label", "Trigger mode cr")
        takes = takes or (step.title == "The old webhook goes" and ERAS[era].target == "pods")
        assert bool(step.guard) is bool(takes), step.title


@pytest.mark.parametrize("way", ["cr", "label"])
def test_settings_come_before_anything_injects(way: str) -> None:
    """And sidecars in templates come out with the trigger, in one patch."""
    found = steps("E1c", way)
    assert found[0].title == "Settings"
    (patched,) = [step for step in found if step.patches]
    for patch in patched.patches:
        text = json.dumps(patch.operations)
        assert "/spec/template/spec/initContainers" in text
    assert [runbook.described(step) for step in found]


@pytest.mark.parametrize(
    ("era", "labels", "expected"),
    [
        ("E2b", {"kagenti.io/type": "agent"}, []),
        (
            "E2b",
            {"kagenti.io/type": "agent", "kagenti.io/client-registration-inject": "false"},
            [("remove", "kagenti.io~1client-registration-inject")],
        ),
        ("E5", {"rossoctl.io/type": "agent", "rossoctl.io/inject": "enabled"}, [("add", "kagenti.io~1type")]),
        (
            "E5",
            {"rossoctl.io/type": "agent", "rossoctl.io/spiffe-helper-inject": "false"},
            [("add", "kagenti.io~1type"), ("add", "kagenti.io~1spiffe-helper-inject")],
        ),
    ],
)
def test_labels_that_kagenti_would_not_read_or_misread(
    era: str, labels: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    """Come first, while the old webhook still injects; the trigger is left to the steps that are guarded."""
    old, _ = read(era_objects(era), era)
    found = [
        step for step in runbook.runbook(Plan("cr", old, [workload(labels)], None, HOOK)) if step.name == "pod-labels"
    ]
    told = [
        (one["op"], one["path"].rpartition("/")[2])
        for step in found
        for patch in step.patches
        for one in patch.operations
    ]
    assert told == expected


def test_every_labelled_workload_is_in_it() -> None:
    """Those that carry a type or the trigger, not the one that is opted out."""
    made = next(step for step in steps("E2b", "cr") if step.title == "AgentRuntimes")
    assert [one["metadata"]["name"] for one in made.manifests] == ["forecast", "ledger"]


def older(kind: str, spec: JSON, name: str = "forecast") -> JSON:
    """An object of the older group."""
    metadata = {"name": name, "namespace": PLACE, "uid": "1", "resourceVersion": "1"}
    return {"apiVersion": "agent.kagenti.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "forecast"}
# spec → (path, value) of ours
RUNTIMES = [
    ({"type": "agent"}, "type", "agent"),
    ({}, "targetRef", TARGET),
    ({"identity": {"spiffe": {"trustDomain": "a.example"}}}, "identity", {"spiffe": {"trustDomain": "a.example"}}),
    ({"identity": {"allowedAudiences": ["x"]}}, "identity", {"inbound": {"validation": {"audience": "x"}}}),
    ({"identity": {"allowedAudiences": ["x", "y"]}}, "identity", None),
    (
        {"trace": {"endpoint": "otel:4317", "protocol": "http", "sampling": {"rate": 0.5}}},
        "trace",
        {
            "exporters": [{"type": "otlp", "endpoint": "otel:4317", "protocol": "http/protobuf"}],
            "sampling": {"rate": 0.5},
        },
    ),
    ({"trace": {"sampling": {"rate": 7}}}, "trace", None),
    ({"mtlsMode": "permissive", "egressEnforcement": "none"}, "mtlsMode", None),
]


@pytest.mark.parametrize(("spec", "path", "expected"), RUNTIMES)
def test_an_older_runtime(spec: JSON, path: str, expected: JSON) -> None:
    """Field by field; what has no counterpart is said."""
    report = Report()
    (made,) = crs.migrate([older("AgentRuntime", {"targetRef": TARGET, **spec})], {}, report)
    assert made["spec"].get(path) == expected
    assert made["metadata"] == {"name": "forecast", "namespace": PLACE}
    assert report.faults == []
    assert len({(one.object, one.key) for one in report.entries}) == len(report.entries) > 0


def test_an_older_card_selects_what_its_target_selects() -> None:
    """By the live workload's own selector; without it the card cannot be made, and what to do is said."""
    workload = legacy.agent("forecast", PLACE, labels={})
    report = Report()
    cards = [older("AgentCard", {"targetRef": TARGET, "syncPeriod": "1m", "identityBinding": {}})]
    (made,) = crs.migrate(cards, crs.selectors_of([workload]), report)
    assert made["spec"] == {"selector": {"matchLabels": {"app": "forecast"}}, "syncPeriod": "1m"}
    report = Report()
    assert crs.migrate(cards, {}, report) == []
    assert [one.reason for one in report.faults] == ["InvalidResult"]


def test_legacy_agents_are_listed() -> None:
    """Nobody can make a workload of them."""
    report = Report()
    assert crs.migrate([older("Agent", {"image": "x"})], {}, report) == []
    assert [one.verdict for one in report.entries] == ["impossible"]


def test_a_kind_without_a_counterpart_is_listed() -> None:
    """As what it is, not as a card that went wrong."""
    report = Report()
    assert crs.migrate([older("MCPServer", {"image": "x"})], {}, report) == []
    assert (report.faults, [one.verdict for one in report.entries]) == ([], ["impossible"])


def test_two_older_objects_of_one_name() -> None:
    """The groups of before and after the renaming: one would overwrite the other."""
    report, first = Report(), older("AgentRuntime", {"type": "agent", "targetRef": TARGET})
    other = {**first, "apiVersion": "agent.rossoctl.dev/v1alpha1"}
    assert len(crs.migrate([first, other], {}, report)) == 1
    assert [one.objects[0].partition(" ")[0] for one in report.faults] == ["AgentRuntime.agent.rossoctl.dev"]


def test_two_older_runtimes_of_one_target() -> None:
    """Nothing stopped that in the old world, which took the first it found."""
    report, first = Report(), older("AgentRuntime", {"type": "agent", "targetRef": TARGET})
    other = {**first, "metadata": {**first["metadata"], "name": "another"}}
    assert len(crs.migrate([first, other], {}, report)) == 2
    (told,) = report.findings
    assert (told.reason, "another" in told.message) == ("SameTarget", True)


def test_why_an_older_object_is_refused_names_the_field() -> None:
    """In one clause, without the value: it may be anything."""
    report = Report()
    crs.migrate([older("AgentRuntime", {"type": 5, "targetRef": TARGET})], {}, report)
    (fault,) = report.faults
    assert "spec.type would be refused: Input should be 'agent' or 'tool'; write it by hand" in fault.message


@pytest.mark.parametrize("spec", [None, [], {"targetRef": {"kind": "Deployment"}}, {"targetRef": 7}, {}])
def test_an_older_object_that_is_broken(spec: JSON) -> None:
    """A fault of that object, never a crash."""
    report = Report()
    assert crs.migrate([older("AgentRuntime", spec)], {}, report) == []
    assert len(report.faults) == 1
