"""Event streams under fuzzing: their events, and what every dialect reads in them.

In:      the payload of a `text/event-stream` body; for `stream`, behind one byte that chooses how it is read.
Errors:  AssertionError where a split changes an event or what is made of it.
"""

from __future__ import annotations

import json
from itertools import product

from sidecar.wire.dialect import Shape
from sidecar.wire.first_packet import StreamReader
from sidecar.wire.sse import Event, EventReader
from tests.fuzz.ways import by_events, ways

_MAX_EVENT = 48  # small enough for the fuzzer to go beyond it
# By their places in kept inputs; what stands beside messages is read like any other.
_SHAPES = [shape for shape in Shape if shape is not Shape.BESIDE_MESSAGES]
READINGS = list(product(("content", "event", "body", "headers"), _SHAPES))


def sse(data: bytes) -> None:
    for limit in (1024 * 1024, _MAX_EVENT):
        seen = []
        for pieces in ways(data):
            reader = EventReader(limit)
            events: list[Event] = []
            for piece in pieces:
                events += reader.feed(piece)
                held = 0 if reader.overflow else reader.pending
                assert held <= limit + 4 + 3, "more is held than an event and its line ends"
            seen.append((events, reader.overflow, held))
        assert seen[1:] == seen[:1] * 2


def stream(data: bytes) -> None:
    first_packet_is, shape = READINGS[(data[0] - ord("0")) % len(READINGS) if data else 0]
    payload = data[1:]
    seen = [_read(shape, first_packet_is, pieces) for pieces in [*ways(payload), by_events(payload)]]
    assert seen[1:] == seen[:1] * 3, seen


def _read(shape: Shape, first_packet_is: str, pieces: list[bytes]) -> object:
    reader = StreamReader(shape, first_packet_is)
    for piece in pieces:
        before = (reader.progress, reader.content, reader.finished, reader.error)
        reader.feed(piece)
        now = (reader.progress, reader.content, reader.finished, reader.error)
        for was, became in zip(before, now, strict=True):
            assert not was or became, "what was known is forgotten"
    json.dumps([reader.error, reader.response_id]).encode()
    return (
        reader.progress,
        reader.content,
        reader.finished,
        reader.done_marker,
        reader.error,
        reader.usage,
        reader.response_id,
        reader.overflow,
        reader.pending,
    )
