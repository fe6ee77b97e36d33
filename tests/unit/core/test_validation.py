"""Named checks across objects, as findings for admission and reconcile alike."""

from types import MappingProxyType

import pytest

from kagenti.core import settings, validation
from kagenti.core.settings.model import Finding, Layer, ResolvedSettings, Source
from kagenti.core.workload import WorkloadRef

TARGET = WorkloadRef("apps", "Deployment", "team1", "weather")
MINE = Source("workload", "AgentRuntime", "team1", "weather")
OTHER = Source("workload", "AgentRuntime", "team1", "other")
CONFIG = Source("namespace", "AgentRuntimeConfig", "team1", "default")
FAULT = Finding("ConfigInvalid", "ports clash", "a.b", (str(CONFIG),))


def _layer(source: Source, locked: tuple[str, ...] = (), **values: object) -> Layer:
    return Layer(source, MappingProxyType({key.replace("__", "."): value for key, value in values.items()}), locked)


def _resolved(*errors: Finding) -> ResolvedSettings:
    return ResolvedSettings({}, {}, errors=errors)


@pytest.mark.parametrize(
    ("reason", "others", "objects"),
    [
        ("nobody else", [], None),
        ("only its own earlier version", [MINE], None),
        ("another one", [MINE, OTHER], (str(MINE), str(OTHER))),
    ],
)
def test_duplicate_target(reason: str, others: list[Source], objects: tuple[str, ...] | None) -> None:
    """One AgentRuntime per target; the finding names both."""
    found = validation.duplicate_target(MINE, TARGET, others)
    assert (found[0].objects if found else None) == objects, reason
    assert all(str(TARGET) in finding.message for finding in found)


def test_rivals_are_named_in_a_stable_order() -> None:
    """Whatever the order of the index."""
    first, second = (Source("workload", "AgentRuntime", "team1", name) for name in ("a", "b"))
    assert validation.duplicate_target(MINE, TARGET, [second, first]) == validation.duplicate_target(
        MINE, TARGET, [first, second]
    )


def test_overreach_is_what_the_merge_made_ineffective() -> None:
    """Locks and authority; findings about other objects are theirs."""
    config = _layer(CONFIG, locked=("trace.sampling",), components__envoyProxy__image="evil")
    resolved = settings.resolve(None, config, _layer(MINE, trace__sampling__rate=1.0))
    assert [found.reason for found in validation.overreach(MINE, resolved)] == ["LockViolation"]
    assert [found.reason for found in validation.overreach(CONFIG, resolved)] == ["Unauthorised"]


def test_added_findings_are_an_updates_own() -> None:
    """What stood there before is not its fault, whatever the sentence says now."""
    old = Finding("LockViolation", "before", "trace.sampling.rate")
    same = Finding("LockViolation", "after", "trace.sampling.rate")
    new = Finding("LockViolation", "after", "trace.genai.enabled")
    assert validation.added([same, new], [old]) == (new,)


@pytest.mark.parametrize(
    ("reason", "before", "after", "broken"),
    [
        ("was right, is wrong", _resolved(), _resolved(FAULT), True),
        ("was wrong already", _resolved(FAULT), _resolved(FAULT), False),
        ("stays right", _resolved(), _resolved(), False),
        ("is mended", _resolved(FAULT), _resolved(), False),
        ("was unknown", None, _resolved(FAULT), False),
        ("will be unknown", _resolved(), None, False),
    ],
)
def test_newly_broken(
    reason: str, before: ResolvedSettings | None, after: ResolvedSettings | None, broken: bool
) -> None:
    """Only what this change breaks is counted."""
    found = validation.newly_broken([MINE], before=lambda _: before, after=lambda _: after, limit=10)
    assert found == (((MINE, FAULT),) if broken else ()), reason


def test_newly_broken_looks_at_so_many_only() -> None:
    """A fleet does not hold up an answer."""
    asked = []

    def after(source: Source) -> ResolvedSettings:
        asked.append(source)
        return _resolved()

    validation.newly_broken([MINE] * 50, before=after, after=after, limit=7)
    assert len(asked) == 7


@pytest.mark.parametrize(
    ("target", "owned_by", "reason"),
    [
        (TARGET, None, None),
        (TARGET, WorkloadRef("example.com", "Agent", "team1", "a"), None),
        (WorkloadRef("", "Secret", "team1", "a"), None, "UnsupportedTarget"),
        (WorkloadRef("apps", "ReplicaSet", "team1", "a"), TARGET, "NotTopOwner"),
        (WorkloadRef("apps", "ReplicaSet", "team1", "a"), None, None),
        (WorkloadRef("argoproj.io", "Rollout", "team1", "a"), None, None),
    ],
)
def test_target_kind(target: WorkloadRef, owned_by: WorkloadRef | None, reason: str | None) -> None:
    """Kinds without pods, and kinds in the middle of a chain."""
    found = validation.target_kind(target, owned_by=owned_by)
    assert [finding.reason for finding in found] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("exporters", "reasons"),
    [
        (None, []),
        ([], []),
        ([{"type": "otlp", "endpoint": "otel:4317"}], []),
        ([{"type": "jaeger", "endpoint": "jaeger:14250"}], ["SentAsOtlp"]),
        (
            [{"type": "otlp", "endpoint": "otel:4317"}, {"type": "jaeger", "endpoint": "jaeger:4317"}],
            ["SentAsOtlp", "ExporterIgnored"],
        ),
    ],
)
def test_exporters(exporters: object, reasons: list[str]) -> None:
    """What a person may not expect of the exporters that they set."""
    layer = _layer(MINE, **({"trace__exporters": exporters} if exporters is not None else {}))
    assert [found.reason for found in validation.exporters(layer)] == reasons
