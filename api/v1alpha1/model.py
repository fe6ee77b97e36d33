"""The base of every model: frozen, strict, camelCase outside, unknown keys dropped as the API server prunes them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A frozen object of the API; field names are the API's words in snake case."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_null(cls, data: Any) -> Any:  # Any: pydantic hands over the undecoded input
        """Refuses an explicit null, as the API server does for fields that are not nullable."""
        if isinstance(data, dict):
            for key, value in data.items():
                if value is None:
                    raise ValueError(f"{key} is null; leave the field out instead")
        return data
