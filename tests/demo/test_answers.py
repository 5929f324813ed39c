"""The OpenAI dialect of the simulated services."""

from __future__ import annotations

import json

import pytest

from sidecar.demo.answers import Ask, Kind, Writer, embedding, models, read_ask, text, word

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


def read(**fields: object) -> Ask | str:
    return read_ask(Kind.CHAT, json.dumps({**CHAT, **fields}).encode(), usual_tokens=24)


def test_a_request_is_read_with_its_defaults() -> None:
    """An SDK sends no more than model and messages."""
    ask = read()
    assert isinstance(ask, Ask)
    assert (ask.model, ask.stream, ask.tokens, ask.usage) == ("m", False, 24, False)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_length_of_an_answer_can_be_asked_for(name: str) -> None:
    """By the old name and by the new one."""
    ask = read(**{name: 7}, stream=True, stream_options={"include_usage": True})
    assert isinstance(ask, Ask)
    assert (ask.tokens, ask.stream, ask.usage) == (7, True, True)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "no JSON"),
        (b"[]", "`model`"),
        (b'{"messages": [1]}', "`model`"),
        (b'{"model": "m"}', "nothing to answer"),
        (b'{"model": "m", "messages": []}', "nothing to answer"),
        (b'{"model": "m", "messages": [1], "max_tokens": 0}', "`max_tokens`"),
        (b'{"model": "m", "messages": [1], "max_tokens": true}', "`max_tokens`"),
        (b'{"model": "m", "messages": [1], "max_tokens": 1e9}', "`max_tokens`"),
    ],
)
def test_a_request_that_cannot_be_answered_is_told_why(body: bytes, why: str) -> None:
    """A 400 without a reason costs somebody an hour."""
    problem = read_ask(Kind.CHAT, body, usual_tokens=24)
    assert isinstance(problem, str)
    assert why in problem


def test_the_words_of_a_stream_are_the_text_of_the_whole_answer() -> None:
    """So that whoever asked can tell a whole answer from a cut one."""
    assert "".join(word(n) for n in range(1, 100)) == text(99)
    assert len(text(99).split()) == 99


def test_a_whole_chat_answer_has_text_and_usage() -> None:
    """The shape that SDKs parse."""
    ask = read(max_tokens=3)
    assert isinstance(ask, Ask)
    answer = json.loads(Writer(ask, 1).whole())
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": text(3)}
    assert answer["usage"]["completion_tokens"] == 3


def test_a_completion_speaks_its_own_dialect() -> None:
    """`text` in place of messages and deltas."""
    ask = read_ask(Kind.TEXT, b'{"model": "m", "prompt": "one two", "max_tokens": 2}', usual_tokens=24)
    assert isinstance(ask, Ask)
    writer = Writer(ask, 1)
    assert json.loads(writer.whole())["choices"][0]["text"] == text(2)
    assert json.loads(writer.whole())["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": 2,
        "total_tokens": 4,
    }
    assert writer.role() == b""
    assert json.loads(writer.delta(1).removeprefix(b"data: "))["choices"][0]["text"] == word(1)


def test_embeddings_follow_from_their_texts() -> None:
    """One for each, the same at every run."""
    ask = read_ask(Kind.EMBEDDING, b'{"model": "m", "input": ["a", "b"]}', usual_tokens=24)
    assert isinstance(ask, Ask)
    data = json.loads(Writer(ask, 1).whole())["data"]
    assert [entry["embedding"] for entry in data] == [embedding("a"), embedding("b")]
    assert embedding("a") != embedding("b")


def test_models_are_listed_under_their_owner() -> None:
    """What a client lists first."""
    listed = json.loads(models(("m",), "vendor"))
    assert [(entry["id"], entry["owned_by"]) for entry in listed["data"]] == [("m", "vendor")]
