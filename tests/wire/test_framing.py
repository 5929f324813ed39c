"""Bodies end where their framing says, however they are split."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.framing import (
    LAST_CHUNK,
    Chunked,
    Counted,
    Nothing,
    UntilClose,
    Walker,
    chunk,
    response_walker,
)
from sidecar.wire.heads import ResponseHead, parse_response_head
from tests.wire.splits import PLACES, bytewise, cut


def walk(walker: Walker, pieces: Iterable[bytes]) -> tuple[bytes, bool, bytes, str | None, bool]:
    payload = b"".join([walker.feed(piece) for piece in pieces])
    return payload, walker.done, walker.left_over, walker.broken, walker.between_chunks


PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@given(PAYLOADS, st.sampled_from([b"", b"X: y\r\n", b"A: b\r\nC:\r\n"]), st.binary(max_size=9), PLACES)
def test_any_split_of_chunks_gives_the_payload(
    payloads: list[bytes], trailer: bytes, more: bytes, places: list[int]
) -> None:
    """Reads end anywhere; trailers are no payload, and what follows is known to follow."""
    data = b"".join(map(chunk, payloads)) + b"0\r\n" + trailer + b"\r\n" + more
    expected = (b"".join(payloads), True, more, None, False)
    assert walk(Chunked(), [data]) == expected
    assert walk(Chunked(), bytewise(data)) == expected
    assert walk(Chunked(), cut(data, places)) == expected


@given(st.text('05aF;="\\ \tx:\r\n', max_size=40).map(str.encode), PLACES)
def test_any_split_of_nonsense_gives_the_same_verdict(data: bytes, places: list[int]) -> None:
    """Else a peer could choose the verdict by how it sends."""
    whole = walk(Chunked(max_trailer=12, max_extension=6), [data])
    assert walk(Chunked(max_trailer=12, max_extension=6), bytewise(data)) == whole
    assert walk(Chunked(max_trailer=12, max_extension=6), cut(data, places)) == whole


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"-5\r\n",
        b"+5\r\n",
        b"0x5\r\n",
        b"5_0\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"5\n",
        b"5\nhello\r\n",
        b"\n",
        b"12345678123456781\r\n",
        b"5;\r\nhello",
        b"5;a=\r\n",
        b'5;a="b\r\n',
        b"5;a\0\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello\rX",
        b"5\r\nhello\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA : b\r\n\r\n",
    ],
)
def test_malformed_chunks_are_broken(data: bytes) -> None:
    """RFC 9112 7.1: a lenient size, a bare LF or a loose end are each a known way to smuggle."""
    walker = Chunked()
    walker.feed(data)
    assert walker.broken is not None
    assert (walker.done, walker.between_chunks, walker.left_over) == (False, False, b"")
    assert walker.feed(b"5\r\nhello\r\n") == b""
    assert walker.eof() == walker.broken


@pytest.mark.parametrize("line", [b"5;a", b'5;a=b;c="d\\"e"', b"05 ; a = b", b"5;a;b"])
def test_extensions_are_read_over(line: bytes) -> None:
    """RFC 9112 7.1.1: unknown ones must be ignored."""
    assert walk(Chunked(), [line + b"\r\nhello\r\n"]) == (b"hello", False, b"", None, True)


@pytest.mark.parametrize(
    "size", [b"7fffffffffffffff", b"ffffffffffffffff", b"0fffffffffffffff;a", b"0000000000000005"]
)
def test_a_chunk_may_say_that_it_is_larger_than_any_can_be(size: bytes) -> None:
    """Sixteen digits are read; whoever believes them waits for its end in vain."""
    walker = Chunked()
    assert walk(walker, [size + b"\r\n", b"some"]) == (b"some", False, b"", None, False)


def test_size_lines_and_trailers_are_bounded() -> None:
    """Neither may be used to make the sidecar hold what it is sent."""
    extended = Chunked(max_extension=20)
    extended.feed(b"5;" + b"a" * 40)
    assert extended.broken is not None
    trailing = Chunked(max_trailer=64)
    trailing.feed(b"0\r\n")
    trailing.feed(b"A: b\r\n" * 20)
    assert trailing.broken is not None


def test_the_places_between_chunks_are_known() -> None:
    """There the exchange may put a chunk of its own: the error event of a broken stream."""
    walker, seen = Chunked(), []
    for piece in (
        b"5\r\n",
        b"hello",
        b"\r",
        b"\n",
        b"5\r\nhello\r\n",
        b"3",
        b"\r\nabc\r\n0",
        b"\r\n",
        b"\r\n",
    ):
        walker.feed(piece)
        seen.append(walker.between_chunks)
    assert seen == [False, False, False, True, True, False, False, False, False]
    assert walker.done


def test_a_long_chunk_passes_as_it_comes() -> None:
    """Nothing of a payload is held back."""
    walker = Chunked()
    assert walker.feed(b"100000\r\nabc") == b"abc"
    block = b"x" * 65536
    assert walker.feed(block) is not None
    assert walker.eof() == "closed before the last chunk of its body"


@given(st.binary(max_size=60), st.binary(max_size=9), PLACES)
def test_a_counted_body_ends_at_its_count(body: bytes, more: bytes, places: list[int]) -> None:
    """One message an exchange: what follows is left over, not payload."""
    expected = (body, True, more, None, True)
    assert walk(Counted(len(body)), [body + more]) == expected
    assert walk(Counted(len(body)), bytewise(body + more)) == expected
    assert walk(Counted(len(body)), cut(body + more, places)) == expected


def test_a_closed_connection_ends_only_what_it_may() -> None:
    """RFC 9112 8: an incomplete body must not pass for a whole one."""
    counted = Counted(5)
    counted.feed(b"abc")
    assert counted.eof() == "closed 2 bytes before the end of its body"
    counted.feed(b"de")
    assert counted.eof() is None
    chunked = Chunked()
    chunked.feed(b"1\r\na\r\n0\r\n")
    assert chunked.eof() is not None
    chunked.feed(b"\r\n")
    assert chunked.eof() is None
    until_close = UntilClose()
    assert (until_close.feed(b"abc"), until_close.done) == (b"abc", False)
    assert (until_close.eof(), until_close.done) == (None, True)
    nothing = Nothing()
    assert (nothing.done, nothing.eof(), nothing.feed(b"x"), nothing.left_over) == (True, None, b"", b"x")


def response(status: int, field: bytes = b"") -> ResponseHead:
    head = parse_response_head(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, field))
    assert isinstance(head, ResponseHead)
    return head


CHUNKED_FIELD, LENGTH_FIELD = b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"


@pytest.mark.parametrize(
    ("head", "method", "kind"),
    [
        (response(200, CHUNKED_FIELD), "POST", Chunked),
        (response(200, LENGTH_FIELD), "POST", Counted),
        (response(200), "GET", UntilClose),
        (response(200, LENGTH_FIELD), "HEAD", Nothing),
        (response(200, CHUNKED_FIELD), "HEAD", Nothing),
        (response(204, LENGTH_FIELD), "POST", Nothing),
        (response(304, LENGTH_FIELD), "GET", Nothing),
        (response(103), "GET", Nothing),
    ],
)
def test_a_response_has_the_body_that_9112_gives_it(
    head: ResponseHead, method: str, kind: Callable[..., object]
) -> None:
    """RFC 9112 6.3, in its order."""
    assert type(response_walker(head, method, head.content_length)) is kind


def test_no_payload_makes_no_chunk() -> None:
    """An empty chunk is the last one: it would end the body cleanly."""
    assert (chunk(b""), chunk(b"x" * 26)) == (b"", b"1a\r\n" + b"x" * 26 + b"\r\n")
    assert walk(Chunked(), [LAST_CHUNK]) == (b"", True, b"", None, False)
