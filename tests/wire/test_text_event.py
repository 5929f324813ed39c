"""Events that differ in nothing but their text, told without reading them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.dialect import Shape
from sidecar.wire.first_packet import StreamReader
from sidecar.wire.sse import EventReader
from sidecar.wire.text_event import _ONLY_TEXT, _walk, text_event

CHAT = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
SPACED = b'data: {"choices": [{"delta": {"content": "%b"}, "finish_reason": null}]}\n\n'
THOUGHT = (
    b'data: {"id":"c1","choices":[{"index":0,"delta":{"reasoning_content":"%b"},"finish_reason":null}]}\n\n'
)
CLAUDE = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n'
)
FAILED = b'data: {"error":{"message":"no memory","code":"oom"}}\n\n'
FINISHED = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}\n\n'

TEXTS = [
    b"a",
    b"",
    b"an error [DONE] _tokens",
    "é漢".encode(),
    rb"\n\t\\",
    rb"\"quoted\"",
    rb"\u0000",
    rb"\",\"error\":1",
    b"so much that some tokens may have come at once " * 4,
]
# What ends the string, or the line that it stands in, or would do so in part.
TRAPS = [
    b'"',
    b'","error":"x',
    b"\\",
    b'x\\\\"',
    b"\n",
    b"\r",
    b'"}}]}\n\ndata: {"choices":[{"delta":{"content":"x',
    b'a"},"finish_reason":"stop"}]}\n\n',
]


@pytest.mark.parametrize("form", [CHAT, SPACED, THOUGHT, CLAUDE])
def test_the_same_event_around_another_text_is_like_it(form: bytes) -> None:
    known = text_event(form % b"hello")
    assert known is not None
    assert all(known.is_like(form % text) for text in TEXTS)


@pytest.mark.parametrize("form", [CHAT, SPACED, THOUGHT, CLAUDE])
@pytest.mark.parametrize("trap", TRAPS)
def test_what_is_more_than_text_is_not(form: bytes, trap: bytes) -> None:
    """Or an error or the end of a stream would be overlooked."""
    known = text_event(form % b"hello")
    assert known is not None
    assert not known.is_like(form % trap)


def test_another_event_is_not() -> None:
    known = text_event(CHAT % b"hello")
    assert known is not None
    whole = CHAT % b"hello"
    others = [
        FAILED,
        FINISHED,
        THOUGHT % b"hello",
        whole.replace(b"c1", b"c2"),
        whole + whole,
        b"\n" + whole,
        b"",
    ]
    assert not any(known.is_like(other) for other in others)
    assert not any(known.is_like(whole[:end]) for end in range(len(whole)))
    overlapping = text_event(CHAT % b"")
    assert overlapping is not None
    assert not overlapping.is_like((CHAT % b"")[:-10] + (CHAT % b"")[-9:]), "front and back share bytes"


def test_what_bears_no_text_or_is_not_one_event_is_like_nothing() -> None:
    assert text_event(b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n') is None
    assert text_event(CHAT % b"a" + CHAT % b"b") is None
    assert text_event(CHAT % b"a" + b": a comment\n\n") is None


@given(st.lists(st.sampled_from(b'"\\\n\ra'), max_size=8).map(bytes), st.integers(0, 2), st.integers(0, 2))
def test_bytes_are_walked_over_as_the_regex_reads_them(text: bytes, before: int, behind: int) -> None:
    """One is for the compiled form, the other for the sources."""
    data, end = b"\\" * before + text + b'"' * behind, before + len(text)
    assert _walk(data, before, end) == (_ONLY_TEXT.fullmatch(data, before, end) is not None)


@given(st.lists(st.sampled_from([*b'"\\\n\r,:{}errorn/uD0', 0xC3]), max_size=12).map(bytes))
def test_what_is_like_it_is_one_event_with_another_text(text: bytes) -> None:
    known = text_event(CHAT % b"hello")
    assert known is not None
    if not known.is_like(CHAT % text):
        return
    (event,) = EventReader().feed(CHAT % text)
    assert event.data is not None
    try:
        read = json.loads(event.data, strict=False)
    except ValueError:
        return  # an escape that is none, or no UTF-8: it says nothing at all
    read["choices"][0]["delta"]["content"] = "hello"
    assert read == json.loads((CHAT % b"hello")[6:])


@given(
    st.lists(
        st.builds(
            bytes.__mod__, st.sampled_from([CHAT, SPACED, THOUGHT]), st.tuples(st.sampled_from(TEXTS + TRAPS))
        )
        | st.sampled_from([FAILED, FINISHED, b"data: [DONE]\n\n", b": ping\n\n"]),
        max_size=20,
    )
)
def test_a_stream_says_the_same_to_a_reader_that_expects_nothing(payloads: list[bytes]) -> None:
    expects, reads = StreamReader(Shape.CHAT), StreamReader(Shape.CHAT)
    reads._expecting = 0
    for payload in [CHAT % b"first", *payloads]:
        expects.feed(payload)
        reads.feed(payload)
        for fact in ("progress", "content", "finished", "done_marker", "error", "usage", "events", "pending"):
            assert getattr(expects, fact) == getattr(reads, fact), (fact, payload)
