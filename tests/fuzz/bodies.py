"""Bodies under fuzzing: chunks against httptools, JSON against json.loads.

In:      the bytes of a body as they came.
Errors:  AssertionError where a split changes the reading, or the second opinion is another one.
"""

from __future__ import annotations

import httptools

from sidecar.wire.framing import Chunked, chunk
from tests.fuzz.heads import Heard
from tests.fuzz.ways import ways
from tests.wire import test_json_scan
from tests.wire.test_request_body import ODD, agrees_with_json

_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(data: bytes) -> None:
    walkers, payloads = [], []
    for pieces in ways(data):
        walker = Chunked()
        payloads.append(b"".join([walker.feed(piece) for piece in pieces]))
        walkers.append(walker)
    whole, payload = walkers[0], payloads[0]
    for other in walkers[1:]:
        assert _stands(other) == _stands(whole)
    assert set(payloads) == {payload}
    assert (whole.eof() is None) is whole.done
    again = Chunked()
    assert again.feed(chunk(payload)) == payload
    if whole.broken is None:
        _httptools_agrees(data[: len(data) - len(whole.left_over)], payload, done=whole.done)


def request_body(data: bytes) -> None:
    agrees_with_json(data)
    agrees_with_json(data.replace(b"{", b"{" + ODD, 1))
    if _is_utf8(data):
        test_json_scan.agrees_with_json(data)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _stands(walker: Chunked) -> tuple[bool, bytes, str | None, bool]:
    return walker.done, walker.left_over, walker.broken, walker.between_chunks


def _httptools_agrees(data: bytes, payload: bytes, *, done: bool) -> None:
    heard = Heard()
    try:
        httptools.HttpRequestParser(heard).feed_data(_HEAD + data)
    except httptools.HttpParserError:
        return  # it knows fewer extensions
    assert heard.body == payload
    assert heard.complete is done
