"""Server-sent events: a byte stream, split anywhere, taken apart into events.

In:      the payload of a `text/event-stream` body.
Out:     Events in order; `pending` says how many bytes of an unfinished one have come.
Limits:  an event over max_event sets `overflow` and ends the reading: nothing is held any longer. `pending` then says
         how many bytes of it had come.
Errors:  none: what is no field of an event is ignored, as the standard asks.
Source:  WHATWG HTML, 9.2.6. `id` and `retry` are ignored. Beyond it: an event with a name but no data is
         told (data None), and a field `error`, by which older llama.cpp servers report failures, is read as
         an event of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

# Two line ends, each LF, CRLF or CR; written so that the search skips to the first CR or LF at C speed.
_BLANK_LINE: Final = re.compile(rb"\n(?:\r\n?|\n)|\r(?:\n(?:\r\n?|\n)|\r\n?)")
MAX_EVENT: Final = 16 * 1024 * 1024  # an image that is streamed comes as one event of some MiB
_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 10  # bytes are found among bytes by their number without a detour
_CR: Final = 13


class Event(NamedTuple):
    """One event. `name` None: it has none; `data` None: it has none, which browsers would not dispatch."""

    name: bytes | None
    data: bytes | None


class EventReader:
    """Reads one stream."""

    __slots__ = ("_begun", "_held", "_max_event", "_searched", "overflow", "pending")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        self._held = bytearray()  # the event that has not all come
        self._searched = 0  # how much of it is known to hold no blank line
        self._begun = False  # past a byte order mark
        self.overflow = False
        self.pending = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that end in this data."""
        if (
            not self.pending
            and self._begun
            and data.endswith(b"\n\n")
            and _CR not in data
            and len(data) <= self._max_event
        ):
            return _read_blocks(data[:-2].split(b"\n\n"))
        return self._feed_slowly(data)

    def _feed_slowly(self, data: bytes) -> list[Event]:
        if self.overflow:
            return []
        held = self._held
        held += data
        if not self._begun and not self._pass_mark():
            self.pending = len(held)
            return []
        blocks = []
        begin, end = 0, _BLANK_LINE.search(held, max(self._searched - 3, 0))
        while end is not None:
            block = bytes(held[begin : end.start()]).lstrip(
                b"\r\n"
            )  # line ends before an event are not its own
            if len(block) > self._max_event:
                break
            blocks.append(block)
            begin = end.end()
            end = _BLANK_LINE.search(held, begin)
        del held[:begin]
        self._drop_blank_lines()
        self._searched = self.pending = len(held)
        if len(held) > self._max_event < len(held.rstrip(b"\r\n")):  # its line end is no part of an event
            self.overflow = True
            held.clear()  # `pending` stays, and shuts the fast way too
        return _read_blocks(blocks)

    def _pass_mark(self) -> bool:
        """Whether it is known that a byte order mark is past, or that there is none."""
        held = self._held
        if len(held) < 3 and _BOM.startswith(held):
            return False
        if held.startswith(_BOM):
            del held[:3]
        self._begun = True
        return True

    def _drop_blank_lines(self) -> None:
        """Line ends before an event belong to none; a lone CR may be the first half of one."""
        held = self._held
        if held.startswith((b"\n", b"\r")):
            held[:] = held.lstrip(b"\r\n")


def event_ends(data: bytes) -> Iterator[int]:
    """Where each of some whole events ends, its blank line included."""
    return (blank.end() for blank in _BLANK_LINE.finditer(data))


def _read_blocks(blocks: list[bytes]) -> list[Event]:
    events = []
    for block in blocks:
        if block.startswith(b"data: ") and _LF not in block and _CR not in block:
            events.append(Event(None, block[6:]))
        elif (event := _read_block(block)) is not None:
            events.append(event)
    return events


def _read_block(block: bytes) -> Event | None:
    name: bytes | None = None
    data: list[bytes] = []
    for line in block.splitlines():  # of bytes: at LF, CR and CRLF, nothing else
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"error":
            name = b"error"
            data.append(value)
    if name is None and not data:
        return None
    return Event(name, b"\n".join(data) if data else None)
