"""Messages as plain dicts and lists, in the form of the config file: for YAML and for JSON.

Out:     durations as `200ms`, timestamps as RFC 3339 in UTC, enums by their short word in lower case,
         numbers as numbers. Only what is set, or with `complete` also the zeros.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sidecar.policy.rules import field_of, is_map
from sidecar.policy.units import nanoseconds_of, write_duration


def plain(message: Message, *, complete: bool = False) -> dict[str, Any]:
    """The message's fields by name, in the order of the schema."""
    return {
        field.name: _field(field, getattr(message, field.name), complete=complete)
        for field in (field_of(message, name) for name in message.DESCRIPTOR.fields_by_name)
        if _is_shown(field, message, complete=complete)
    }


def _is_shown(field: FieldDescriptor, message: Message, *, complete: bool) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    return complete or bool(getattr(message, field.name))


def _field(field: FieldDescriptor, value: Any, *, complete: bool) -> Any:
    if is_map(field):
        return {key: value[key] for key in sorted(value)}
    if field.is_repeated:
        return [_value(field, item, complete=complete) for item in value]
    return _value(field, value, complete=complete)


def _value(field: FieldDescriptor, value: Any, *, complete: bool) -> Any:
    match value:
        case Duration():
            return write_duration(nanoseconds_of(value))
        case Timestamp():
            return value.ToJsonString()
        case Message():
            return plain(value, complete=complete)
        case float() if value.is_integer():
            return int(value)
        case int() if field.enum_type is not None:
            return _word(field, value)
        case _:
            return value


def _word(field: FieldDescriptor, number: int) -> Any:
    assert field.enum_type is not None
    known = field.enum_type.values_by_number.get(number)
    if known is None:
        return number  # of a newer daemon
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
    return known.name.removeprefix(prefix).lower()
