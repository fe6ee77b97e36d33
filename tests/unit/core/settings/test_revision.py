"""Canonical JSON: equal content, equal bytes, however it was written."""

from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core.settings import canonical

JSON = Any  # any JSON value

numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e15, 1e15))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8), st.sampled_from(("1.0", "1e5", "v2.0e")))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
)


def _slowly(value: JSON) -> JSON:
    """What the rule says, value by value."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _slowly(item) for key, item in sorted(value.items())}
    return [_slowly(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_is_the_rule_applied_to_each_value(value: JSON) -> None:
    """Also where floats hide in texts, and texts look like floats."""
    assert orjson.loads(canonical(value)) == _slowly(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1.0, "b": [2]}, {"b": (2.0,), "a": 1}),
        ({"rate": -0.0}, {"rate": 0}),
        ({"big": 1e16}, {"big": 10**16}),
        (MappingProxyType({"a": MappingProxyType({"b": 1.0})}), {"a": {"b": 1}}),
    ],
)
def test_equal_content_is_equal_bytes(one: JSON, other: JSON) -> None:
    """Revisions must not differ by the way a number or a container was made."""
    assert canonical(one) == canonical(other)


def test_different_content_is_not() -> None:
    """A text is not a number."""
    assert len({canonical(value) for value in ("1.0", 1.0, "1", [1], {"1": 1}, 0.1, True)}) == 7


@pytest.mark.parametrize("text", ["18446744073709551616", "-1e30", "9223372036854775808.0", "1e18"])
def test_numbers_of_any_size_have_a_form(text: str) -> None:
    """What comes from agents and annotations may hold any; a whole one is not made an integer that nobody can write."""
    assert canonical(orjson.loads(f'{{"n":{text},"m":1.0}}')).startswith(b'{"m":1,')
