"""Dialects: which API a path speaks, and how that API says that something went wrong.

In:      the path of a request; a failure code with words for the app.
Out:     a Shape; JSON bodies, and the event that ends a broken stream after commit.
Rule:    the words name the kind and the request id, never an endpoint's address or a credential.
Source:  contract §4; the error objects of OpenAI's and Anthropic's public APIs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final


class Shape(StrEnum):
    """What a path's requests and streams look like."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"
    BESIDE_MESSAGES = "beside_messages"  # Anthropic's too: tokens are counted there, batches made
    OTHER = "other"

    @property
    def is_known(self) -> bool:
        """What its answers look like, and how its streams end."""
        return self is not _OTHER and self is not _BESIDE_MESSAGES


# Looked up by name at each use, each of them would cost as much as comparing it.
_RESPONSES: Final = Shape.RESPONSES
_MESSAGES: Final = Shape.MESSAGES
_BESIDE_MESSAGES: Final = Shape.BESIDE_MESSAGES
_OTHER: Final = Shape.OTHER

_BY_END: Final = [  # a tuple would be made anew for each look at it
    ("/chat/completions", Shape.CHAT),
    ("/completions", Shape.COMPLETIONS),
    ("/responses", Shape.RESPONSES),
    ("/messages", Shape.MESSAGES),
    ("/embeddings", Shape.EMBEDDINGS),
]

_quote: Final = encode_basestring_ascii
# Words of the sidecar's own: few, and each is a hundred characters to look through.
_quote_words: Final[Callable[[str], str]] = lru_cache(64)(encode_basestring_ascii)

_ANTHROPIC_TYPES: Final = {
    "bad_request": "invalid_request_error",
    "header_too_large": "invalid_request_error",
    "body_too_large": "request_too_large",
    "no_route": "not_found_error",
    "rate_limited": "rate_limit_error",
    "overloaded": "overloaded_error",
    "draining": "overloaded_error",
    "first_packet_timeout": "timeout_error",
    "response_timeout": "timeout_error",
    "idle_timeout": "timeout_error",
    "total_timeout": "timeout_error",
    "deadline_exceeded": "timeout_error",
}


def shape_of(path: str) -> Shape:
    """By how the path ends."""
    for end, shape in _BY_END:
        if path.endswith(end):
            return _OTHER if shape is _MESSAGES and _has_messages_of_openai(path) else shape
    return _BESIDE_MESSAGES if "/messages/" in path and not _has_messages_of_openai(path) else _OTHER


def _has_messages_of_openai(path: str) -> bool:
    """Of a thread, or of a chat that was stored."""
    return "/threads/" in path or "/completions/" in path


def error_body(shape: Shape, code: str, message: str, request_id: str) -> bytes:
    """The JSON body of the sidecar's own error. Put together by hand: under overload it is made for most requests, and
    json.dumps costs as much as a third of a whole one."""
    word, words, signed = _quote_words(code), _quote_words(message), _quote(request_id)
    if shape is _MESSAGES or shape is _BESIDE_MESSAGES:
        kind = _ANTHROPIC_TYPES.get(code, "api_error")
        text = (
            f'{{"type":"error","error":{{"type":"{kind}","message":{words},"code":{word},'
            f'"details":{{"error_code":{word}}}}},"request_id":{signed if request_id else "null"}}}'
        )
    else:
        if request_id:
            words = f'{words[:-1]} (request id {signed[1:-1]})"'
        text = f'{{"error":{{"message":{words},"type":"sidecar_error","code":{word},"param":null}}}}'
    return text.encode("ascii")


def error_event(
    shape: Shape,
    code: str,
    message: str,
    request_id: str = "",
    *,
    response_id: str = "",
    sequence_number: int = 0,
    created_at: int = 0,
    model: str = "",
) -> bytes:
    """The event that tells the app's SDK that its stream is broken.

    The keyword arguments serve RESPONSES, whose event must carry the response it ends; StreamReader knows
    the first two. `created_at` is Unix time in seconds.
    """
    if shape is _RESPONSES:
        failed = _failed_response(code, _signed(message, request_id), response_id, created_at, model)
        event = {"type": "response.failed", "sequence_number": sequence_number, "response": failed}
        data = json.dumps(event, separators=(",", ":")).encode()
        return b"event: response.failed\ndata: " + data + b"\n\n"
    name = b"event: error\n" if shape is _MESSAGES or shape is _BESIDE_MESSAGES else b""
    return name + b"data: " + error_body(shape, code, message, request_id) + b"\n\n"


def _signed(message: str, request_id: str) -> str:
    return f"{message} (request id {request_id})" if request_id else message


def _failed_response(
    code: str, message: str, response_id: str, created_at: int, model: str
) -> dict[str, Any]:
    """A Response as the schema wants it: `error.code` is a closed set there, so ours goes into the metadata."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": "failed",
        "error": {
            "code": "rate_limit_exceeded" if code == "rate_limited" else "server_error",
            "message": message,
        },
        "incomplete_details": None,
        "instructions": None,
        "metadata": {"sidecar_code": code},
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }
