"""Models and generated schemas: what is accepted, what is refused, and that both agree."""

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_snake

from kagenti.cli.schemas import Validator
from kagenti.core.selfchecks import check_object
from kagenti.core.settings.layer import parse_layer, whole
from kagenti_api.v1alpha1 import KINDS
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS
from tests.documents import documents
from tests.unit.api.manifests import EXAMPLES, INVALID, ROOT, VALID, expected, load

JSON = Any  # a raw manifest, or a schema node
CRDS = {
    crd["spec"]["names"]["kind"]: crd
    for crd in (documents(path.read_text())[0] for path in (ROOT / "generated" / "crds").glob("*.yaml"))
}
SCHEMAS = {kind: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind, crd in CRDS.items()}
MODELS: dict[str, type[BaseModel]] = {kind.__name__: kind for kind in KINDS}


def schema_accepts(manifest: JSON) -> bool:
    """Whether the generated schema accepts a manifest; sets are the one list type that jsonschema does not know."""
    return not schema_faults(manifest)


def schema_faults(manifest: JSON) -> list[str]:
    """Returns what the generated schema has against a manifest: path and message."""
    schema = SCHEMAS[manifest["kind"]]
    faults = [
        f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}"
        for fault in Validator(schema).iter_errors(manifest)
    ]
    return faults + list(_duplicates(schema, manifest, ""))


def _duplicates(schema: JSON, value: JSON, path: str) -> Any:
    is_set = schema.get("x-kubernetes-list-type") == "set" and isinstance(value, list)
    if is_set and len({repr(whole(item)) for item in value}) != len(value):
        yield f"{path}: an item stands twice"
    if isinstance(value, dict):
        for key, child in value.items():
            inner = schema.get("properties", {}).get(key)
            if inner:
                yield from _duplicates(inner, child, f"{path}.{key}".removeprefix("."))
    if isinstance(value, list) and "items" in schema:
        for item in value:
            yield from _duplicates(schema["items"], item, path)


def model_accepts(manifest: JSON) -> bool:
    """Whether the model accepts a manifest."""
    try:
        MODELS[manifest["kind"]].model_validate(manifest)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("path", [*VALID, *EXAMPLES], ids=lambda path: path.stem)
def test_examples_are_accepted_unchanged(path: Path) -> None:
    """Every example of the design and of our own, by schema, model and named checks."""
    for manifest in load(path):
        assert schema_faults(manifest) == []
        assert model_accepts(manifest)
        assert check_object(manifest) == ()


def test_there_are_enough_faults_and_the_designs_examples() -> None:
    """At least 30 invalid manifests; the four objects of the design."""
    assert len(INVALID) >= 30  # the issue's figure
    assert len(VALID) == 4  # the design's


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_a_fault_is_refused_and_named(path: Path) -> None:
    """By the schema, or by a named check in the words of the CEL rule; the model agrees with the schema."""
    (manifest,) = load(path)
    faults = schema_faults(manifest)
    said = faults or [f"{finding.path}: {finding.message}" for finding in check_object(manifest)]
    assert said, "accepted"
    assert any(expected(path) in text for text in said), said
    assert model_accepts(manifest) == (not faults)


def _nodes(schema: JSON, path: str = "") -> Any:
    yield path, schema
    for key, child in schema.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{key}".removeprefix("."))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_api_conventions_hold(kind: str) -> None:
    """Every field is described, every string, list and map bounded, every list has a type, nothing has a default."""
    faults = []
    for path, node in _nodes(SCHEMAS[kind]):
        if path in ("apiVersion", "kind", "metadata") or not path:
            continue
        if "default" in node:
            faults.append(f"{path} has a default")
        if not path.endswith("[]") and not node.get("description"):
            faults.append(f"{path} is not described")
        if node.get("type") == "string" and not {"maxLength", "enum"} & set(node):
            faults.append(f"{path} is unbounded text")
        if node.get("type") == "array" and ("maxItems" not in node or "x-kubernetes-list-type" not in node):
            faults.append(f"{path} is an unbounded or untyped list")
        if "additionalProperties" in node and "maxProperties" not in node:
            faults.append(f"{path} is an unbounded map")
    assert faults == []


@pytest.mark.parametrize("kind", ["AgentRuntime", "AgentRuntimeConfig", "AgentRuntimeClusterConfig"])
def test_every_layered_field_says_its_default_and_marks(kind: str) -> None:
    """In all three layers the description publishes the marks."""
    for path in LAYERED_FIELDS:
        node = SCHEMAS[kind]["properties"]["spec"]
        for key in path.split("."):
            node = node["properties"][key]
        said, mark = node["description"], LAYERED_FIELDS[path].mark
        assert re.search(r"Default: .+ \((built-in layer|after the merge)\)\.", said), path
        assert "Absent: inherited from the layers above." in said, path
        assert f"Class: {mark.class_}." in said, path
        assert f"Merge: {mark.merge}." in said, path
        assert f"Authority: {mark.authority}" in said, path
        assert ("Not lockable." if not mark.lockable else "Lockable.") in said, path
        assert node.get("type") == "boolean" or "enum" in node or re.search("[Ee]xample", said), f"no example: {path}"


