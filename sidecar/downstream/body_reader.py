"""The body of a request that does not come whole with its head, collected until it is whole.

In:      what follows the head, split anywhere.
Out:     the body, its framing taken off, which becomes the replay buffer; what follows it on the connection.
Limits:  `most` bytes, as its length tells or as they come; pieces of less than SMALL_PIECE are joined.
Errors:  values: a Refused. Nothing is fed to it behind one.
Why:     an idle connection has none of these, and neither has one whose request came whole, as most do.
"""

from __future__ import annotations

from typing import Final

from sidecar.downstream.admission import Refused
from sidecar.wire.framing import Chunked, Counted, Walker

SMALL_PIECE: Final = 4096


class BodyReader:
    """Of one request."""

    __slots__ = ("_most", "_pieces", "_size", "_walker")

    def __init__(self, length: int | None, most: int) -> None:
        """`length`: None: it comes in chunks; else it is not beyond `most`."""
        self._walker: Walker = Chunked() if length is None else Counted(length)
        self._most = most
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def left_over(self) -> bytes:
        """What followed the body."""
        return self._walker.left_over

    def feed(self, data: bytes) -> bytes | Refused | None:
        """The whole body, or why it is refused; None: there is more to come."""
        walker = self._walker
        payload = walker.feed(data)
        if walker.broken is not None:
            return Refused(400, "bad_request", f"The chunked body is malformed: {walker.broken}")
        self._size += len(payload)
        if self._size > self._most:
            return too_large(self._most)
        if walker.done and len(payload) == self._size:
            return payload  # it came in one piece
        self._keep(payload)
        return b"".join(self._pieces) if walker.done else None

    def _keep(self, piece: bytes) -> None:
        pieces = self._pieces
        if pieces and len(pieces[-1]) < SMALL_PIECE:
            pieces[-1] += piece  # a body that drips in must not cost an object a byte
        elif len(piece):
            pieces.append(piece)


def too_large(most: int) -> Refused:
    return Refused(413, "body_too_large", f"The body is over {most} bytes")
