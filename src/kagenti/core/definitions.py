"""CRDs of two versions side by side: which fields one of them lacks, and which fields of an object a schema does not know.

An upgrade begins with the CRDs, since helm never upgrades those of a chart; a rollback leaves them as they are. So either
side may be the older one for a while.
"""

from collections.abc import Iterator, Mapping
from typing import Any

JSON = Any  # a CRD, a structural schema or a manifest
Path = list[str | int]


def schema_of(definition: Mapping[str, JSON], version: str) -> Mapping[str, JSON]:
    """Returns a CRD's structural schema of one version; empty where it does not have that version."""
    for found in definition["spec"]["versions"]:
        if found["name"] == version:
            schema: Mapping[str, JSON] = (found.get("schema") or {}).get("openAPIV3Schema") or {}
            return schema
    return {}


def selectable(definition: Mapping[str, JSON], version: str) -> tuple[str, ...]:
    """Returns the paths by which objects of one version can be selected, as the CRD writes them: ``.spec.type``."""
    versions = (found for found in definition["spec"]["versions"] if found["name"] == version)
    return tuple(field["jsonPath"] for found in versions for field in found.get("selectableFields") or ())


def lacking(schema: Mapping[str, JSON], other: Mapping[str, JSON]) -> list[str]:
    """Returns the fields of another schema that this one lacks, as dotted paths: the topmost of each branch."""
    return [dotted(path) for path in _lacking(schema, other, [])]


def _lacking(schema: Mapping[str, JSON], other: Mapping[str, JSON], path: Path) -> Iterator[Path]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    mine = schema.get("properties") or {}
    for key, theirs in (other.get("properties") or {}).items():
        if key in mine:
            yield from _lacking(mine[key], theirs, [*path, key])
        else:
            yield [*path, key]
    for key in ("items", "additionalProperties"):
        inner, theirs = schema.get(key), other.get(key)
        if isinstance(inner, Mapping) and isinstance(theirs, Mapping):
            yield from _lacking(inner, theirs, path)


def unknown(schema: Mapping[str, JSON], value: JSON) -> Iterator[Path]:
    """Yields the path of every field of a manifest that a structural schema does not name.

    The API server prunes them, and refuses them where it is asked to be strict (Kubernetes: field validation).
    """
    yield from _unknown(schema, value, [])


def _unknown(schema: Mapping[str, JSON], value: JSON, path: Path) -> Iterator[Path]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(schema.get("items") or {}, item, [*path, index])
        return
    named = schema.get("properties")
    if not isinstance(value, Mapping) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    for key, item in value.items():
        inner = (named or {}).get(key) or schema.get("additionalProperties")
        if isinstance(inner, Mapping):
            yield from _unknown(inner, item, [*path, key])
        elif named is not None:
            yield [*path, key]


def dotted(path: Path) -> str:
    """Returns a path as the API server writes it: ``spec.rules[0].host``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")