def test_patterns_are_anchored() -> None:
    """So that a full match means the same as the API server's search."""
    patterns = {node["pattern"] for schema in SCHEMAS.values() for _, node in _nodes(schema) if "pattern" in node}
    assert [pattern for pattern in patterns if not (pattern.startswith("^") and pattern.endswith("$"))] == []


def test_free_form_objects_are_bounded() -> None:
    """What keeps unknown fields has a number of keys at least; the bytes are bounded where the card is fetched."""
    nodes = [node for schema in SCHEMAS.values() for _, node in _nodes(schema)]
    assert all("maxProperties" in node for node in nodes if node.get("x-kubernetes-preserve-unknown-fields"))


# One right value or more for every pattern of the API, and near misses.
TEXTS = (
    "a", "A", "a.b", "a/b", "/a", "/a/*", "/*", "/", "*.a.b", "*.*", "a:1", "http://a.b", "https://a.b:1/c", "ftp://a", "30s",
    "1", "50m", "64Mi", "unix:///a", "{{.PodName}}", "{{.Secret}}", "a b", "", "/.well-known/a.json", "Deployment", "apps/v1",
    "v1", "x" * 300, "http://[", "http://[::1]:80", "http://a:b:c", "a:99999", "a:65535", "a\x85b", "a\u2028b", "a..b",
)  # fmt: skip


ODD = (None, True, -1, 0, 8080, 70000, 0.5, 1.5, "", "a", "*", [], {}, [1, 1], {"a": None})


def instance(schema: JSON, dice: Random) -> JSON:
    """Returns a value of a schema node: mostly right, now and then something else. Plain recursion, for speed."""
    if dice.random() < 0.04:  # one node in 25 is wrong
        return dice.choice(ODD)
    if "enum" in schema:
        return dice.choice(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            properties, required = schema["properties"], schema.get("required", ())
            others = dice.sample(sorted(properties), k=min(len(properties), dice.randint(0, 3)))
            made = {key: instance(properties[key], dice) for key in {*required, *others} if dice.random() < 0.97}
            return {**made, **strange(properties, dice)}  # and one required key in 33 is missing
        case "object":
            inner = schema.get("additionalProperties") or {"type": "boolean"}
            return {key: instance(inner, dice) for key in dice.sample(["a", "b.c", "d/e"], k=dice.randint(0, 2))}
        case "array":
            return [instance(schema["items"], dice) for _ in range(dice.randint(0, 3))]
        case "integer":
            number = dice.randint(schema.get("minimum", 0), min(schema.get("maximum", 9), 70000))
            return float(number) if dice.random() < 0.2 else number
        case "number":
            return dice.choice([0.25, 0.5, 0.999])
        case "boolean":
            return dice.random() < 0.5  # a coin
    return dice.choice(TEXTS) + ("\n" if dice.random() < 0.1 else "")


def strange(properties: JSON, dice: Random) -> JSON:
    """Returns keys that the schema does not know, now and then: the Python name of a field, or anything."""
    if not properties or dice.random() < 0.8:
        return {}
    name = to_snake(dice.choice(sorted(properties)))
    return {key: dice.choice(ODD) for key in (name, "unknown") if key not in properties}


@pytest.mark.parametrize("kind", SCHEMAS)
@given(dice=st.randoms(use_true_random=False))
def test_model_and_schema_agree(kind: str, dice: Random) -> None:
    """Pydantic accepts an object if and only if the generated schema accepts it."""
    spec = instance(SCHEMAS[kind]["properties"]["spec"], dice)
    manifest = {"apiVersion": "kagenti.io/v1alpha1", "kind": kind, "metadata": {"name": "default"}, "spec": spec}
    assert model_accepts(manifest) == schema_accepts(manifest), (spec, schema_faults(manifest))


@pytest.mark.parametrize(
    ("period", "accepted"),
    [
        ("5s", True),
        ("5000ms", True),
        ("24h", True),
        ("1h30m", True),
        ("0.5h", True),
        ("4.9s", False),
        ("1440m1s", False),
    ],
)
def test_the_edges_of_the_sync_period(period: str, accepted: bool) -> None:
    """5s to 24h, in any unit of Go's durations."""
    spec = {"selector": {}, "syncPeriod": period}
    manifest = {"apiVersion": "kagenti.io/v1alpha1", "kind": "AgentCard", "metadata": {"name": "a"}, "spec": spec}
    assert schema_accepts(manifest)
    assert (check_object(manifest) == ()) is accepted


def test_a_whole_number_is_one_number() -> None:
    """8080.0 is 8080 (JSON Schema 2020-12 section 4.2.3), in the model and in the layer."""
    spec: JSON = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}}
    spec["identity"] = {"inbound": {"port": 8080.0, "excludePorts": [1.0]}}
    manifest = {"apiVersion": "kagenti.io/v1alpha1", "kind": "AgentRuntime", "metadata": {"name": "a"}, "spec": spec}
    assert model_accepts(manifest)
    values = parse_layer("workload", manifest).values
    assert repr((values["identity.inbound.port"], values["identity.inbound.excludePorts"])) == "(8080, [1])"
