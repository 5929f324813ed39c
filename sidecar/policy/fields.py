"""The checks that every field of the schema gets from its own rule, whichever message it is in.

In:      a message and its path.
Out:     problems in the Report: required fields that are missing, words that are not allowed, values out of
         bounds, empty items, control characters.
"""

from __future__ import annotations

import re

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from sidecar.policy.problems import Report, join
from sidecar.policy.rules import Kind, Rule, fields_of, is_written, rule_of
from sidecar.policy.units import MAX_NANOSECONDS, SECOND, nanoseconds_of

# Far above any real policy; bounds the checks that compare items with each other.
MAX_ITEMS = 1000

# Nothing in a config needs one, and in a header field, a path or a log line each would do harm.
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def check_fields(message: Message, path: str, report: Report) -> None:
    """Checks every field of `message`, and those of the messages in it."""
    for name, field in fields_of(message).items():
        rule, where = rule_of(field), join(path, name)
        value = getattr(message, name)
        if not is_written(message, field):
            if rule.required:
                report.problem(where, f"is missing or empty; expected {rule.expected}")
        elif field.is_repeated and len(value) > MAX_ITEMS:
            report.oversized = True
            report.problem(where, f"has {len(value)} items; expected at most {MAX_ITEMS}")
        elif rule.is_map:
            for key, item in sorted(value.items()):
                _check_text(key, f"{where}[{key}]", rule, report)
                _check_value(item, f"{where}[{key}]", rule, report)
        elif field.is_repeated:
            for place, item in enumerate(value):
                _check_value(item, f"{where}[{place}]", rule, report)
        else:
            _check_value(value, where, rule, report)


def _check_value(value: object, path: str, rule: Rule, report: Report) -> None:
    match value:
        case Duration():
            _check_duration(value, path, rule, report)
        case Message():
            check_fields(value, path, report)
            if rule.kind is Kind.SECRET and value.WhichOneof("source") is None:
                report.problem(path, f"is empty; expected {rule.expected}")
        case str():
            _check_text(value, path, rule, report)
        case bool():
            pass
        case int() | float():
            if fault := rule.fault(value):
                report.problem(path, fault)


def _check_text(text: str, path: str, rule: Rule, report: Report) -> None:
    if not text:
        report.problem(path, f"is empty; expected {rule.expected}")
    elif _CONTROL.search(text):
        report.problem(path, f"has a control character; expected {rule.expected}")
    elif fault := rule.fault(text):
        report.problem(path, fault)


def _check_duration(duration: Duration, path: str, rule: Rule, report: Report) -> None:
    length = nanoseconds_of(duration)
    if (
        abs(duration.nanos) >= SECOND
        or duration.seconds * duration.nanos < 0
        or abs(length) > MAX_NANOSECONDS
    ):
        report.problem(path, f"is no valid google.protobuf.Duration; expected {rule.expected}")
    elif fault := rule.fault(length):
        report.problem(path, fault)
