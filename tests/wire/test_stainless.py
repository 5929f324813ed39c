"""How long the app's SDK is willing to wait."""

from __future__ import annotations

import pytest

from sidecar.wire.heads import RequestHead, parse_request_head
from sidecar.wire.stainless import patience


def told(*lines: str) -> float | None:
    block = "".join(f"{line}\r\n" for line in lines)
    head = parse_request_head(f"POST /v1/x HTTP/1.1\r\nHost: localhost\r\n{block}\r\n".encode())
    assert isinstance(head, RequestHead)
    return patience(head.fields)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("x-stainless-read-timeout: 600", 599.5),
        ("x-stainless-read-timeout: 0.25", 0.225),
        ("X-Stainless-Timeout: 60", 59.5),
    ],
)
def test_the_app_is_answered_half_a_second_or_a_tenth_before_its_sdk_gives_up(
    line: str, seconds: float
) -> None:
    """Python names the timeout of a read, Node that of the wait for an answer; both mean the same to us."""
    assert told("accept: */*", line) == seconds


def test_of_two_timeouts_the_shorter_one_counts() -> None:
    """Anthropic's Python SDK sends both, and gives up at whichever comes first."""
    assert told("x-stainless-timeout: 600", "x-stainless-read-timeout: 2.5") == 2.25
    assert told("x-stainless-timeout: 2.5", "x-stainless-read-timeout: 600") == 2.25


@pytest.mark.parametrize(
    "value", ["", "0", "0.0", "-1", "nan", "inf", "1e9", "NOT_GIVEN", "None", "1,2", "12345678901"]
)
def test_what_is_no_plain_number_above_zero_says_nothing(value: str) -> None:
    """A deadline in the past or at no time at all would refuse requests that nobody wants refused."""
    assert told(f"x-stainless-read-timeout: {value}") is None
    assert told(f"x-stainless-read-timeout: {value}", "x-stainless-timeout: 7") == 6.5


def test_an_app_without_such_fields_waits_as_long_as_it_takes() -> None:
    """curl and hand-written clients say nothing about their timeouts."""
    assert told("user-agent: curl/8.5.0") is None
