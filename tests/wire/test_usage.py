"""Token counts of an answer that is no stream."""

from __future__ import annotations

import json

import pytest

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
