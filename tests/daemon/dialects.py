"""The streams of every dialect, as their services send them: the answer "hello" in two pieces.

In:      nothing.
Out:     a Dialect: its events, up to the first half of the answer, to the end, and the one that reports a failure
         in the middle; answers of `Llm` that are made of them.
Source:  the public streaming formats of OpenAI (chat, completions, Responses) and Anthropic (Messages).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .llm import DONE, LAST, SSE_HEAD, Answer, chat_chunk, framed, raw, reset, then_silence

Event = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """One kind of stream."""

    name: str
    begin: tuple[bytes, ...]  # up to "hel"
    end: tuple[bytes, ...]  # from "lo"
    failure: bytes  # what the service says when it fails in the middle

    def whole(self) -> Answer:
        return raw(*self._half(), *_framed(self.end), LAST)

    def cut(self) -> Answer:
        """The service dies in the middle of the answer."""
        return reset(*self._half())

    def ended_early(self) -> Answer:
        """The body ends properly, the answer does not."""
        return raw(*self._half(), LAST)

    def stalled(self) -> Answer:
        return then_silence(*self._half())

    def failed(self) -> Answer:
        """The service reports its own failure after half an answer, and ends the body properly."""
        return raw(*self._half(), framed(self.failure), LAST)

    def failed_at_once(self) -> Answer:
        """The failure comes instead of an answer."""
        return raw(SSE_HEAD, framed(self.failure), LAST)

    def _half(self) -> tuple[bytes, ...]:
        return SSE_HEAD, *_framed(self.begin)


def _framed(events: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(framed(event) for event in events)


def _data(event: Event) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _named(event: Event) -> bytes:
    return f"event: {event['type']}\n".encode() + _data(event)


def _completion(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    return _data({"id": "c1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]})


OPENAI_FAILURE = _data(
    {"error": {"message": "out of memory", "type": "server_error", "code": "engine_dead", "param": None}}
)

CHAT = Dialect(
    "chat",
    (chat_chunk(role=True), chat_chunk("hel")),
    (chat_chunk("lo"), chat_chunk(finish="stop"), DONE),
    OPENAI_FAILURE,
)

COMPLETIONS = Dialect(
    "completions", (_completion("hel"),), (_completion("lo"), _completion("", "stop"), DONE), OPENAI_FAILURE
)


def _response(status: str, *, text: str | None = None, error: Event | None = None) -> Event:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": error,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "m",
        "output": [] if text is None else [_message("completed", text)],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def _part(text: str) -> Event:
    return {"type": "output_text", "text": text, "annotations": []}


def _message(status: str, text: str | None = None) -> Event:
    content = [] if text is None else [_part(text)]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content}


def _numbered(events: Sequence[Event], start: int) -> tuple[bytes, ...]:
    return tuple(_named({**event, "sequence_number": n}) for n, event in enumerate(events, start))


_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
_BEGUN: list[Event] = [
    {"type": "response.created", "response": _response("in_progress")},
    {"type": "response.in_progress", "response": _response("in_progress")},
    {"type": "response.output_item.added", "output_index": 0, "item": _message("in_progress")},
    {"type": "response.content_part.added", **_PLACE, "part": _part("")},
    {"type": "response.output_text.delta", **_PLACE, "delta": "hel", "logprobs": []},
]
_ENDED: list[Event] = [
    {"type": "response.output_text.delta", **_PLACE, "delta": "lo", "logprobs": []},
    {"type": "response.output_text.done", **_PLACE, "text": "hello", "logprobs": []},
    {"type": "response.content_part.done", **_PLACE, "part": _part("hello")},
    {"type": "response.output_item.done", "output_index": 0, "item": _message("completed", "hello")},
    {"type": "response.completed", "response": _response("completed", text="hello")},
]
_FAILED: Event = {
    "type": "response.failed",
    "response": _response("failed", error={"code": "server_error", "message": "out of memory"}),
}

RESPONSES = Dialect(
    "responses",
    _numbered(_BEGUN, 0),
    _numbered(_ENDED, len(_BEGUN)),
    *_numbered([_FAILED], len(_BEGUN)),
)


def _delta(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return _named({"type": "content_block_delta", "index": 0, "delta": delta})


_MESSAGE: Event = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
_STOP = {"stop_reason": "end_turn", "stop_sequence": None}

MESSAGES = Dialect(
    "messages",
    (
        _named({"type": "message_start", "message": _MESSAGE}),
        _named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        _named({"type": "ping"}),
        _delta("hel"),
    ),
    (
        _delta("lo"),
        _named({"type": "content_block_stop", "index": 0}),
        _named({"type": "message_delta", "delta": _STOP, "usage": {"output_tokens": 2}}),
        _named({"type": "message_stop"}),
    ),
    _named({"type": "error", "error": {"type": "overloaded_error", "message": "out of memory"}}),
)
