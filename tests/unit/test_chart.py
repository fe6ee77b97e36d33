"""The chart as files: copies are equal, every value is explained and checked, and rendering is repeatable."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from kagenti import __version__
from kagenti.core.sidecars import RESERVED_CONTAINERS, RESERVED_VOLUMES
from kagenti_api.v1alpha1 import wellknown
from tests.documents import documents

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "kagenti"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
[VALUES] = documents((CHART / "values.yaml").read_text())
# Functions of helm whose result differs from one rendering to the next, or from one cluster to the next.
UNREPEATABLE = ("rand", "genCA", "genSelf", "genSigned", "genPrivateKey", "uuidv4", "now", "lookup", "getHostByName")


def test_the_crds_are_copies_of_the_generated_ones() -> None:
    """Helm installs what stands in crds/ of the chart."""
    generated = {path.name: path.read_text() for path in (ROOT / "generated" / "crds").glob("*.yaml")}
    assert generated == {path.name: path.read_text() for path in (CHART / "crds").glob("*.yaml")}


def test_the_default_values_satisfy_their_schema() -> None:
    """An installation without any value is a valid one."""
    assert [fault.message for fault in Draft7Validator(SCHEMA).iter_errors(VALUES)] == []


def _keys(schema: Any, path: str = "") -> Any:
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}".removeprefix("."), child
        yield from _keys(child, f"{path}.{name}")


def test_every_value_of_the_schema_has_a_default() -> None:
    """Nothing can be set that values.yaml does not show; what is inside an optional object is shown by its sentence."""
    optional = ("global.", "certificates.issuerRef.")
    asked = [path for path, _ in _keys(SCHEMA) if path != "global" and not path.startswith(optional)]
    assert len(asked) > 50
    assert set(asked) <= {path for path, _ in _paths(VALUES)}


def _paths(values: Any, path: str = "") -> Any:
    for name, child in values.items():
        yield f"{path}.{name}".removeprefix("."), child
        if isinstance(child, dict):
            yield from _paths(child, f"{path}.{name}")


def test_every_value_is_explained() -> None:
    """A comment stands right above each key that takes a value."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = []
    for above, line in itertools.pairwise(lines):
        key = re.match(r"^( {0,2})([a-zA-Z]+):", line)
        takes_a_value = key and (line.rstrip()[-1] != ":" or key[2] in ("namespaceSelector", "resources"))
        if takes_a_value and not above.strip().startswith("#"):
            bare.append(line.strip())
    assert bare == []


@pytest.mark.parametrize("name", UNREPEATABLE)
def test_rendering_is_repeatable(name: str) -> None:
    """No template calls a function with a changing result: GitOps tools render again and again."""
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    actions = " ".join(re.findall(r"\{\{(?!- /\*)(.*?)\}\}", templates, flags=re.DOTALL))
    assert not re.search(rf"(?<![\w.$\"]){name}[A-Za-z]*\b(?=\s|$)", re.sub(r'"[^"]*"', "", actions))


def test_versions_are_those_of_the_program() -> None:
    """One release, one version; and the Kubernetes that the sidecars need."""
    [chart] = documents((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert chart["kubeVersion"] == ">=1.32.0-0"


def test_the_guards_know_every_name_that_we_reserve() -> None:
    """A container, volume or key of another layout would otherwise stand unguarded."""
    text = (CHART / "templates" / "guards.yaml").read_text()
    lists = {
        name: sorted(json.loads(found.replace("'", '"'))) for name, found in re.findall(r'\$(\w+) := "(\[.*?\])"', text)
    }
    assert lists == {"containers": sorted(RESERVED_CONTAINERS), "volumes": sorted(RESERVED_VOLUMES)}
    keys = set(re.findall(r"'((?:config\.)?kagenti\.io/[a-z-]*)'", text))
    assert keys == {
        wellknown.RECEIPT_ANNOTATION,
        wellknown.CONFIG_PREFIX,
        wellknown.MANAGED_LABEL,
        wellknown.INJECT_LABEL,
        wellknown.ENROLLED_LABEL,
        wellknown.BREAK_GLASS_LABEL,
    }
