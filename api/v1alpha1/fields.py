"""The layered block as a flat table, path to marks: read from the models, so that there is one source."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel

from .marks import Mark
from .settings import RuntimeSettings


@dataclass(frozen=True, slots=True)
class LayeredField:
    """One leaf of the layered block: its dotted camelCase path, its marks, and the model's field that it is."""

    path: str
    keys: tuple[str, ...]
    mark: Mark
    model: type[BaseModel]
    name: str


def _model_in(annotation: Any) -> type[BaseModel] | None:  # Any: typing constructs have no common type
    """Returns the model behind ``X | None`` or Annotated, or None when the annotation is a leaf."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return _model_in(get_args(annotation)[0])
    if get_origin(annotation) in (types.UnionType, typing.Union):
        for option in get_args(annotation):
            found = _model_in(option)
            if found is not None:
                return found
    return None


def _leaves(model: type[BaseModel], keys: tuple[str, ...] = ()) -> Iterator[LayeredField]:
    for name, field in model.model_fields.items():
        path = (*keys, field.alias or name)
        mark = next((item for item in field.metadata if isinstance(item, Mark)), None)
        nested = _model_in(field.annotation)
        if mark is not None:
            yield LayeredField(".".join(path), path, mark, model, name)
        elif nested is not None:
            yield from _leaves(nested, path)
        else:
            raise TypeError(f"layered field {'.'.join(path)} carries no Mark")


LAYERED_FIELDS: Final[Mapping[str, LayeredField]] = {field.path: field for field in _leaves(RuntimeSettings)}
"""Every leaf of the layered block by its path."""

SETTING_PATHS: Final[frozenset[str]] = frozenset(
    ".".join(field.keys[:depth]) for field in LAYERED_FIELDS.values() for depth in range(1, len(field.keys) + 1)
)
"""Every path of the layered block: leaves and the subtrees above them."""

LOCKABLE_PATHS: Final[frozenset[str]] = frozenset(
    path
    for path in SETTING_PATHS
    if any(
        field.mark.lockable and (field.path == path or field.path.startswith(f"{path}."))
        for field in LAYERED_FIELDS.values()
    )
)
"""Every path that ``policy.locked`` may name: lockable leaves and the subtrees above them."""

DELEGABLE_PATHS: Final[frozenset[str]] = frozenset(
    path
    for path in SETTING_PATHS
    if any(
        field.mark.authority == "cluster" and (field.path == path or field.path.startswith(f"{path}."))
        for field in LAYERED_FIELDS.values()
    )
)
"""Every path that ``policy.delegated`` may name: cluster-only leaves and the subtrees above them."""
