"""The rules that the schema gives its fields: the `(rule)` option of the .proto files, read once.

In:      field descriptors of llmsidecar.v1.Config and everything below it.
Out:     Rule (default, bounds, allowed words, unit); scalars read from text, shown as text, or taken from a
         message with the default filled in. The file, the admin API and the state folder all go through here.
Units:   a Duration is whole nanoseconds here, a size whole bytes, a percentage 0 to 100.
Errors:  BadValue from read_scalar; a rule that cannot be read is a bug of the schema and raises at once.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from llmsidecar.v1 import schema_pb2

from sidecar.frozen import Frozen
from sidecar.policy import units
from sidecar.policy.problems import did_you_mean, quote
from sidecar.policy.units import BadValue

Value = int | float | str | bool

_WHOLE_TYPES = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)


class Kind(Enum):
    """What a single value of a field is, seen by whoever writes it."""

    TEXT = "text"
    FLAG = "flag"
    WHOLE = "whole"
    NUMBER = "number"
    DURATION = "duration"
    SECRET = "secret"
    MESSAGE = "message"


class Rule(Frozen):
    """How one field may be written, with its texts already read."""

    field: FieldDescriptor
    kind: Kind
    is_map: bool
    unit: int
    default: Value | None
    default_items: tuple[str, ...]
    minimum: Value | None
    maximum: Value | None
    one_of: tuple[str, ...]
    required: bool
    expected: str

    def fault(self, value: Value) -> str | None:
        """What is wrong with a value of the right type: a word that is not allowed, or out of bounds."""
        if self.one_of and value not in self.one_of:
            word = str(value)
            return f"{quote(word)} is not known; expected {self.expected}{did_you_mean(word, self.one_of)}"
        if isinstance(value, str):
            return None
        if value != value or (isinstance(self.minimum, int | float) and value < self.minimum):
            return f"is {self.show(value)}; expected {self.expected}"
        if isinstance(self.maximum, int | float) and value > self.maximum:
            return f"is {self.show(value)}; expected {self.expected}"
        return None

    def show(self, value: Value) -> str:
        """The value in the words of the config file."""
        return _show(self.kind, self.unit, value)


def kind_of(field: FieldDescriptor) -> Kind:
    """The kind of a field's single value; for a map, of the values it maps to."""
    if is_map(field):
        assert field.message_type is not None
        return kind_of(field.message_type.fields_by_name["value"])
    if field.message_type is not None:
        special = {"google.protobuf.Duration": Kind.DURATION, "llmsidecar.v1.Secret": Kind.SECRET}
        return special.get(field.message_type.full_name, Kind.MESSAGE)
    if field.cpp_type in _WHOLE_TYPES:
        return Kind.WHOLE
    kinds = {
        FieldDescriptor.CPPTYPE_STRING: Kind.TEXT,
        FieldDescriptor.CPPTYPE_BOOL: Kind.FLAG,
        FieldDescriptor.CPPTYPE_DOUBLE: Kind.NUMBER,
    }
    return kinds[field.cpp_type]


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@cache
def rule_of(field: FieldDescriptor) -> Rule:
    """The rule of a field; a field without the option has one that allows everything of its type."""
    written: schema_pb2.FieldRule = cast(Any, field.GetOptions()).Extensions[schema_pb2.rule]
    kind, unit = kind_of(field), int(written.unit)

    def read(text: str) -> Value | None:
        return _read(kind, unit, text) if text else None

    minimum, maximum = read(written.minimum), read(written.maximum)
    return Rule(
        field=field,
        kind=kind,
        is_map=is_map(field),
        unit=unit,
        default=read(written.default_value),
        default_items=tuple(written.default_items),
        minimum=minimum,
        maximum=maximum,
        one_of=tuple(written.one_of),
        required=written.required,
        expected=written.expected or _expected(kind, unit, tuple(written.one_of), minimum, maximum),
    )


def read_scalar(field: FieldDescriptor, text: str) -> Value:
    """The value that `text` stands for in this field; raises BadValue."""
    rule = rule_of(field)
    return _read(rule.kind, rule.unit, text)


def fields_of(message: Message) -> dict[str, FieldDescriptor]:
    """The fields of a message's type by name, in the order of the schema."""
    return {field.name: cast(FieldDescriptor, field) for field in message.DESCRIPTOR.fields}


def field_of(message: Message, name: str) -> FieldDescriptor:
    return cast(FieldDescriptor, message.DESCRIPTOR.fields_by_name[name])


def is_written(message: Message, field: FieldDescriptor) -> bool:
    """Whether the message says anything about the field; an empty list, map or plain text says nothing."""
    return message.HasField(field.name) if field.has_presence else bool(getattr(message, field.name))


def value_of(message: Message, name: str) -> Value | None:
    """What holds for a single value: what is written, else the default, else None."""
    field = field_of(message, name)
    rule = rule_of(field)
    if not is_written(message, field):
        return rule.default
    value = getattr(message, name)
    return units.nanoseconds_of(value) if rule.kind is Kind.DURATION else value


def items_of(message: Message, name: str) -> tuple[str, ...]:
    """What holds for a list of texts: what is written, else the default."""
    return tuple(getattr(message, name)) or rule_of(field_of(message, name)).default_items


def _read(kind: Kind, unit: int, text: str) -> Value:
    match kind:
        case Kind.TEXT:
            return text
        case Kind.FLAG:
            if text not in ("true", "false"):
                raise BadValue(f"{quote(text)} is no yes or no; expected true or false")
            return text == "true"
        case Kind.DURATION:
            return units.read_duration(text)
        case Kind.WHOLE if unit == schema_pb2.UNIT_PERCENT:
            return units.read_whole_percent(text)
        case Kind.WHOLE if unit == schema_pb2.UNIT_BYTES:
            return units.read_size(text)
        case Kind.WHOLE:
            return units.read_whole(text)
        case Kind.NUMBER if unit == schema_pb2.UNIT_PERCENT:
            return units.read_percent(text)
        case Kind.NUMBER:
            return units.read_number(text)
        case Kind.SECRET | Kind.MESSAGE:
            raise AssertionError(f"a {kind.value} is no scalar")


def _show(kind: Kind, unit: int, value: Value) -> str:
    if kind is Kind.DURATION and isinstance(value, int):
        return units.write_duration(value) if value >= 0 else f"-{units.write_duration(-value)}"
    if unit == schema_pb2.UNIT_BYTES and isinstance(value, int):
        return units.write_size(value)
    if unit == schema_pb2.UNIT_PERCENT:
        return f"{value:g}%"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _expected(
    kind: Kind, unit: int, one_of: tuple[str, ...], minimum: Value | None, maximum: Value | None
) -> str:
    if one_of:
        return " or ".join(filter(None, (", ".join(one_of[:-1]), one_of[-1])))
    if minimum is not None and maximum is not None:
        nouns = {Kind.DURATION: "a duration from", Kind.NUMBER: "a number from", Kind.WHOLE: "a number from"}
        return f"{nouns[kind]} {_show(kind, unit, minimum)} to {_show(kind, unit, maximum)}"
    return {Kind.FLAG: "true or false", Kind.SECRET: "{env: NAME} or {file: PATH}"}.get(kind, "a value")
