"""Each event is read as its dialect means it, and nonsense as nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.dialect import Shape
from sidecar.wire.meaning import Meaning, StreamError, read_event
from sidecar.wire.sse import Event

CONTENT = Meaning(content=True)
PLAIN = Meaning()
FINISHED = Meaning(finished=True)
SILENCE = Meaning(counts=False)


def said(shape: Shape, payload: object, name: bytes | None = None) -> Meaning:
    return read_event(shape, Event(name, json.dumps(payload).encode()))


def delta(finish: str | None = None, **fields: object) -> object:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}], "usage": None}


@pytest.mark.parametrize(
    ("chunk", "meaning"),
    [
        (delta(role="assistant", content=""), PLAIN),
        (delta(role="assistant", content=None, refusal=None, tool_calls=[]), PLAIN),
        (delta(content="Hi"), CONTENT),
        (delta(content="\n"), CONTENT),
        (delta(reasoning_content="Hm"), CONTENT),
        (delta(reasoning="Hm"), CONTENT),
        (delta(refusal="No"), CONTENT),
        (delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}]), CONTENT),
        (delta(function_call={"name": "f", "arguments": ""}), CONTENT),
        (delta(audio={"id": "a", "transcript": "x"}), CONTENT),
        (delta("stop"), FINISHED),
        (delta("length", content="Hi"), Meaning(content=True, finished=True)),
        ({"choices": [{"message": {"content": "Hi"}}]}, CONTENT),
        ({"choices": [{"delta": {}}, {"index": 1, "delta": {"content": "Hi"}}]}, CONTENT),
        ({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}, Meaning(usage=(3, 5))),
        (
            {"choices": [], "usage": {"prompt_tokens": True, "completion_tokens": -1}},
            PLAIN,
        ),
        ({"choices": [], "prompt_filter_results": [{}]}, PLAIN),
        ({"choices": None}, PLAIN),
        ({"choices": [None, 5, {"delta": 7, "finish_reason": 0}]}, PLAIN),
        ([1], PLAIN),
        (None, PLAIN),
    ],
)
def test_a_chat_chunk_is_content_once_its_delta_is_not_empty(chunk: object, meaning: Meaning) -> None:
    """The role, the filter results and the usage are of no use to a reader who waits for words."""
    assert said(Shape.CHAT, chunk) == meaning


@pytest.mark.parametrize(
    ("chunk", "meaning"),
    [
        ({"choices": [{"text": "", "finish_reason": None}]}, PLAIN),
        ({"choices": [{"text": "Hi", "finish_reason": None}]}, CONTENT),
        ({"choices": [{"text": "", "finish_reason": "length"}]}, FINISHED),
    ],
)
def test_a_completion_is_content_once_it_has_text(chunk: object, meaning: Meaning) -> None:
    """The older API, still spoken by completion models."""
    assert said(Shape.COMPLETIONS, chunk) == meaning


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        (
            {"type": "response.created", "response": {"id": "resp_1", "error": None}},
            Meaning(response_id="resp_1"),
        ),
        ({"type": "response.in_progress", "response": {"error": None}}, PLAIN),
        ({"type": "response.output_item.added", "item": {"type": "message"}}, PLAIN),
        ({"type": "response.output_item.added", "item": {"type": "reasoning"}}, PLAIN),
        ({"type": "response.output_item.added", "item": {"type": "function_call"}}, CONTENT),
        ({"type": "response.output_item.added", "item": {"type": "web_search_call"}}, CONTENT),
        ({"type": "response.content_part.added", "part": {"type": "output_text"}}, PLAIN),
        ({"type": "response.output_text.delta", "delta": "Hi"}, CONTENT),
        ({"type": "response.output_text.delta", "delta": ""}, PLAIN),
        ({"type": "response.output_text.done", "text": "Hi"}, CONTENT),
        ({"type": "response.refusal.delta", "delta": "No"}, CONTENT),
        ({"type": "response.reasoning_text.delta", "delta": "Hm"}, CONTENT),
        ({"type": "response.reasoning_summary_text.delta", "delta": "Hm"}, CONTENT),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, CONTENT),
        (
            {
                "type": "response.completed",
                "response": {"error": None, "usage": {"input_tokens": 3, "output_tokens": 5}},
            },
            Meaning(finished=True, last=True, usage=(3, 5)),
        ),
        ({"type": "response.incomplete", "response": {}}, Meaning(finished=True, last=True)),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}},
            Meaning(counts=False, error=StreamError("server_error", "m")),
        ),
        ({"type": 5}, PLAIN),
    ],
)
def test_a_responses_event_is_content_once_something_is_written(event: object, meaning: Meaning) -> None:
    """Lifecycle events come before the model has done anything."""
    assert said(Shape.RESPONSES, event) == meaning


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        (
            {
                "type": "message_start",
                "message": {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}},
            },
            Meaning(usage=(3, 1), response_id="msg_1"),
        ),
        ({"type": "ping"}, SILENCE),
        ({"type": "content_block_start", "content_block": {"type": "text", "text": ""}}, PLAIN),
        ({"type": "content_block_start", "content_block": {"type": "thinking", "thinking": ""}}, PLAIN),
        ({"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f"}}, CONTENT),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}, CONTENT),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "Hm"}}, CONTENT),
        (
            {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
            CONTENT,
        ),
        ({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": ""}}, PLAIN),
        ({"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}}, PLAIN),
        (
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
            Meaning(finished=True, usage=(None, 9)),
        ),
        ({"type": "message_stop"}, Meaning(last=True)),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            Meaning(counts=False, error=StreamError("overloaded_error", "Overloaded", "overloaded_error")),
        ),
    ],
)
def test_a_messages_event_is_content_once_a_block_grows(event: object, meaning: Meaning) -> None:
    """Anthropic opens with a start, an empty block and a ping."""
    assert said(Shape.MESSAGES, event) == meaning


def test_the_name_stands_in_for_a_missing_type() -> None:
    """Some servers that imitate these APIs leave the type to the event's name."""
    assert said(Shape.RESPONSES, {"delta": "Hi"}, b"response.output_text.delta") == CONTENT
    assert said(Shape.MESSAGES, {"delta": {"text": "Hi"}}, b"content_block_delta") == CONTENT


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"error": {"code": 503, "message": "m", "type": "t"}}, StreamError("503", "m", "t")),
        ({"error": {"code": None, "message": "m", "type": "t"}}, StreamError("t", "m", "t")),
        ({"error": "words", "error_type": "overloaded"}, StreamError("", "words", "overloaded")),
        ({"object": "error", "message": "m", "code": 400}, StreamError("400", "m")),
        ({"type": "error", "code": "c", "message": "m"}, StreamError("c", "m", "error")),
        ({"error": {"message": ["not", "words"]}, "choices": []}, StreamError("", "")),
        ({"error": {"message": "\ud800" + "x" * 9999}}, StreamError("", "?" + "x" * 499)),
    ],
)
def test_an_error_is_known_by_its_payload(shape: Shape, payload: object, error: StreamError) -> None:
    """vLLM, TGI, llama.cpp, OpenAI and Anthropic send it under 200, with and without an event name."""
    assert said(shape, payload) == Meaning(counts=False, error=error)


