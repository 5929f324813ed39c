"""An event stream means the same however it is split and whatever ends its lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.sse import Event, EventReader
from tests.wire.splits import PLACES, bytewise, cut


def read(*pieces: bytes) -> list[Event]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event(None, b"a")]),
        (b"data: a\n\ndata: b\n\n", [Event(None, b"a"), Event(None, b"b")]),
        (b"data:a\n\ndata:  b\n\n", [Event(None, b"a"), Event(None, b" b")]),
        (b"data: a\ndata: b\n\n", [Event(None, b"a\nb")]),
        (b"data\ndata\n\n", [Event(None, b"\n")]),
        (b"data:\n\n", [Event(None, b"")]),
        (b"event: x\ndata: a\n\n", [Event(b"x", b"a")]),
        (b"data: a\nevent: x\nevent: y\n\n", [Event(b"y", b"a")]),
        (b"event: ping\n\n", [Event(b"ping", None)]),
        (b": comment\n\n: another\n\n", []),
        (b": comment\ndata: a\n\n", [Event(None, b"a")]),
        (b"id: 1\nretry: 5\nunknown: x\n\n", []),
        (b"\n\n\ndata: a\n\n\n\n", [Event(None, b"a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event(None, b"a"), Event(None, b"b")]),
        (b"data: a\r\rdata: b\r\r", [Event(None, b"a"), Event(None, b"b")]),
        (b"data: a\r\ndata: b\n\r\n", [Event(None, b"a\nb")]),
        (b"data: a\r\r\ndata: b\n\n", [Event(None, b"a"), Event(None, b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(None, b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(None, b"a")]),
        (b"data: \xe4\xbd\xa0\x85\x0b\n\n", [Event(None, b"\xe4\xbd\xa0\x85\x0b")]),
        (b'error: {"code":500}\n\n', [Event(b"error", b'{"code":500}')]),
        (b"data: a\n", []),
    ],
)
def test_streams_are_read_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    """WHATWG HTML 9.2.6, at once and byte by byte."""
    assert read(stream) == events
    assert read(*bytewise(stream)) == events


LINES = st.sampled_from([b"data: a", b"data", b"event: e", b": c", b"id: 1", b"", b"", b"\xef\xbb\xbf"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=16), PLACES)
def test_any_split_gives_the_same_events(lines: list[tuple[bytes, bytes]], places: list[int]) -> None:
    """Reads end anywhere, between CR and LF too."""
    stream = b"".join(line + end for line, end in lines)
    whole = read(stream)
    assert read(*bytewise(stream)) == whole
    assert read(*cut(stream, places)) == whole


@given(st.lists(st.tuples(LINES, ENDS), max_size=16))
def test_events_are_those_of_a_plain_reading_of_the_standard(lines: list[tuple[bytes, bytes]]) -> None:
    """The standard's own algorithm, line by line, as the oracle."""
    stream = b"".join(line + end for line, end in lines)
    name: bytes | None = None
    data: list[bytes] = []
    expected = []
    text = stream.removeprefix(b"\xef\xbb\xbf")
    for line in text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]:
        field, _, value = line.partition(b":")
        if line == b"":
            if name is not None or data:
                expected.append(Event(name, b"\n".join(data) if data else None))
            name, data = None, []
        elif field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    assert read(stream) == expected


def test_pending_counts_the_bytes_of_an_unfinished_event() -> None:
    """The relay holds exactly these back."""
    reader, seen = EventReader(), []
    for piece in (b"data: a", b"\n", b"\n", b"\n", b": c\r\n", b"data: b\r\n\r", b"\n", b"data: c\n\nda"):
        reader.feed(piece)
        seen.append(reader.pending)
    assert seen == [7, 8, 0, 0, 5, 0, 0, 2]


@pytest.mark.parametrize("pieces", [[b"data: 345678901\n\n"], list(bytewise(b"data: 345678901\n\n"))])
def test_an_event_beyond_the_limit_ends_the_reading(pieces: list[bytes]) -> None:
    """However it comes; and nothing is held any longer."""
    reader = EventReader(max_event=14)
    assert [event for piece in [b"data: 345678\r\n\r\n", *pieces] for event in reader.feed(piece)] == [
        Event(None, b"345678")
    ]
    assert (reader.overflow, reader.pending) == (
        True,
        len(pieces[0] if len(pieces) == 1 else b"data: 345678901"),
    )
    assert reader.feed(b"data: a\n\n") == []


def test_an_event_at_the_limit_is_read() -> None:
    """The line ends that close it are not counted."""
    reader = EventReader(max_event=14)
    events = [event for piece in bytewise(b"data: 34567890\r\n\r\n") for event in reader.feed(piece)]
    assert (events, reader.overflow) == ([Event(None, b"34567890")], False)
