"""What OTLP's own messages say of a span or a resource."""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def attributes_of(what: Span | Resource) -> dict[str, object]:
    names = [attribute.key for attribute in what.attributes]
    assert len(set(names)) == len(names)
    return {attribute.key: _value(attribute.value) for attribute in what.attributes}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    assert kind is not None
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    found: object = getattr(value, kind)
    return found