@pytest.mark.parametrize("shape", list(Shape))
def test_an_error_event_needs_no_json(shape: Shape) -> None:
    """The name says enough."""
    event = Event(b"error", b"out of memory")
    assert read_event(shape, event) == Meaning(counts=False, error=StreamError("", "out of memory"))
    assert read_event(shape, Event(b"error", None)).error == StreamError("", "")


def test_finishing_with_an_error_is_an_error() -> None:
    """vLLM and OpenRouter end so when the engine dies under a request."""
    assert said(Shape.CHAT, delta("error")).error is not None


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        (Event(b"ping", b"{}"), SILENCE),
        (Event(None, b'{"type": "ping"}'), SILENCE),
        (Event(b"x", None), SILENCE),
        (Event(None, b""), SILENCE),
        (Event(None, b"[DONE]"), Meaning(counts=False, last=True)),
        (Event(None, b"[DONE] "), Meaning(counts=False, last=True)),
    ],
)
def test_pings_empty_events_and_done_say_nothing(shape: Shape, event: Event, meaning: Meaning) -> None:
    """A server that only keeps its connection warm is not answering."""
    assert read_event(shape, event) == meaning


@pytest.mark.parametrize("data", [b"hello", b'{"x": 1}', b"[1]", b'{"error": null}'])
def test_without_a_dialect_any_data_is_content(data: bytes) -> None:
    """There is nothing better to go by."""
    assert read_event(Shape.OTHER, Event(None, data)) == CONTENT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "error", "type", "usage", "response", "item", "message", "content_block"]
            ),
            inner
            | st.sampled_from(["response.created", "response.failed", "message_start", "message_delta"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(list(Shape)), JSON)
def test_no_payload_makes_it_raise(shape: Shape, payload: object) -> None:
    """A peer may send any JSON."""
    meaning = said(shape, payload)
    assert not (meaning.error and meaning.counts)


@pytest.mark.parametrize("shape", [Shape.CHAT, Shape.COMPLETIONS, Shape.RESPONSES, Shape.MESSAGES])
def test_nesting_beyond_the_parser_says_nothing(shape: Shape) -> None:
    """Python's parser recurses; a peer must not be able to make that matter."""
    assert read_event(shape, Event(None, b"[" * 100_000)) == PLAIN
