"""Before an upgrade or a rollback: what the other version left, found in pods, CRDs and objects."""

import copy
from typing import Any

import orjson
import pytest

from kagenti.core import definitions, envoy, upgrade
from tests.unit.core.admission.cluster import ours

JSON = Any  # a raw CRD, pod or object

NAME = "agentruntimeconfigs.kagenti.io"
SPEC = {
    "type": "object",
    "properties": {
        "injection": {"type": "object", "properties": {"tokenExchange": {"type": "string"}}},
        "rules": {"type": "array", "items": {"type": "object", "properties": {"host": {"type": "string"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def crd(spec: JSON = SPEC, *, stored: tuple[str, ...] = ("v1alpha1",)) -> JSON:
    """A CRD of AgentRuntimeConfig with that schema."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}}
    names = {"kind": "AgentRuntimeConfig", "plural": "agentruntimeconfigs"}
    found = {"metadata": {"name": NAME}, "spec": {"names": names, "versions": [{"name": "v1alpha1", "schema": schema}]}}
    return {**found, "status": {"storedVersions": list(stored)}}


def without(*path: str) -> JSON:
    """The schema of the spec without one of its fields."""
    changed = copy.deepcopy(SPEC)
    place = changed
    for key in path[:-1]:
        place = place["properties"].get(key) or place["items"]
        if "items" in place:
            place = place["items"]
    del place["properties"][path[-1]]
    return changed


def reasons(*, objects: tuple[JSON, ...] = (), installed: JSON = None, pods: tuple[JSON, ...] = ()) -> list[str]:
    """The codes of what is found, with this version's CRD as above."""
    there = {NAME: installed if installed is not None else crd()}
    found = upgrade.before(pods=pods, objects=objects, installed=there, packaged={NAME: crd()})
    return [finding.reason for finding in found]


@pytest.mark.parametrize(
    ("older", "named"),
    [
        (without("injection"), ["spec.injection"]),
        (without("injection", "tokenExchange"), ["spec.injection.tokenExchange"]),
        (without("rules", "host"), ["spec.rules.host"]),
        (SPEC, []),
    ],
)
def test_a_crd_that_lacks_a_field_is_named_with_it(older: JSON, named: list[str]) -> None:
    """The topmost of each branch; a field that it has beyond ours is no matter here."""
    schemas = [definitions.schema_of(crd(spec), "v1alpha1") for spec in (older, SPEC)]
    assert definitions.lacking(*schemas) == named
    assert definitions.lacking(*schemas[::-1]) == []
    assert reasons(installed=crd(older)) == (["OldCRD"] if named else [])


def test_a_crd_without_the_version_lacks_everything() -> None:
    """And one that could not be read is no finding."""
    other = crd()
    other["spec"]["versions"][0]["name"] = "v1beta1"
    assert reasons(installed=other) == ["OldCRD"]
    assert upgrade.before(pods=(), objects=(), installed={}, packaged={NAME: crd()}) == []


def test_a_field_to_select_by_is_missed_too() -> None:
    """The webhook's strict read lists by it."""
    other = crd()
    other["spec"]["versions"][0]["selectableFields"] = [{"jsonPath": ".spec.type"}]
    (found,) = upgrade.before(pods=(), objects=(), installed={NAME: crd()}, packaged={NAME: other})
    assert "lacks the selectable field .spec.type, " in found.message
    assert upgrade.before(pods=(), objects=(), installed={NAME: other}, packaged={NAME: other}) == []


def test_versions_that_objects_may_be_stored_in_must_be_known() -> None:
    """Otherwise the API server could not read them back."""
    assert reasons(installed=crd(stored=("v1alpha1", "v1beta1"))) == ["StoredVersion"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"anything": {"goes": 1}, "labels": {"a": "b"}}, []),
        ({"future": 1}, ["UnknownField"]),
        ({"rules": [{"host": "a"}, {"host": "b", "future": 1}]}, ["UnknownField"]),
        ({"injection": {"tokenExchange": "Future"}}, ["ConfigInvalid"]),
    ],
)
def test_an_object_of_a_newer_version_is_named(spec: JSON, expected: list[str]) -> None:
    """What would be ignored, and what pods would be denied for."""
    assert reasons(objects=(ours("AgentRuntimeConfig", "default", **spec),)) == expected


def test_a_field_is_named_where_it_stands() -> None:
    """With the object, for people who are to take it out."""
    found = upgrade.before(
        pods=(),
        objects=(ours("AgentRuntimeConfig", "default", rules=[{"host": "b", "future": 1}]),),
        installed={},
        packaged={NAME: crd()},
    )
    assert found[0].message.startswith("AgentRuntimeConfig team1/default sets spec.rules[0].future, ")


@pytest.mark.parametrize(
    ("receipt", "expected"),
    [
        ({"layout": envoy.LAYOUT}, []),
        ({"layout": envoy.LAYOUT + 1}, ["NewLayout"]),
        ({"layout": envoy.LAYOUT - 1}, ["OldLayout"]),
        ({"layout": "1"}, ["OldLayout"]),
        ({}, ["OldLayout"]),
        (None, ["OldLayout"]),
    ],
)
def test_the_layouts_of_the_fleet_are_compared(receipt: JSON, expected: list[str]) -> None:
    """Older ones are rolled before they are dropped, newer ones after a rollback."""
    metadata: JSON = {"name": "weather-1", "namespace": "team1"}
    if receipt is not None:
        metadata["annotations"] = {"kagenti.io/injected": orjson.dumps(receipt).decode()}
    assert reasons(pods=({"metadata": metadata, "spec": {"containers": []}},)) == expected
