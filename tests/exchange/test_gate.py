"""The gate: what it holds back, and what it finds out once for heads that are alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange.gate import MOST_KNOWN, OPEN, Gate, Terms
from sidecar.failure import Failure, FailureKind
from sidecar.wire.dialect import Shape
from sidecar.wire.head_cache import ResponseHeads

BODY = b'{"choices": []}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n"
ANSWER = HEAD % len(BODY) + BODY


def terms(method: str = "POST", heads: ResponseHeads | None = None) -> Terms:
    return Terms(
        method=method,
        shape=Shape.CHAT,
        stream=False,
        first_packet_is=None,
        complete=False,
        own_credential=False,
        fallback_on=frozenset(("5xx", "in_stream_error")),
        heads=heads or ResponseHeads(),
    )


def test_an_answer_that_comes_whole_opens_at_once_and_leaves_its_connection_usable() -> None:
    gate = Gate(terms())
    assert gate.feed(ANSWER) is OPEN
    assert (gate.body(), gate.length, gate.is_complete, gate.exactly_framed) == (BODY, len(BODY), True, True)


@given(cut=st.integers(min_value=1, max_value=len(ANSWER) - 1))
def test_split_anywhere_it_is_the_same_answer(cut: int) -> None:
    """The quick way for whole answers and the walker's way must not tell different things."""
    gate = Gate(terms())
    assert gate.feed(ANSWER[:cut]) is None
    assert gate.feed(ANSWER[cut:]) is OPEN
    assert (gate.body(), gate.length, gate.is_complete, gate.exactly_framed) == (BODY, len(BODY), True, True)


def test_bytes_behind_the_answer_poison_the_connection() -> None:
    gate = Gate(terms())
    assert gate.feed(ANSWER + b"HTTP/1.1 200 OK") is OPEN
    assert (gate.body(), gate.exactly_framed) == (BODY, False)


def test_an_error_object_inside_a_200_that_comes_whole_is_found() -> None:
    body = b'{"error": {"message": "no"}}'
    result = Gate(terms()).feed(HEAD % len(body) + body)
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.IN_STREAM_ERROR


@pytest.mark.parametrize(("before", "found"), [(4096 - 8, True), (4096 - 7, False)])
def test_an_error_object_is_looked_for_in_the_beginning(before: int, found: bool) -> None:
    """A long answer is no error: it is not searched to its end."""
    body = b'{"x": "'.ljust(before - 2, b"x") + b'", "error": {"message": "no"}}'
    assert body.index(b'"error"') == before + 1
    result = Gate(terms()).feed(HEAD % len(body) + body)
    assert isinstance(result, Failure) is found


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_what_has_no_body_is_not_given_one(status: str) -> None:
    """Whatever its length says: bytes behind it are somebody else's."""
    gate = Gate(terms())
    gate.feed(f"HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nxx".encode())
    assert (gate.body(), gate.exactly_framed) == (b"", False)


def test_the_answer_to_head_has_no_body() -> None:
    gate = Gate(terms("HEAD"))
    assert gate.feed(HEAD % 2) is OPEN
    assert (gate.body(), gate.length) == (b"", 2)


def test_a_head_that_came_before_is_recognised_with_another_length() -> None:
    of_all = terms()
    for size in (1, 22, 333, 4):
        gate = Gate(of_all)
        assert gate.feed(HEAD % size + b"x" * size) is OPEN
        assert (gate.length, gate.body()) == (size, b"x" * size)
    assert of_all.likely is not None


def test_however_many_methods_an_app_invents_little_is_remembered() -> None:
    heads = ResponseHeads()
    for number in range(3 * MOST_KNOWN):
        gate = Gate(terms(f"M{number}", heads))
        assert gate.feed(ANSWER) is OPEN
    assert gate.head is not None
    assert len(gate.head.memo) <= MOST_KNOWN
