"""The cache answers what the parsers would: for every head, seen before or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.head_cache import ENTRIES, ONCE, RequestHeads, ResponseHeads, likely
from sidecar.wire.heads import (
    Refusal,
    RequestHead,
    ResponseHead,
    head_end,
    parse_request_head,
    parse_response_head,
)
from tests.slots import slots_of

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PIECES = [
    b"POST /v1/chat/completions HTTP/1.1\r\n",
    b"GET /v1/models HTTP/1.1\r\n",
    b"Host: localhost\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 12\r\n",
    b"content-length: 7\r\n",
    b"Content-Length:  5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: \r\n",
    b"Content-Length: 1234567890123456789\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"traceparent: " + TRACE + b"\r\n",
    b"traceparent: nonsense\r\n",
    b"x: Content-Length: 5\r\n",
    b" Content-Length: 5\r\n",
    b"\r\n",
]


def facts(read: object) -> object:
    """All that a reader may ask of a message: its head, and beside it what is its own."""
    match read:
        case RequestHead():
            return facts((read, read.content_length, read.traceparent))
        case ResponseHead():
            return facts((read, read.content_length))
        case (RequestHead() | ResponseHead() as head, *own):
            theirs = ("fields", "memo", "number", "content_length", "traceparent")
            others = [f for f in head.fields if f.lower not in (b"content-length", b"traceparent")]
            names = [name for name in slots_of(head) if name not in theirs]
            return [getattr(head, name) for name in names], own, others, [f.lower for f in head.fields]
        case refused:
            return refused


@given(heads=st.lists(st.lists(st.sampled_from(PIECES), max_size=7).map(b"".join), max_size=12))
def test_a_request_head_is_read_as_if_there_were_no_cache(heads: list[bytes]) -> None:
    cache = RequestHeads()
    for head in heads * 3:
        assert facts(cache.parse(head)) == facts(parse_request_head(head))


@given(
    lengths=st.lists(
        st.sampled_from([b"0", b"17", b"x", b"", b"1 7", b"17\r\ncontent-length: 17"]), max_size=8
    ),
    kind=st.sampled_from([b"content-length", b"Content-Length", b"CONTENT-LENGTH"]),
)
def test_a_response_head_is_read_as_if_there_were_no_cache(lengths: list[bytes], kind: bytes) -> None:
    cache = ResponseHeads()
    for length in lengths * 3:
        head = b"HTTP/1.1 200 OK\r\n%b: %b\r\ncontent-type: text/plain\r\n\r\n" % (kind, length)
        assert facts(cache.parse(head)) == facts(parse_response_head(head))


def test_heads_that_differ_in_length_and_trace_are_one_head() -> None:
    cache = RequestHeads()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\ntraceparent: %b\r\n\r\n"
    assert not isinstance(cache.parse(head % (333, TRACE)), Refusal)
    first = cache.parse(head % (1, TRACE))
    second = cache.parse(head % (22, TRACE.replace(b"b7", b"c8")))
    assert not isinstance(first, Refusal)
    assert not isinstance(second, Refusal)
    assert second[0] is first[0]
    assert (first[1:], second[1:]) == ((1, TRACE), (22, TRACE.replace(b"b7", b"c8")))


@pytest.mark.parametrize("size", [ENTRIES - 1, ENTRIES, 3 * ENTRIES, ONCE + 1])
def test_however_many_heads_come_the_memory_is_bounded(size: int) -> None:
    cache = RequestHeads()
    for number in range(size):
        for _ in range(2):
            assert not isinstance(cache.parse(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number), Refusal)
    assert 0 < len(cache._known) <= ENTRIES
    assert len(cache._once) <= ONCE
    cache.forget()
    assert not cache._known


def test_heads_that_never_come_again_put_nobody_out() -> None:
    cache = RequestHeads()
    head = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(2):
        first = cache.parse(head % b"often")
    assert not isinstance(first, Refusal)
    for number in range(2 * ENTRIES):
        cache.parse(head % b"%d" % number)
    again = cache.parse(head % b"often")
    assert not isinstance(again, Refusal)
    assert again[0] is first[0]
    assert len(cache._known) == 1


@given(
    heads=st.lists(st.lists(st.sampled_from(PIECES), max_size=7).map(b"".join), min_size=2, max_size=12),
    behind=st.sampled_from([b"", b"x", b"{}", b"\r\n", b"GET / HTTP/1.1\r\n"]),
)
def test_what_is_likely_is_what_would_be_read(heads: list[bytes], behind: bytes) -> None:
    """Or a head would be taken for the one before it: a smuggled request."""
    for before in heads:
        read = parse_request_head(before)
        guess = likely(before, read) if isinstance(read, RequestHead) else None
        for head in heads if guess is not None else ():
            assert guess is not None
            end, length = guess.match(head + behind, 4096)
            if end >= 0:
                assert end == head_end(head + behind)
                assert facts((guess.head, length, None)) == facts(parse_request_head(head))


def test_only_the_length_may_differ() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\nAccept: a\r\n\r\n"
    read = parse_request_head(head % b"5")
    assert isinstance(read, RequestHead)
    guess = likely(head % b"5", read)
    assert guess is not None
    assert guess.match((head % b"17") + b"body", 4096) == (len(head % b"17"), 17)
    for end in range(len(head % b"17")):
        assert guess.match((head % b"17")[:end], 4096) == (-1, 0), "not all there"
    assert guess.match(head % b"17", len(head % b"17") - 1) == (-1, 0), "longer than a head may be"
    for length in (b"", b" 5", b"5 ", b"+5", b"5\r\nX: y", b"1" * 19):
        assert guess.match(head % length, 4096) == (-1, 0)
    assert guess.match((head % b"5").replace(b"Accept: a", b"Accept: b"), 4096) == (-1, 0)


def test_what_has_a_trace_or_no_length_is_never_likely() -> None:
    for field in (b"traceparent: " + TRACE + b"\r\nContent-Length: 1\r\n", b"", b"CONTENT-LENGTH: 1\r\n"):
        raw = b"POST / HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n"
        read = parse_request_head(raw)
        assert isinstance(read, RequestHead)
        assert likely(raw, read) is None
