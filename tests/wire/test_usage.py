"""Token counts of an answer that is no stream."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.usage import TAIL, usage_of_answer


def answer(usage: object, *, text: str = "hi") -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}, (3, 5)),
        ({"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 9}, (3, 5)),
        ({"cache_creation_input_tokens": 7, "input_tokens": 3, "output_tokens": 5}, (3, 5)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            (3, 5),
        ),
        ({"input_tokens": 0, "output_tokens": 0, "prompt_tokens": 3, "completion_tokens": 5}, (3, 5)),
        ({"prompt_tokens": 3, "completion_tokens": 5, "input_tokens": 0, "output_tokens": 0}, (3, 5)),
        ({"prompt_tokens": None, "input_tokens": 3, "completion_tokens": None, "output_tokens": 5}, (3, 5)),
        ({"prompt_tokens": 3, "completion_tokens": 5, "details": {"prompt_tokens": 1}}, (3, 5)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, None)),
        ({"completion_tokens": 0}, (None, 0)),
        ({"prompt_tokens": "many", "completion_tokens": None}, (None, None)),
        ({"prompt_tokens": -1}, (None, None)),
        ({}, (None, None)),
        (None, (None, None)),
    ],
)
def test_both_dialects_are_read(usage: object, expected: tuple[int | None, int | None]) -> None:
    assert usage_of_answer(answer(usage)) == expected


def test_spaces_do_not_matter() -> None:
    assert usage_of_answer(b'{"usage" : {"prompt_tokens"\t:\r\n 3 , "completion_tokens" :5}}') == (3, 5)


def test_what_the_answer_says_of_usage_is_not_taken_for_it() -> None:
    said = '"usage": {"prompt_tokens": 1, "completion_tokens": 2}'
    assert usage_of_answer(answer({"prompt_tokens": 3, "completion_tokens": 5}, text=said)) == (3, 5)
    assert usage_of_answer(json.dumps({"choices": [{"message": {"content": said}}]}).encode()) == (None, None)


def test_only_the_end_is_looked_at() -> None:
    usage = b'{"usage": {"prompt_tokens": 3}, "text": "%b"}'
    assert usage_of_answer(usage % (b"x" * (TAIL // 2))) == (3, None)
    assert usage_of_answer(usage % (b"x" * TAIL)) == (None, None)


NAMES = [b'"prompt_tokens"', b'"completion_tokens"', b'"input_tokens"', b'"output_tokens"', b'"total_tokens"']
NUMBERS = [b"0", b"7", b"12", b"123456789012", b"1234567890123", b"0" * 20 + b"5", b"null", b"-1", b"1.5"]
BITS = [
    b":",
    b" ",
    b"\t",
    b"\r\n",
    b"\v",
    b"\f",
    b",",
    b"{",
    b"}",
    b'"',
    b'\\"',
    b"\x85",
    b"\xff",
    b"_tokens",
]
MEMBERS = st.tuples(
    st.sampled_from(NAMES), st.sampled_from([b":", b": ", b" :\n", b""]), st.sampled_from(NUMBERS)
)
PIECES = st.one_of(
    MEMBERS.map(b"".join),
    st.sampled_from(
        [*NAMES, *NUMBERS, *BITS, b'"usage"', b'"usage":{', b'prompt_tokens":1', b"u" * 480, b"x" * TAIL]
    ),
)
COUNT = re.compile(rb'"(prompt|input|completion|output)_tokens"\s*:\s*(\d{1,12})')


@given(st.lists(PIECES, max_size=4), st.booleans(), st.lists(PIECES, max_size=10))
def test_whatever_stands_there_the_first_of_each_name_counts(
    front: list[bytes], named: bool, back: list[bytes]
) -> None:
    """As a regex finds them that looks through everything behind the last `usage` of the tail."""
    body = b"".join([*front, b'"usage"' if named else b"", *back])
    start = body.rfind(b'"usage"', -TAIL)
    found: dict[bytes, int] = {}
    for name, count in COUNT.findall(body, start) if start >= 0 else ():
        found.setdefault(name, int(count))
    expected = found.get(b"prompt", found.get(b"input")), found.get(b"completion", found.get(b"output"))
    assert usage_of_answer(body) == expected
