"""The base of every model: frozen, strict, camelCase outside, unknown keys dropped as the API server prunes them."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Cel:
    """One CEL rule of a schema node: what must hold, and what is said when it does not."""

    rule: str
    message: str
    field_path: str = ""


SET: Final = {"x-kubernetes-list-type": "set"}
"""Marks a list whose items are unique; the API server refuses duplicates."""

ATOMIC: Final = {"x-kubernetes-map-type": "atomic"}
"""Marks a map that is written as a whole: managedFields name the map, not every key in it."""

T = TypeVar("T", bound=Hashable)


def refuse_duplicates(items: list[T]) -> list[T]:
    """Returns the list; raises ValueError for an item that stands in it twice, as the API server does for sets."""
    if len(set(items)) != len(items):
        raise ValueError("an item stands in the list twice")
    return items


class Model(BaseModel):
    """A frozen object of the API; field names are the API's words in snake case."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=False,
        protected_namespaces=(),
        defer_build=True,  # a process or command builds the validators of what it validates, not of all kinds
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_null(cls, data: Any) -> Any:  # Any: pydantic hands over the undecoded input
        """Refuses an explicit null, as the API server does for fields that are not nullable."""
        if isinstance(data, dict):
            for name, field in cls.model_fields.items():
                key = field.alias or name
                if key in data and data[key] is None:
                    raise ValueError(f"{key} is null; leave the field out instead")
        return data
