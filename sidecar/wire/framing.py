"""Walkers over a message body: where it ends, what of it is payload. The bytes themselves pass as they came.

In:      the bytes after a head, split anywhere.
Out:     payload, as much as each split holds; `done`, `left_over`, `broken` say how the body stands.
Limits:  a chunk's size line, with extensions, and a trailer section are bounded; payload is not, nor held.
Errors:  `broken` says what is wrong with the framing; from there on nothing more is payload.
Source:  RFC 9112 6 and 7. Trailers are checked and dropped, so they never read as payload or as headers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sidecar.wire.digits import hexadecimal
from sidecar.wire.heads import ResponseHead

if TYPE_CHECKING:  # as in sidecar/wire/json_scan.py
    from mypy_extensions import i64

LAST_CHUNK: Final = b"0\r\n\r\n"

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_TEXT: Final = rb'[^"\\\x00-\x08\x0a-\x1f\x7f]*+'
_QUOTED: Final = b'"' + _TEXT + rb"(?:\\[^\x00-\x08\x0a-\x1f\x7f]" + _TEXT + b')*"'
_EXTENSION: Final = (
    rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + b"|" + _QUOTED + rb"))?"
)
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*")
_TRAILER_LINE: Final = re.compile(_TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*+")

_CR: Final = 13
_LF: Final = 10

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILER: Final = 3


class Walker:
    """What every kind of body answers. No Protocol: an attribute of a class that is known is read without a look-up.

    done            the body has ended, as its framing says
    left_over       what followed the end; not empty: the peer sent more than one message
    broken          why the framing is malformed; None: it is not
    between_chunks  a whole chunk could be put in here; True for bodies that know no chunks
    """

    __slots__ = ("between_chunks", "broken", "done", "left_over")

    def __init__(self, *, done: bool = False) -> None:
        self.done = done
        self.left_over = b""
        self.broken: str | None = None
        self.between_chunks = True

    def feed(self, data: bytes) -> bytes:
        """The payload in this data."""
        raise NotImplementedError

    def eof(self) -> str | None:
        """The peer closed: None if that is a proper end, else why it is not."""
        raise NotImplementedError


class Counted(Walker):
    """A body of a known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        super().__init__(done=length == 0)
        self._left = length

    def feed(self, data: bytes) -> bytes:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self.done = True
        if left == 0:
            self._left = 0
            return data
        payload, extra = data[: self._left], data[self._left :]
        self._left = 0
        self.left_over += extra
        return payload

    def eof(self) -> str | None:
        return None if self.done else f"closed {self._left} bytes before the end of its body"


class UntilClose(Walker):
    """A response body that ends with its connection. Nothing tells a cut from an end."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        return data

    def eof(self) -> str | None:
        self.done = True
        return None


class Nothing(Walker):
    """No body, whatever the head says: answers to HEAD, 1xx, 204, 304, requests without a length."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(done=True)

    def feed(self, data: bytes) -> bytes:
        self.left_over += data
        return b""

    def eof(self) -> str | None:
        return None


class Chunked(Walker):
    """The chunked coding. `_held` is a size line, a chunk's CRLF or a trailer that has not all come."""

    __slots__ = (
        "_held",
        "_left",
        "_max_line",
        "_max_trailer",
        "_state",
    )

    def __init__(self, max_trailer: int = 8192, max_extension: int = 1024) -> None:
        super().__init__()
        self._max_trailer = max_trailer
        self._max_line = 16 + max_extension
        self._state = _SIZE
        self._left = 0  # of the chunk's data
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if self.between_chunks:  # streams come as one whole chunk a read: nothing to keep, nothing to change
            size, end = hexadecimal(data, 0)
            whole = end + size + 4
            if (
                size
                and len(data) == whole
                and data[end] == _CR
                and data[end + 1] == _LF
                and data[whole - 2] == _CR
                and data[whole - 1] == _LF
            ):
                return data[end + 2 : whole - 2]
        return self._walk(data)

    def eof(self) -> str | None:
        if self.done:
            return None
        return self.broken or "closed before the last chunk of its body"

    def _walk(self, data: bytes) -> bytes:
        if self.done:
            self.left_over += data
            return b""
        if self._held:
            data, self._held = self._held + data, b""
        parts: list[bytes] = []
        at = 0
        while at < len(data) and not self.done and self.broken is None:
            if self._state == _SIZE:
                at = self._size_line(data, at)
            elif self._state == _DATA:
                part = data[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                if not self._left:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                at = self._data_end(data, at)
            else:
                at = self._trailer_line(data, at)
        self.between_chunks = self._state == _SIZE and not (self._held or self.done or self.broken)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _size_line(self, data: bytes, at: int) -> int:
        end = self._line_end(data, at, self._max_line, "a chunk size line")
        if end < 0:
            return len(data)
        size, size_end = hexadecimal(data, at)
        if at < size_end == end:
            self._left = size
        else:  # with an extension, or of more digits than anybody needs
            match = _SIZE_LINE.fullmatch(data, at, end)
            if match is None:
                self.broken = "has a malformed chunk size line"
                return len(data)
            self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILER
        return end + 2

    def _data_end(self, data: bytes, at: int) -> int:
        mark = data[at : at + 2]
        if mark == b"\r\n":
            self._state = _SIZE
        elif mark == b"\r":
            self._held = mark
        else:
            self.broken = "has a chunk that is longer than its size"
        return at + 2

    def _trailer_line(self, data: bytes, at: int) -> int:
        end = self._line_end(data, at, self._max_trailer, "a trailer section")
        if end < 0:
            return len(data)
        if end == at:
            self.done = True
            self.left_over = data[end + 2 :]
        elif not _TRAILER_LINE.fullmatch(data, at, end):
            self.broken = "has a malformed trailer"
        self._max_trailer -= end + 2 - at  # the limit is on the whole section
        return end + 2

    def _line_end(self, data: bytes, at: int, limit: int, what: str) -> int:
        """Where the line's CRLF is; -1: not here, and the line is held, or broken for good."""
        most = min(len(data), at + limit + 2)
        end: i64 = at
        while end < most and data[end] != 10:
            end += 1
        size = end - at  # its CR included, if that has come
        if size > limit + 1:
            self.broken = f"has too long {what}"
        elif end == most:
            self._held = data[at:]
        elif size == 0 or data[end - 1] != 13:
            self.broken = "has a bare LF in its chunked framing"
        else:
            return end - 1
        return -1


def response_walker(head: ResponseHead, request_method: str, length: int | None) -> Walker:
    """The walker of a response's body (RFC 9112 6.3). `length`: its Content-Length."""
    if not may_have_body(head.status, request_method):
        return Nothing()
    if head.chunked:
        return Chunked()
    return Counted(length) if length is not None else UntilClose()


def may_have_body(status: int, request_method: str) -> bool:
    """Whether a response has the body that its head tells of (RFC 9112 6.3)."""
    return request_method != "HEAD" and status >= 200 and status not in (204, 304)


def chunk(payload: bytes) -> bytes:
    """One whole chunk; nothing for no payload, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
