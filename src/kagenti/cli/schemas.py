"""Our kinds in files, checked as the API server would: against the generated schemas, then by the named checks."""

import functools
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from kagenti.cli.manifests import Document
from kagenti.core import definitions
from kagenti.core.selfchecks import check_object
from kagenti.errors import Defect, ManifestError

JSON = Any  # a CRD, a schema or a manifest

_LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the generated CRDs read the same as YAML 1.1 and 1.2, by a test


def _pattern(_: Any, pattern: str, value: JSON, __: JSON) -> Iterator[ValidationError]:  # Any: the validator itself
    """Patterns as Go reads them: ``$`` is the end, where Python's also matches before a final newline."""
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Validator = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]  # jsonschema
"""Checks a manifest against a generated schema as the API server does."""


@functools.cache
def texts() -> tuple[str, ...]:
    """Returns the generated CRDs as text: from the wheel, or from the checkout of an editable install."""
    packaged = resources.files("kagenti") / "crds"
    folder = Path(str(packaged)) if packaged.is_dir() else Path(__file__).resolve().parents[3] / "generated" / "crds"
    found = tuple(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml")))
    if not found:
        raise Defect("the generated CRDs are not in this installation")
    return found


@functools.cache
def _validator(kind: str) -> Any:  # Any: jsonschema gives its extended validators no type
    """Returns the validator of one kind, read by libyaml where it is there: in Python it would take a third of a second."""
    text = next(text for text in texts() if f"\n    kind: {kind}\n" in text)  # under spec.names
    return Validator(_read(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def packaged() -> dict[str, JSON]:
    """Returns the generated CRDs by their names."""
    return {crd["metadata"]["name"]: crd for crd in map(_read, texts())}


def _read(text: str) -> JSON:
    return yaml.load(text, _LOADER)  # noqa: S506  # a safe loader in either case


def check(document: Document, content: Mapping[str, JSON]) -> None:
    """Raises ManifestError with file, line, field and what to do for an object that the API server would refuse."""
    kind, name = content["kind"], (content.get("metadata") or {}).get("name", "")
    faults = sorted(_validator(kind).iter_errors(content), key=lambda fault: list(map(str, fault.absolute_path)))
    if faults:
        fault = faults[0]
        path = list(fault.absolute_path)
        where = document.at(path)
        raise ManifestError(
            f"{where}: {kind} {name!r} is invalid: {definitions.dotted(path) or 'the object'}: {fault.message}; correct it"
        )
    for path in definitions.unknown(_validator(kind).schema, content):
        where = document.at(path)
        raise ManifestError(
            f"{where}: {kind} {name!r} is invalid: {definitions.dotted(path)}: there is no such field; correct or remove it"
        )
    for finding in check_object(content):
        where = document.at(finding.path.split("."))
        raise ManifestError(f"{where}: {kind} {name!r} is invalid: {finding.path}: {finding.message}")
