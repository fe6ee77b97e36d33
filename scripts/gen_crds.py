"""Pydantic models → structural schemas → CRDs, into generated/crds and the chart's copies.

``--check`` writes nothing and fails where a file has drifted. What has no structural form (recursion, unions, tuples) is
refused here, so that it cannot reach an API server. Rules: Kubernetes documentation, "Specifying a structural schema".
"""

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from kagenti.cli.scalars import unambiguous
from kagenti_api.v1alpha1 import KINDS, wellknown
from kagenti_api.v1alpha1.built_in import BUILT_IN, DERIVED
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS, LayeredField
from kagenti_api.v1alpha1.meta import KindMarks
from sentences import sentences

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "generated" / "crds", ROOT / "charts" / "kagenti" / "crds")
HEADER = "# Generated from api/v1alpha1 by scripts/gen_crds.py; do not edit. Regenerate: make crds\n"
JSON = Any  # a JSON schema node
KEPT = (
    "description",
    "enum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "type",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
)
SIBLINGS = ("description", "x-kubernetes-list-type", "x-kubernetes-map-type")
INT32 = 2**31 - 1
AUTHORITIES: Mapping[str, str] = {"workload": "workload", "cluster": "cluster, unless delegated"}


class NotStructural(Exception):
    """A model that no structural schema can express."""


class Generator:
    """The schema of one kind; ``models`` finds the class behind a definition, for its CEL rules and map keys."""

    def __init__(self, kind: type[BaseModel]) -> None:
        schema = kind.model_json_schema(by_alias=True, mode="validation")
        self._definitions: Mapping[str, JSON] = schema.get("$defs", {})
        self._models = {model.__name__: model for model in _reachable(kind)}
        for name, node in {**self._definitions, kind.__name__: schema}.items():
            for field, sentence in sentences(self._models[name]).items():
                key = self._models[name].model_fields[field].alias or field
                node["properties"][key]["description"] = sentence
        self._schema = schema

    def root(self, marks: KindMarks, description: str) -> JSON:
        """Returns openAPIV3Schema."""
        properties = self._schema["properties"]
        node = {
            "description": description,
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string", "description": "API version of this object."},
                "kind": {"type": "string", "description": "Kind of this object."},
                "metadata": {"type": "object"},
                "spec": self._node(properties["spec"], path=()),
                "status": self._node(properties["status"], path=None),
            },
        }
        return _with_rules(node, [(rule.rule, rule.message, rule.field_path) for rule in marks.rules])

    def _node(self, raw: JSON, *, path: tuple[str, ...] | None, seen: tuple[str, ...] = ()) -> JSON:
        """Returns one structural node; ``path`` is the place in the layered block, None outside of it."""
        raw, model = self._resolved(raw, seen)
        seen = (*seen, model) if model else seen
        node = {key: raw[key] for key in KEPT if key in raw}
        if "const" in raw:
            node["enum"] = [raw["const"]]
        match raw.get("type"):
            case "object":
                self._object(node, raw, path=path, seen=seen)
            case "array":
                node["items"] = self._node(raw["items"], path=None, seen=seen)
                self._list_type(node, raw["items"])
            case "integer":
                node["format"] = "int32" if raw.get("maximum", INT32 + 1) <= INT32 else "int64"
            case "number":
                node["format"] = "double"
            case "string" | "boolean":
                pass
            case other:
                raise NotStructural(f"{path}: a node of type {other!r} has no structural form: {raw}")
        rules = getattr(self._models.get(model), "RULES", ())
        return _with_rules(node, [(rule.rule, rule.message, rule.field_path) for rule in rules])

    def _resolved(self, raw: JSON, seen: tuple[str, ...]) -> tuple[JSON, str]:
        """Follows $ref and drops the null of an optional; refuses recursion and other unions."""
        model, siblings = "", {key: raw[key] for key in SIBLINGS if key in raw}
        while "$ref" in raw or "anyOf" in raw:
            if "$ref" in raw:
                model = raw["$ref"].rpartition("/")[2]
                if model in seen:
                    raise NotStructural(f"{model} contains itself")
                raw = self._definitions[model]
            else:
                options = [option for option in raw["anyOf"] if option.get("type") != "null"]
                if len(options) != 1:
                    raise NotStructural(f"a union of {len(options)} types has no structural form: {raw}")
                raw = options[0]
        return {**raw, **siblings}, model

    def _object(self, node: JSON, raw: JSON, *, path: tuple[str, ...] | None, seen: tuple[str, ...]) -> None:
        if "properties" in raw:
            node["properties"] = {
                name: self._property(name, child, path=path, seen=seen) for name, child in raw["properties"].items()
            }
            if raw.get("required"):
                node["required"] = sorted(raw["required"])
            return
        if "patternProperties" in raw:
            raise NotStructural(f"{path}: patternProperties have no structural form; leave map keys unconstrained")
        values = raw.get("additionalProperties", True)
        if values is True:
            node["x-kubernetes-preserve-unknown-fields"] = True
            return
        node["additionalProperties"] = self._node(values, path=None, seen=seen)

    def _property(self, name: str, child: JSON, *, path: tuple[str, ...] | None, seen: tuple[str, ...]) -> JSON:
        inner = (*path, name) if path is not None else None
        node = self._node(child, path=inner, seen=seen)
        node["description"] = describe(child.get("description", node.get("description", "")), inner)
        return node

    def _list_type(self, node: JSON, items: JSON) -> None:
        _, model = self._resolved(items, ())
        keys = getattr(self._models.get(model), "LIST_MAP_KEYS", ())
        if keys:
            node["x-kubernetes-list-type"] = "map"
            node["x-kubernetes-list-map-keys"] = list(keys)
        node.setdefault("x-kubernetes-list-type", "atomic")


def _reachable(kind: type[BaseModel]) -> set[type[BaseModel]]:
    """Returns every model class that a kind is made of."""
    found: set[type[BaseModel]] = set()

    def visit(annotation: Any) -> None:  # Any: typing constructs have no common type
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation not in found:
                found.add(annotation)
                for field in annotation.model_fields.values():
                    visit(field.annotation)
            return
        for argument in get_args(annotation):
            visit(argument)

    visit(kind)
    return found


def _with_rules(node: JSON, rules: list[tuple[str, str, str]]) -> JSON:
    if rules:
        node["x-kubernetes-validations"] = [
            {"rule": rule, "message": message, **({"fieldPath": place} if place else {})}
            for rule, message, place in rules
        ]
    return node


def describe(sentence: str, path: tuple[str, ...] | None) -> str:
    """Returns the description of a field: its sentence, and for a layered one its default and marks."""
    field = LAYERED_FIELDS.get(".".join(path)) if path else None
    sentence = " ".join(sentence.split())
    return f"{sentence} {marks_of(field)}" if field else sentence


def marks_of(field: LayeredField) -> str:
    """Returns default, absence, class, merge, authority and lockability of a layered field, for people."""
    mark = field.mark
    parts = [
        f"Default: {default_of(field)}.",
        "Absent: inherited from the layers above.",
        f"Class: {mark.class_}.",
        f"Merge: {mark.merge}.",
        f"Authority: {AUTHORITIES[mark.authority]}.",
        "Lockable." if mark.lockable else "Not lockable.",
    ]
    return " ".join(parts)


def default_of(field: LayeredField) -> str:
    """Returns the default of a field and where it stands."""
    if field.path in DERIVED:
        return f"derived from {DERIVED[field.path]} (after the merge)"
    node: JSON = BUILT_IN
    for key in field.keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    if node is None:
        return "none (built-in layer)"
    return f"{json.dumps(node)} (built-in layer)"


def crd(kind: type[BaseModel]) -> JSON:
    """Returns the CustomResourceDefinition of a kind."""
    marks: KindMarks = kind.MARKS  # type: ignore[attr-defined]  # every kind declares it
    names = {
        "kind": kind.__name__,
        "listKind": f"{kind.__name__}List",
        "plural": marks.plural,
        "singular": marks.singular,
        "shortNames": list(marks.short_names),
        "categories": ["kagenti"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{marks.plural}.{wellknown.GROUP}"},
        "spec": {
            "group": wellknown.GROUP,
            "scope": marks.scope,
            "names": names,
            "versions": [_version(kind, marks)],
        },
    }


def _version(kind: type[BaseModel], marks: KindMarks) -> JSON:
    version = {
        "name": wellknown.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": c.name, "type": c.type, "jsonPath": c.path, **({"priority": c.priority} if c.priority else {})}
            for c in marks.columns
        ],
        "schema": {"openAPIV3Schema": Generator(kind).root(marks, kind.__doc__ or "")},
    }
    if marks.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in marks.selectable]
    return version


def rendered() -> dict[str, str]:
    """Returns file name → content for every kind."""
    yaml = YAML(pure=True)
    yaml.width = 140
    yaml.default_flow_style = False
    yaml.allow_unicode = False
    yaml.representer.ignore_aliases = lambda *_: True
    files = {}
    for kind in KINDS:
        text = io.StringIO()
        document = crd(kind)
        yaml.dump(unambiguous(_escaped(document)), text)
        files[f"{document['metadata']['name']}.yaml"] = HEADER + text.getvalue()
    return files


def _escaped(node: JSON) -> JSON:
    """Returns a document whose texts beyond ASCII are written with escapes: YAML 1.1 breaks lines at U+2028."""
    if isinstance(node, dict):
        return {key: _escaped(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_escaped(child) for child in node]
    return DoubleQuotedScalarString(node) if isinstance(node, str) and not node.isascii() else node


def main() -> int:
    """Writes or checks the files; returns 1 on drift."""
    check, drifted = "--check" in sys.argv[1:], []
    for folder in FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in rendered().items():
            path = folder / name
            if path.exists() and path.read_text() == text:
                continue
            drifted.append(path)
            if not check:
                path.write_text(text)
                print(f"gen_crds: wrote {path.relative_to(ROOT)}")
    if check and drifted:
        names = ", ".join(str(path.relative_to(ROOT)) for path in drifted)
        print(f"gen_crds: drifted: {names}; run make crds and commit the result")
    return int(check and bool(drifted))


if __name__ == "__main__":
    sys.exit(main())
