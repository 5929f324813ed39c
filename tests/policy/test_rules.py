"""The schema's own rules: complete, readable, and consistent with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from llmsidecar.v1 import schema_pb2
from llmsidecar.v1.config_pb2 import Config, Limits
from llmsidecar.v1.policy_pb2 import Policy, Route, Timeouts

from sidecar.policy.check import check_policy
from sidecar.policy.rules import Kind, field_of, fields_of, is_written, items_of, kind_of, rule_of, value_of


def schema_fields(message: Message) -> Iterator[FieldDescriptor]:
    """Every field that a config file may name."""
    for field in fields_of(message).values():
        yield field
        if kind_of(field) in (Kind.MESSAGE, Kind.SECRET) and field.message_type is not None:
            yield from schema_fields(GetMessageClass(field.message_type)())


FIELDS = {field.full_name: field for field in schema_fields(Config())}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_every_field_has_a_rule_or_is_a_message(field: FieldDescriptor) -> None:
    """A field without a rule has neither default nor bounds, and its messages cannot say what was expected."""
    extensions: Any = field.GetOptions()
    assert kind_of(field) in (Kind.MESSAGE, Kind.SECRET) or extensions.HasExtension(schema_pb2.rule)


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_every_rule_agrees_with_itself(field: FieldDescriptor) -> None:
    """A default out of its own bounds would refuse every policy that leaves the field out."""
    rule = rule_of(field)
    assert rule.expected != "a value" or (rule.kind is Kind.MESSAGE and not rule.required)
    assert rule.default is None or rule.fault(rule.default) is None
    if rule.kind in (Kind.WHOLE, Kind.NUMBER, Kind.DURATION):
        assert rule.minimum is not None
        assert rule.maximum is not None


def test_what_is_written_holds_else_the_default() -> None:
    timeouts = Timeouts()
    assert value_of(timeouts, "first_packet") == 30 * 10**9
    timeouts.first_packet.FromMilliseconds(200)
    assert value_of(timeouts, "first_packet") == 200_000_000
    assert value_of(Limits(), "max_header") == 65536
    assert value_of(Limits(max_header=0), "max_header") == 0, "an explicit zero is written"
    assert value_of(Route(), "deadline") is None


def test_a_list_that_is_not_written_has_its_default_items() -> None:
    assert items_of(Config(), "listen") == ("unix:/run/llm-sidecar/llm.sock", "127.0.0.1:8800")
    assert items_of(Config(listen=["127.0.0.1:0"]), "listen") == ("127.0.0.1:0",)
    assert not is_written(Config(), field_of(Config(), "hosts"))


def test_values_are_shown_as_they_are_written() -> None:
    limits = rule_of(field_of(Limits(), "max_header"))
    assert limits.expected == "a number from 1KiB to 1MiB"
    assert limits.fault(2 << 20) == "is 2MiB; expected a number from 1KiB to 1MiB"
    timeout = rule_of(field_of(Timeouts(), "connect"))
    assert timeout.fault(-(10**9)) == "is -1s; expected a duration from 1ms to 10m"


def test_an_empty_policy_is_missing_both_of_its_lists() -> None:
    assert [str(problem) for problem in check_policy(Policy()).problems] == [
        "policy.services: is missing or empty; expected at least one service",
        "policy.routes: is missing or empty; expected at least one route",
    ]
