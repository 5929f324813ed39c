"""What one event of an LLM's stream says, per dialect.

In:      an Event and the Shape of the stream it came in.
Out:     a Meaning. It decides nothing: first_packet does.
Errors:  none. What is no JSON, or JSON of another form, says nothing beyond that it came; lone surrogates
         are replaced and words are bounded, so that whatever is returned can be stored and sent.
Source:  the public streaming formats of OpenAI (chat, completions, Responses) and Anthropic (Messages), and
         what vLLM, SGLang, llama.cpp, DashScope, DeepSeek and OpenRouter make of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sidecar.wire.dialect import Shape
from sidecar.wire.json_text import parse
from sidecar.wire.sse import Event

# A choice's delta has come to something once one of these is not empty.
_DELTA_KEYS: Final = (
    "content",
    "reasoning_content",  # DeepSeek, vLLM, SGLang, DashScope
    "reasoning",  # OpenRouter, newer vLLM
    "tool_calls",
    "refusal",
    "audio",
    "function_call",
    "reasoning_details",
    "thinking",
    "thinking_blocks",
    "images",
)
_MAX_WORDS: Final = 500
_MAX_TOKENS: Final = 2**53  # what every consumer of the number can hold


class StreamError(NamedTuple):
    """An error that the service reported in its stream; empty where it did not say. Never for telemetry."""

    code: str
    message: str
    type: str = ""


class Meaning(NamedTuple):
    """What an event says.

    counts     it is an event with data, no ping, no [DONE], no error
    content    it carries text, a tool call, a refusal, audio or reasoning
    finished   it says why the answer ended: the answer is whole
    last       it is the stream's true last event
    usage      prompt and completion tokens, where told
    """

    counts: bool = True
    content: bool = False
    finished: bool = False
    last: bool = False
    error: StreamError | None = None
    usage: tuple[int | None, int | None] = (None, None)
    response_id: str = ""


_SILENCE: Final = Meaning(counts=False)
_PLAIN: Final = Meaning()
_DONE: Final = Meaning(counts=False, last=True)
_FINISH_ERROR: Final = StreamError("error", "the stream says that it finished with an error")


def read_event(shape: Shape, event: Event) -> Meaning:
    """Reads one event."""
    name, data = event
    if name == b"error":
        return Meaning(counts=False, error=_error(_parse(data or b""), data or b""))
    if not data or name == b"ping":
        return _SILENCE
    if data.strip() == b"[DONE]":
        return _DONE
    said = _parse(data)
    if not isinstance(said, dict):
        return Meaning(content=shape not in _READERS)
    if said.get("error") or said.get("object") == "error" or said.get("type") == "error":
        return Meaning(counts=False, error=_error(said, data))
    if said.get("type") == "ping":
        return _SILENCE
    reader = _READERS.get(shape)
    return reader(said, name) if reader else Meaning(content=True, usage=_usage(said))


def _chat(said: dict[str, Any], _name: bytes | None) -> Meaning:
    return _choices(said, lambda choice: _delta_speaks(choice.get("delta") or choice.get("message")))


def _completions(said: dict[str, Any], _name: bytes | None) -> Meaning:
    return _choices(said, lambda choice: bool(choice.get("text")))


def _choices(said: dict[str, Any], speaks: Callable[[dict[str, Any]], bool]) -> Meaning:
    choices = said.get("choices")
    content, ends = False, []
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            content = content or speaks(choice)
            ends.append(choice.get("finish_reason"))
    if "error" in ends:  # vLLM, OpenRouter: the engine gave up on this request
        return Meaning(counts=False, error=_FINISH_ERROR)
    return Meaning(content=content, finished=any(ends), usage=_usage(said))


def _delta_speaks(delta: object) -> bool:
    return isinstance(delta, dict) and any(delta.get(key) for key in _DELTA_KEYS)


def _responses(said: dict[str, Any], name: bytes | None) -> Meaning:
    kind = said.get("type") or (name or b"").decode(errors="replace")
    if not isinstance(kind, str):
        return _PLAIN
    if kind.endswith(".delta"):
        return Meaning(content=bool(said.get("delta")))
    response = _dict(said.get("response"))
    if kind == "response.failed":
        return Meaning(counts=False, error=_error(response, b""))
    if kind in ("response.completed", "response.incomplete"):
        return Meaning(finished=True, last=True, usage=_usage(response))
    if kind == "response.created":
        return Meaning(response_id=_words(response.get("id")))
    if kind == "response.output_item.added":
        return Meaning(content=str(_dict(said.get("item")).get("type")).endswith("_call"))
    return Meaning(content=kind.endswith("_text.done") and bool(said.get("text")))


def _messages(said: dict[str, Any], name: bytes | None) -> Meaning:
    kind = said.get("type") or (name or b"").decode(errors="replace")
    if kind == "content_block_delta":
        delta = _dict(said.get("delta"))
        return Meaning(content=bool(delta.get("text") or delta.get("thinking") or delta.get("partial_json")))
    if kind == "content_block_start":
        block = _dict(said.get("content_block"))
        spoken = block.get("type") not in ("text", "thinking") or block.get("text") or block.get("thinking")
        return Meaning(content=bool(spoken))
    if kind == "message_start":
        message = _dict(said.get("message"))
        return Meaning(usage=_usage(message), response_id=_words(message.get("id")))
    if kind == "message_delta":
        return Meaning(finished=bool(_dict(said.get("delta")).get("stop_reason")), usage=_usage(said))
    return Meaning(last=True) if kind == "message_stop" else _PLAIN


_READERS: Final[dict[Shape, Callable[[dict[str, Any], bytes | None], Meaning]]] = {
    Shape.CHAT: _chat,
    Shape.COMPLETIONS: _completions,
    Shape.RESPONSES: _responses,
    Shape.MESSAGES: _messages,
}


def _parse(data: bytes) -> object:
    try:
        return parse(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def _error(said: object, data: bytes) -> StreamError:
    """From {"error": {…}}, {"error": "words"}, {"code", "message"}, or no JSON at all."""
    if not isinstance(said, dict):
        return StreamError("", _words(data.decode(errors="replace")))
    inner = said.get("error")
    if isinstance(inner, str):
        return StreamError(_words(said.get("code")), _words(inner), _words(said.get("error_type")))
    fields = inner if isinstance(inner, dict) else said
    kind = _words(fields.get("type"))
    return StreamError(_words(fields.get("code")) or kind, _words(fields.get("message")), kind)


def _usage(said: dict[str, Any]) -> tuple[int | None, int | None]:
    usage = said.get("usage")
    if not isinstance(usage, dict):
        return None, None
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    return prompt, _count(usage.get("completion_tokens", usage.get("output_tokens")))


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MAX_TOKENS else None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: object) -> str:
    if not isinstance(value, str | int):
        return ""
    return str(value)[:_MAX_WORDS].encode(errors="replace").decode()
