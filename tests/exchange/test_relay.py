"""The relay: bytes as they came, whole events only, and an end the app can trust."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange.relay import KEEP_EVENT, WHOLE, Framing, Relay, StreamRelay, framing_for
from sidecar.failure import Failure, FailureKind
from sidecar.record import RequestRecord
from sidecar.wire.dialect import Shape
from sidecar.wire.first_packet import StreamReader
from sidecar.wire.framing import Chunked, Counted, UntilClose, chunk
from sidecar.wire.heads import ResponseHead, parse_response_head

EVENTS = [
    b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"b"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]
VERBATIM = Framing(chunked=True, verbatim=True, until_close=False)
LAST = b"0\r\n\r\n"


def head(*fields: bytes) -> ResponseHead:
    parsed = parse_response_head(b"\r\n".join((b"HTTP/1.1 200 OK", *fields, b"", b"")))
    assert isinstance(parsed, ResponseHead)
    return parsed


class Wire:
    """What the app gets, and the stream relay that writes it."""

    def __init__(self, framing: Framing = VERBATIM, max_event: int = 1024 * 1024) -> None:
        self.sent: list[bytes] = []
        self.reader = StreamReader(Shape.CHAT, "content", max_event)
        self.record = RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0)
        self.relay = StreamRelay(self.sent.append, Chunked(), self.reader, Shape.CHAT, framing, self.record)

    @property
    def payload(self) -> bytes:
        walker = Chunked()
        read = walker.feed(b"".join(self.sent))
        assert walker.broken is None
        return read


def test_whole_chunks_of_whole_events_go_on_byte_for_byte() -> None:
    wire = Wire()
    for event in EVENTS[:3]:
        assert wire.relay.received(chunk(event)) is None
    assert wire.sent == [chunk(event) for event in EVENTS[:3]]
    assert wire.relay.received(chunk(EVENTS[3]) + LAST) is WHOLE
    assert wire.record.bytes_out == sum(map(len, wire.sent))


@given(cuts=st.lists(st.integers(min_value=1, max_value=330), max_size=40, unique=True))
def test_however_the_bytes_are_split_the_app_reads_the_same(cuts: list[int]) -> None:
    data = b"".join(map(chunk, EVENTS)) + LAST
    wire, results = Wire(), []
    places = [0, *sorted(c for c in cuts if c < len(data)), len(data)]
    for start, end in pairwise(places):
        results.append(wire.relay.received(data[start:end]))
    assert wire.payload == b"".join(EVENTS)
    assert b"".join(wire.sent).endswith(LAST)
    assert results[-1] is WHOLE


@given(cut=st.integers(min_value=1, max_value=150))
def test_what_is_cut_anywhere_leaves_the_app_at_an_event_s_end(cut: int) -> None:
    """Only so can an error event follow that the app's SDK reads as one."""
    wire = Wire()
    wire.relay.received((chunk(EVENTS[0]) + chunk(EVENTS[1]))[:cut])
    broken = wire.relay.cut("reset by peer")
    assert isinstance(broken, Failure)
    said = b"".join(wire.sent) + wire.relay.last_words(b'data: {"error":{}}\n\n')
    walker = Chunked()
    payload = walker.feed(said)
    assert payload.endswith(b'data: {"error":{}}\n\n')
    assert payload.removesuffix(b'data: {"error":{}}\n\n') in (b"", EVENTS[0], EVENTS[0] + EVENTS[1])
    assert not walker.done


def test_an_end_without_a_finish_is_no_end() -> None:
    wire = Wire()
    result = wire.relay.received(chunk(EVENTS[0]) + LAST)
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.TRUNCATED_STREAM
    assert LAST not in b"".join(wire.sent)


def test_a_reset_after_the_finish_misses_nothing() -> None:
    wire = Wire()
    wire.relay.received(chunk(EVENTS[2]))
    assert wire.relay.cut("reset by peer") is WHOLE
    assert b"".join(wire.sent).endswith(LAST)


def test_an_error_of_the_service_goes_on_and_is_the_last_word() -> None:
    wire = Wire()
    error = b'data: {"error":{"message":"out of memory"}}\n\n'
    result = wire.relay.received(chunk(EVENTS[0]) + chunk(error) + LAST)
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.IN_STREAM_ERROR
    assert wire.payload == EVENTS[0] + error
    assert wire.relay.last_words(b"data: ours\n\n") == b""
    assert LAST not in b"".join(wire.sent)


LARGE = EVENTS[0].replace(b'"a"', b'"%b"' % (b"x" * 1024))


@given(cuts=st.lists(st.integers(min_value=1, max_value=1250), max_size=8, unique=True))
def test_an_event_over_the_limit_breaks_its_stream_at_the_event_s_beginning(cuts: list[int]) -> None:
    """However it comes, whole in one read too: the events before it arrive, and an error event may follow."""
    data = chunk(EVENTS[0]) + chunk(EVENTS[1] + LARGE)
    wire, results = Wire(max_event=1024), []
    for start, end in pairwise([0, *sorted(c for c in cuts if c < len(data)), len(data)]):
        results.append(wire.relay.received(data[start:end]))
        if results[-1] is not None:
            break
    assert isinstance(results[-1], Failure)
    assert results[-1].kind is FailureKind.BAD_RESPONSE
    assert wire.payload == EVENTS[0] + EVENTS[1]
    assert wire.relay.last_words(b"data: ours\n\n") == chunk(b"data: ours\n\n")


def test_an_event_of_which_a_part_has_gone_on_is_followed_by_nothing() -> None:
    """An error event would be read as more of it."""
    wire, part = Wire(), EVENTS[0][:-20] + b"x" * KEEP_EVENT
    assert wire.relay.received(chunk(part)) is None
    assert isinstance(wire.relay.received(chunk(b"x" * 1024 * 1024)), Failure)
    assert wire.payload == part
    assert wire.relay.last_words(b"data: ours\n\n") == b""


def test_an_old_app_gets_the_payload_without_chunks() -> None:
    wire = Wire(framing_for(head(b"transfer-encoding: chunked"), Chunked(), minor=0, stream=True))
    wire.relay.received(b"".join(map(chunk, EVENTS)) + LAST)
    assert b"".join(wire.sent) == b"".join(EVENTS)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"content-length: 5", b"hello"),
    ],
)
def test_an_answer_without_events_keeps_its_framing(field: bytes, expected: bytes) -> None:
    sent: list[bytes] = []
    parsed = head(field)
    walker = Chunked() if parsed.chunked else Counted(5)
    relay = Relay(
        sent.append,
        walker,
        framing_for(parsed, walker, minor=1, stream=False),
        RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0),
    )
    results = [relay.received(expected[i : i + 1]) for i in range(len(expected))]
    assert b"".join(sent) == expected
    assert results[-1] is WHOLE
    assert not any(results[:-1])


def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_app() -> None:
    """Else a cut could not be told from an end."""
    sent: list[bytes] = []
    walker = UntilClose()
    relay = Relay(
        sent.append,
        walker,
        framing_for(head(), walker, minor=1, stream=False),
        RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0),
    )
    assert relay.received(b"hello") is None
    assert relay.ended() is WHOLE
    assert b"".join(sent) == b"5\r\nhello\r\n0\r\n\r\n"


def test_bytes_after_the_end_do_not_reach_the_app() -> None:
    sent: list[bytes] = []
    walker = Counted(5)
    relay = Relay(
        sent.append,
        walker,
        framing_for(head(b"content-length: 5"), walker, minor=1, stream=False),
        RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0),
    )
    assert relay.received(b"helloHTTP/1.1 200 OK") is WHOLE
    assert sent == [b"hello"]
