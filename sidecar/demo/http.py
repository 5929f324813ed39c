"""As much HTTP/1.1 as a simulated LLM service needs: one request out of a buffer, heads of answers, chunks.

In:      bytes as received.
Out:     a Request and how many bytes it took; bytes to send.
Limits:  a head of 16 KiB, a body of 16 MiB that comes with its length.
Errors:  Refused, with the status to answer; the connection is of no use afterwards.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

MAX_HEAD = 16 * 1024
MAX_BODY = 16 * 1024 * 1024
LAST_CHUNK = b"0\r\n\r\n"


class Request(NamedTuple):
    method: str
    path: str  # without its query
    body: bytes
    keep_alive: bool


class Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def take(buffer: bytearray) -> Request | None:
    """Takes one whole request off the buffer's front; None: it is not all there yet."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0 or end > MAX_HEAD:
        if len(buffer) > MAX_HEAD:
            raise Refused(431, "the head is too long")
        return None
    line, *rows = buffer[:end].decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Refused(400, "that is no HTTP/1.1")
    if "transfer-encoding" in fields:
        raise Refused(411, "a body has to come with its length")
    length = fields.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
        raise Refused(413, f"a body has to have 0 to {MAX_BODY} bytes")
    start = end + 4
    if len(buffer) < start + int(length):
        return None
    body = bytes(buffer[start : start + int(length)])
    del buffer[: start + int(length)]
    keep_alive = words[2] != "HTTP/1.0" and fields.get("connection", "").lower() != "close"
    return Request(words[0], words[1].partition("?")[0], body, keep_alive)


def answer(status: int, body: bytes, *, keep_alive: bool = True) -> bytes:
    """A whole answer, JSON."""
    return _head(status, "application/json", f"content-length: {len(body)}", keep_alive=keep_alive) + body


def stream_head(*, keep_alive: bool) -> bytes:
    return _head(200, "text/event-stream", "transfer-encoding: chunked", keep_alive=keep_alive)


def chunk(payload: bytes) -> bytes:
    """Nothing for nothing: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def _head(status: int, content_type: str, framing: str, *, keep_alive: bool) -> bytes:
    connection = "" if keep_alive else "connection: close\r\n"
    reason = HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\n{framing}\r\n{connection}\r\n".encode()
