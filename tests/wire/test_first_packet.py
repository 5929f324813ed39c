"""The gate opens at the first packet that is of use, not before and not later."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.dialect import Shape
from sidecar.wire.first_packet import StreamError, StreamReader
from tests.wire.splits import PLACES, bytewise, cut


def sse(payload: object, name: str = "") -> bytes:
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {payload if isinstance(payload, str) else json.dumps(payload)}\n\n".encode()


def chat(finish: str | None = None, usage: object = None, **delta: object) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return sse({"id": "c", "object": "chat.completion.chunk", "choices": [choice], "usage": usage})


DONE = sse("[DONE]")
CHAT = [
    b": OPENROUTER PROCESSING\n\n",
    chat(role="assistant", content=""),
    chat(content="Hel"),
    chat(content='lo "error" _tokens'),
    chat("stop"),
    sse({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
    DONE,
]
COMPLETIONS = [
    sse({"choices": [{"text": "", "finish_reason": None}]}),
    sse({"choices": [{"text": "Hi", "finish_reason": None}]}),
    sse(
        {
            "choices": [{"text": "", "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }
    ),
    DONE,
]
RESPONSES = [
    sse(payload, str(payload["type"]))
    for payload in (
        {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "error": None}},
        {"type": "response.in_progress", "sequence_number": 1, "response": {"id": "resp_1", "error": None}},
        {"type": "response.output_item.added", "sequence_number": 2, "item": {"type": "message"}},
        {"type": "response.content_part.added", "sequence_number": 3, "part": {"type": "output_text"}},
        {"type": "response.output_text.delta", "sequence_number": 4, "delta": "Hi"},
        {"type": "response.output_text.done", "sequence_number": 5, "text": "Hi"},
        {
            "type": "response.completed",
            "sequence_number": 6,
            "response": {"id": "resp_1", "error": None, "usage": {"input_tokens": 3, "output_tokens": 5}},
        },
    )
]
MESSAGES = [
    sse(payload, str(payload["type"]))
    for payload in (
        {
            "type": "message_start",
            "message": {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )
]
OTHER = [b": c\n\n", sse({}, "ping"), sse("hello", "x"), sse({"y": 1}), DONE]

# shape, stream, and the index of the event at which each of these turns true
STREAMS = {
    "chat": (Shape.CHAT, CHAT, {"progress": 2, "content": 2, "finished": 4, "done_marker": 6}),
    "completions": (
        Shape.COMPLETIONS,
        COMPLETIONS,
        {"progress": 1, "content": 1, "finished": 2, "done_marker": 3},
    ),
    "responses": (Shape.RESPONSES, RESPONSES, {"progress": 4, "content": 4, "finished": 6, "done_marker": 6}),
    "messages": (Shape.MESSAGES, MESSAGES, {"progress": 3, "content": 3, "finished": 5, "done_marker": 6}),
    "other": (Shape.OTHER, OTHER, {"progress": 2, "content": 2, "finished": 4, "done_marker": 4}),
}
USAGE = {
    "chat": (7, 2),
    "completions": (1, 1),
    "responses": (3, 5),
    "messages": (3, 2),
    "other": (None, None),
}


def state(reader: StreamReader) -> tuple[object, ...]:
    return (
        reader.progress,
        reader.content,
        reader.finished,
        reader.done_marker,
        reader.error,
        reader.usage,
        reader.events,
        reader.response_id,
        reader.pending,
    )


def fed(shape: Shape, pieces: Iterable[bytes], first_packet_is: str = "content") -> StreamReader:
    reader = StreamReader(shape, first_packet_is)
    for piece in pieces:
        reader.feed(piece)
    return reader


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_each_turning_point_is_seen_at_its_event(name: str, end: bytes) -> None:
    """Whole events, one a read, as servers send them."""
    shape, stream, turns = STREAMS[name]
    reader = StreamReader(shape)
    seen: dict[str, int] = {}
    for index, event in enumerate(stream):
        reader.feed(event.replace(b"\n", end))
        assert reader.pending == 0
        for turn in turns:
            if getattr(reader, turn):
                seen.setdefault(turn, index)
    assert seen == turns
    assert reader.usage == USAGE[name]
    assert reader.error is None
    assert reader.events == sum(not event.startswith(b":") for event in stream)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("first_packet_is", ["content", "event", "body", "headers"])
@given(PLACES)
def test_any_split_comes_to_the_same(name: str, first_packet_is: str, places: list[int]) -> None:
    """The short cut after commit must not miss what stands across two reads."""
    shape, stream, _ = STREAMS[name]
    whole = b"".join(stream)
    expected = state(fed(shape, stream, first_packet_is))
    assert state(fed(shape, [whole], first_packet_is)) == expected
    assert state(fed(shape, cut(whole, places), first_packet_is)) == expected
    assert state(fed(shape, bytewise(whole), first_packet_is)) == expected


@pytest.mark.parametrize(
    "stream",
    [
        [DONE],
        [b": ping\n\n"] * 3,
        [b"\n\n", b"\r\n"],
        [sse({}, "ping"), sse({"type": "ping"})],
        [chat(role="assistant"), DONE],
        [sse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}), DONE],
        [b"data: not json\n\n"],
        [chat(content="Hi")[:-1]],
    ],
)
def test_an_empty_stream_makes_no_progress(stream: list[bytes]) -> None:
    """A server that opens, pings and says [DONE] has not answered: another may."""
    assert not fed(Shape.CHAT, stream).progress


def test_a_finish_without_content_is_a_whole_answer() -> None:
    """max_tokens of 0, or a model that has nothing to say: trying elsewhere would not help."""
    reader = fed(Shape.CHAT, [chat(role="assistant", content=""), chat("length")])
    assert (reader.progress, reader.content, reader.finished, reader.done_marker) == (
        True,
        False,
        True,
        False,
    )


def test_the_finish_is_seen_when_it_comes_with_the_first_content() -> None:
    """A one-packet answer."""
    reader = fed(Shape.CHAT, [chat("tool_calls", tool_calls=[{"index": 0}])])
    assert (reader.progress, reader.content, reader.finished) == (True, True, True)


@pytest.mark.parametrize("first_packet_is", ["event", "body"])
def test_where_any_event_counts_the_role_is_progress_but_a_comment_is_not(first_packet_is: str) -> None:
    """Pings, [DONE] and errors still say nothing; `body` is more only where the answer is no event stream."""
    silent = [b"\n: c\n\n", b"id: 7\n\n", sse({}, "ping"), DONE, sse({"error": {"message": "m"}})]
    reader = fed(Shape.CHAT, silent, first_packet_is)
    assert not reader.progress
    reader.feed(chat(role="assistant"))
    assert (reader.progress, reader.content) == (True, False)


def test_where_headers_count_there_is_progress_at_once() -> None:
    """`first_packet_is: headers`; content is still watched for the record."""
    reader = StreamReader(Shape.CHAT, "headers")
    assert (reader.progress, reader.content) == (True, False)
    reader.feed(chat(content="Hi"))
    assert reader.content


ERROR = {"error": {"code": "server_error", "message": "m", "type": "t"}}
FAILED = {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}


@pytest.mark.parametrize("before", [0, 3, 5], ids=["at once", "after commit", "later"])
@pytest.mark.parametrize(
    ("name", "event", "code"),
    [
        ("chat", sse(ERROR), "server_error"),
        ("chat", sse(ERROR, "error"), "server_error"),
        ("chat", sse("gone", "error"), ""),
        ("completions", sse(ERROR), "server_error"),
        ("responses", sse(FAILED, "response.failed"), "server_error"),
        ("responses", sse(FAILED), "server_error"),
        (
            "messages",
            sse({"type": "error", "error": {"type": "overloaded_error"}}, "error"),
            "overloaded_error",
        ),
        ("messages", sse({"type": "error", "error": {"type": "overloaded_error"}}), "overloaded_error"),
        ("other", sse(ERROR), "server_error"),
    ],
)
def test_an_error_in_a_stream_is_seen_in_every_phase(name: str, event: bytes, code: str, before: int) -> None:
    """Status 200 was sent long before; only the payload tells."""
    shape, stream, turns = STREAMS[name]
    for pieces in ([*stream[:before], event], list(bytewise(b"".join(stream[:before]) + event))):
        reader = fed(shape, pieces)
        assert reader.error is not None
        assert reader.error.code == code
        assert reader.progress is (before > turns["progress"])


@pytest.mark.parametrize("cut_at", [0, 5])
@pytest.mark.parametrize(
    ("name", "last"), [("responses", "response.completed"), ("messages", "message_stop")]
)
def test_an_end_that_only_the_events_name_tells_is_seen(name: str, last: str, cut_at: int) -> None:
    """Imitators of these APIs leave the type out of the payload."""
    shape, stream, _ = STREAMS[name]
    end = sse({"x": 1}, last)
    reader = fed(shape, [*stream[:5], end[:cut_at], end[cut_at:]])
    assert (reader.content, reader.finished, reader.done_marker) == (True, True, True)


def test_the_first_error_is_kept() -> None:
    """What follows it is its consequence."""
    reader = fed(Shape.CHAT, [sse({"error": {"message": "first"}}), sse({"error": {"message": "second"}})])
    assert reader.error == StreamError("", "first")


@pytest.mark.parametrize("spaced", [False, True])
@given(st.lists(st.sampled_from(["text", "finish", "usage", "role"]), max_size=8))
def test_the_short_cut_sees_what_full_reading_sees(spaced: bool, kinds: list[str]) -> None:
    """After commit most events are not parsed; nothing that matters may be missed for it."""
    makers = {
        "text": {"choices": [{"delta": {"content": "finish_reason [DONE]"}, "finish_reason": None}]},
        "finish": {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        "usage": {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 6}},
        "role": {"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}], "usage": None},
    }
    separators = (", ", ": ") if spaced else (",", ":")
    reader = fed(Shape.CHAT, [chat(content="x")])
    for kind in kinds:
        reader.feed(b"data: " + json.dumps(makers[kind], separators=separators).encode() + b"\n\n")
    assert reader.finished is ("finish" in kinds)
    assert reader.usage == ((4, 6) if "usage" in kinds else (None, None))
    assert not reader.done_marker
    assert reader.events == 1 + len(kinds)


def test_an_endless_event_is_given_up() -> None:
    """Memory is bounded whatever the service sends."""
    reader = StreamReader(Shape.CHAT, max_event=1000)
    reader.feed(b"data: " + b"x" * 700)
    reader.feed(b"x" * 700)
    assert (reader.overflow, reader.pending, reader.progress) == (True, 1406, False)


@pytest.mark.parametrize("size", [1024, 1025])
@pytest.mark.parametrize("before", [1, 2])
def test_an_event_too_large_is_one_however_it_comes(size: int, before: int) -> None:
    """Whole in one read, behind others, like one before in all but its text. The blank line is no part of it."""
    event = chat(content="")
    large = chat(content="x" * (size - (len(event) - 2)))
    small = [chat(content="x")] * before
    for pieces in ([large], [small[0] + large], bytewise(large)):
        reader = StreamReader(Shape.CHAT, max_event=1024)
        for piece in [*small, *pieces]:
            reader.feed(piece)
        assert reader.overflow is (size > 1024)


def test_small_events_may_be_many_in_one_read() -> None:
    """The limit is on each of them."""
    reader = StreamReader(Shape.CHAT, max_event=1024)
    reader.feed(chat(content="x"))
    reader.feed(chat(content="x") * 100)
    assert (reader.overflow, reader.events) == (False, 101)
