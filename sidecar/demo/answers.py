"""The OpenAI dialect as a simulated LLM service speaks it: what is asked, and the bytes of every answer.

In:      path and body of a request.
Out:     an Ask, or why it is none; JSON bodies and SSE events.
Rule:    the text of an answer follows from its number of tokens, one word each: so whoever asked can tell
         whether it came whole.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, NamedTuple

SPEECH = (
    "a sidecar waits beside the app and listens for the first word of every answer because "
    "a word that comes too late is the earliest sign of trouble and there is somebody else to ask"
)
WORDS = SPEECH.split()
MOST_TOKENS = 4096
DONE = b"data: [DONE]\n\n"
CREATED = 1_700_000_000  # a fixed moment: answers are the same at every run


class Kind(StrEnum):
    CHAT = "chat.completion"
    TEXT = "text_completion"
    EMBEDDING = "embedding"


PATHS = {
    "/v1/chat/completions": Kind.CHAT,
    "/v1/completions": Kind.TEXT,
    "/v1/embeddings": Kind.EMBEDDING,
}


class Ask(NamedTuple):
    """A request for work."""

    kind: Kind
    model: str
    stream: bool
    tokens: int  # to compute; 1 for an embedding
    usage: bool  # the stream shall end with its usage
    inputs: tuple[str, ...]  # the prompt, or the texts to embed


def read_ask(kind: Kind, body: bytes, usual_tokens: int) -> Ask | str:
    """What a body asks for; a string says what is wrong with it."""
    try:
        asked = json.loads(body)
    except ValueError:
        return "the body is no JSON"
    if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
        return "`model` is missing; expected a string"
    inputs = _inputs(kind, asked)
    if not inputs:
        return "there is nothing to answer: no messages, prompt or input"
    if kind is Kind.EMBEDDING:
        return Ask(kind, asked["model"], stream=False, tokens=1, usage=False, inputs=inputs)
    tokens = asked.get("max_completion_tokens", asked.get("max_tokens"))
    if tokens is None:
        tokens = usual_tokens
    if type(tokens) is not int or not 1 <= tokens <= MOST_TOKENS:
        return f"`max_tokens` is out of range; expected 1 to {MOST_TOKENS}"
    options = asked.get("stream_options")
    usage = isinstance(options, dict) and options.get("include_usage") is True
    return Ask(kind, asked["model"], asked.get("stream") is True, tokens, usage, inputs)


def _inputs(kind: Kind, asked: dict[str, Any]) -> tuple[str, ...]:
    if kind is Kind.CHAT:
        messages = asked.get("messages")
        return tuple(json.dumps(m) for m in messages) if isinstance(messages, list) else ()
    given = asked.get("input" if kind is Kind.EMBEDDING else "prompt")
    return (given,) if isinstance(given, str) else tuple(map(str, given)) if isinstance(given, list) else ()


def word(number: int) -> str:
    """The token of this number, from 1; with a space before it but for the first."""
    return (" " if number > 1 else "") + WORDS[(number - 1) % len(WORDS)]


def text(tokens: int) -> str:
    """A whole answer."""
    return "".join(map(word, range(1, tokens + 1)))


class Writer:
    """Writes the answer to one Ask."""

    __slots__ = ("_ask", "_id")

    def __init__(self, ask: Ask, number: int) -> None:
        self._ask = ask
        self._id = f"sim-{number}"

    def role(self) -> bytes:
        """The event that says nothing but who speaks; completions have none."""
        if self._ask.kind is Kind.TEXT:
            return b""
        return self._event(
            [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
        )

    def delta(self, number: int) -> bytes:
        """The event of one token."""
        said = word(number)
        part = {"text": said} if self._ask.kind is Kind.TEXT else {"delta": {"content": said}}
        return self._event([{"index": 0, **part, "finish_reason": None}])

    def closing(self) -> bytes:
        """The events after the last token."""
        part: dict[str, Any] = {"text": ""} if self._ask.kind is Kind.TEXT else {"delta": {}}
        last = self._event([{"index": 0, **part, "finish_reason": "stop"}])
        usage = self._event([], usage=self._usage()) if self._ask.usage else b""
        return last + usage + DONE

    def whole(self) -> bytes:
        """The answer to who asked for no stream."""
        ask = self._ask
        if ask.kind is Kind.EMBEDDING:
            data = [
                {"object": "embedding", "index": i, "embedding": embedding(given)}
                for i, given in enumerate(ask.inputs)
            ]
            return _json({"object": "list", "model": ask.model, "data": data, "usage": self._usage()})
        said = text(ask.tokens)
        part: dict[str, Any] = {"message": {"role": "assistant", "content": said}}
        if ask.kind is Kind.TEXT:
            part = {"text": said}
        choices = [{"index": 0, **part, "finish_reason": "stop"}]
        return _json({**self._frame(ask.kind, choices), "usage": self._usage()})

    def _event(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        # completions name their events as they name their answers
        named = "chat.completion.chunk" if self._ask.kind is Kind.CHAT else self._ask.kind.value
        return b"data: " + _json({**self._frame(named, choices), **more}) + b"\n\n"

    def _frame(self, named: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": named,
            "created": CREATED,
            "model": self._ask.model,
            "choices": choices,
        }

    def _usage(self) -> dict[str, int]:
        asked = sum(len(given.split()) for given in self._ask.inputs)
        if self._ask.kind is Kind.EMBEDDING:
            return {"prompt_tokens": asked, "total_tokens": asked}
        tokens = self._ask.tokens
        return {"prompt_tokens": asked, "completion_tokens": tokens, "total_tokens": asked + tokens}


def embedding(given: str) -> list[float]:
    """Eight numbers that follow from the text."""
    data = given.encode() or b"\0"
    return [round(sum(data[i::8]) % 997 / 997 - 0.5, 6) for i in range(8)]


def models(names: tuple[str, ...], owner: str) -> bytes:
    entries = [{"id": name, "object": "model", "created": CREATED, "owned_by": owner} for name in names]
    return _json({"object": "list", "data": entries})


def error(kind: str, message: str) -> bytes:
    return _json({"error": {"message": message, "type": kind, "code": None, "param": None}})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
