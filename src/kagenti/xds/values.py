"""Values in JSON form → fields of a protobuf message; knows protobuf's own types, no message of Envoy's.

The rules are those of ProtoJSON (protobuf.dev/programming-guides/json), as far as configuration uses them. What
protobuf itself refuses (text for a number, a number out of range) it refuses here too, with TypeError or ValueError.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

JSON = Any  # a value of a nested dict
Target = Any  # a message: fields are set by name, which no type can describe
Fill = Callable[[Target, JSON], None]
"""Takes a message and what it is to hold."""

_DURATION: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")
_WIDE: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})


class Fault(Exception):
    """Something is wrong in a value; the path grows while the fault goes up."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason: Final = reason
        self.path: Final = path

    def inside(self, place: str) -> "Fault":
        """Returns the fault as seen from outside: ``place`` is a field name or "[index]"."""
        return Fault(self.reason, place + ("" if self.path[:1] in ("", "[") else ".") + self.path)


def scalar(field: FieldDescriptor) -> Callable[[JSON], JSON] | None:
    """Returns what turns JSON into a value of this field; None where protobuf takes it as it is."""
    if field.enum_type is not None:
        return _enum({name: value.number for name, value in field.enum_type.values_by_name.items()})
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes
    return _wide if field.cpp_type in _WIDE else None


def key(field: FieldDescriptor) -> Callable[[str], JSON] | None:
    """Returns what turns the text that every key is in JSON into one of this map; None where it stays text."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return None
    return _FLAGS.__getitem__ if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else int


def fill_struct(message: Target, value: JSON) -> None:
    """Fills a google.protobuf.Struct."""
    fields = message.fields
    for name, item in value.items():
        fill_value(fields[name], item)


def fill_value(message: Target, value: JSON) -> None:
    """Fills a google.protobuf.Value; takes any JSON, null too."""
    fill = _BY_KIND.get(type(value))
    if fill is None:
        raise Fault(f"want JSON, not {value!r:.60}")
    fill(message, value)


def _fill_list(message: Target, value: JSON) -> None:
    add = message.values.add
    for item in value:
        fill_value(add(), item)


def _fill_plain(message: Target, value: JSON) -> None:
    message.value = value


def _fill_wide(message: Target, value: JSON) -> None:
    message.value = _wide(value)


def _fill_bytes(message: Target, value: JSON) -> None:
    message.value = _bytes(value)


def _fill_text_form(message: Target, value: JSON) -> None:
    message.FromJsonString(value)


def _fill_duration(message: Target, value: JSON) -> None:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Fault(f'want a duration like "0.25s", not {value!r:.60}')
    sign = -1 if match[1] else 1
    message.seconds = sign * int(match[2])
    if match[3]:
        message.nanos = sign * int(match[3].ljust(9, "0"))


def _enum(numbers: Mapping[str, int]) -> Callable[[JSON], int]:
    def number(value: JSON) -> int:
        found = numbers.get(value) if isinstance(value, str) else value
        if not isinstance(found, int):
            raise Fault(f"{value!r:.60} is none of {sorted(numbers)}"[:300])
        return found

    return number


def _bytes(value: JSON) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError) as error:
        raise Fault(f"want bytes in base64: {error}") from error


def _wide(value: JSON) -> JSON:
    """ProtoJSON writes 64-bit numbers as text."""
    return int(value) if isinstance(value, str) else value


def _set(name: str) -> Fill:
    return lambda message, value: setattr(message, name, value)


_FLAGS: Final = {"true": True, "false": False}
_BY_KIND: Final[Mapping[type, Fill]] = {
    str: _set("string_value"),
    bool: _set("bool_value"),
    int: _set("number_value"),
    float: _set("number_value"),
    type(None): lambda message, _: setattr(message, "null_value", 0),
    dict: lambda message, value: _fill_kind(message.struct_value, value, fill_struct),
    list: lambda message, value: _fill_kind(message.list_value, value, _fill_list),
    tuple: lambda message, value: _fill_kind(message.list_value, value, _fill_list),
}


def _fill_kind(part: Target, value: JSON, fill: Fill) -> None:
    part.SetInParent()  # else an empty one would not be there
    fill(part, value)


WELL_KNOWN: Final[Mapping[str, Fill]] = {
    "google.protobuf.BoolValue": _fill_plain,
    "google.protobuf.BytesValue": _fill_bytes,
    "google.protobuf.DoubleValue": _fill_plain,
    "google.protobuf.Duration": _fill_duration,
    "google.protobuf.FieldMask": _fill_text_form,
    "google.protobuf.FloatValue": _fill_plain,
    "google.protobuf.Int32Value": _fill_plain,
    "google.protobuf.Int64Value": _fill_wide,
    "google.protobuf.ListValue": _fill_list,
    "google.protobuf.StringValue": _fill_plain,
    "google.protobuf.Struct": fill_struct,
    "google.protobuf.Timestamp": _fill_text_form,
    "google.protobuf.UInt32Value": _fill_plain,
    "google.protobuf.UInt64Value": _fill_wide,
    "google.protobuf.Value": fill_value,
}
"""Types with a JSON form of their own; Any, which holds other messages, is not among them."""
