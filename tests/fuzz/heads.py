"""Request and response heads under fuzzing: no bytes raise, and httptools agrees on what both accept.

In:      the bytes of a connection, from the first of a head.
Errors:  AssertionError where one head has two readings; any exception is a finding.
"""

from __future__ import annotations

import re

import httptools

from sidecar.wire.head_cache import RequestHeads, ResponseHeads
from sidecar.wire.heads import (
    Field,
    Refusal,
    RequestHead,
    ResponseHead,
    end_to_end,
    head_end,
    parse_request_head,
    parse_response_head,
)
from tests.fuzz.ways import ways
from tests.slots import slots_of

_LENGTH = re.compile(rb"(?i)(\r\ncontent-length: )[0-9]+")


class Heard:
    """What httptools tells of one message."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.in_body = False
        self.complete = False
        self.keeps_alive = False
        self.parser: httptools.HttpRequestParser | None = None

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_body:  # trailers come the same way
            self.fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_body = True
        if self.parser is not None:  # asked now, for the end of the message makes it forget
            self.keeps_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def request_head(data: bytes) -> None:
    heads = _heads(data)
    known = RequestHeads()
    for head in _relatives(heads[0]):
        assert _request_facts(known.parse(head)) == _request_facts(parse_request_head(head))
    head, parsed = heads[0], parse_request_head(heads[0])
    if isinstance(parsed, Refusal):
        assert (parsed.code, parsed.status) == ("bad_request", 400)
        assert parsed.why
        assert all(isinstance(parse_request_head(other), Refusal) for other in heads)
        return
    assert set(heads) == {head}
    assert parsed.path.startswith("/") or (parsed.path == "*" and parsed.method == "OPTIONS")
    assert not (parsed.chunked and parsed.content_length is not None)
    _fields_are_clean(parsed.fields)
    heard = Heard()
    heard.parser = parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return  # stricter than we are, in methods and targets; what it refuses smuggles nothing
    assert heard.in_body
    assert (parser.get_method(), heard.url) == (parsed.method.encode(), parsed.target.encode())
    assert parser.get_http_version() == f"1.{parsed.minor}"
    assert heard.fields == [field[1:] for field in parsed.fields]
    assert heard.complete is not (parsed.chunked or bool(parsed.content_length))
    assert heard.keeps_alive or not parsed.keep_alive


def response_head(data: bytes) -> None:
    heads = _heads(data)
    known = ResponseHeads()
    for head in _relatives(heads[0]):
        assert _response_facts(known.parse(head)) == _response_facts(parse_response_head(head))
    head, parsed = heads[0], parse_response_head(heads[0])
    if isinstance(parsed, str):
        assert parsed
        assert all(isinstance(parse_response_head(other), str) for other in heads)
        return
    assert set(heads) == {head}
    assert 100 <= parsed.status <= 599
    assert not (parsed.chunked and parsed.content_length is not None)
    _fields_are_clean(parsed.fields)
    heard = Heard()
    parser = httptools.HttpResponseParser(heard)
    try:
        parser.feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return
    assert heard.in_body
    assert (parser.get_status_code(), parser.get_http_version()) == (parsed.status, f"1.{parsed.minor}")
    assert heard.fields == [field[1:] for field in parsed.fields]
    if _has_body(parsed):
        assert heard.complete is (parsed.content_length == 0)


def _has_body(head: ResponseHead) -> bool:
    return head.status >= 200 and head.status not in (204, 304)


def _heads(data: bytes) -> list[bytes]:
    """What a reader takes for the head, for each way in which the bytes may come."""
    return [data[: end if end >= 0 else None] for end in map(_end_of_head, ways(data))]


def _relatives(head: bytes) -> list[bytes]:
    """The head twice, and others that a careless cache would take for it."""
    return [head, head, *(_LENGTH.sub(rb"\g<1>" + length, head) for length in (b"77", b"", b"7 ", b"7, 7"))]


def _facts(parsed: object, *own: object) -> object:
    """All that a head says, but for its fields and what each message says for itself: that is `own`."""
    if not isinstance(parsed, RequestHead | ResponseHead):
        return parsed
    names = set(slots_of(parsed)) - {"fields", "memo", "number", "content_length", "traceparent"}
    return {name: getattr(parsed, name) for name in names}, own


def _request_facts(read: tuple[RequestHead, int | None, bytes | None] | RequestHead | Refusal) -> object:
    if isinstance(read, RequestHead):
        return _facts(read, read.content_length, read.traceparent)
    return read if isinstance(read, Refusal) else _facts(*read)


def _response_facts(read: tuple[ResponseHead, int | None] | ResponseHead | str) -> object:
    if isinstance(read, ResponseHead):
        return _facts(read, read.content_length)
    return read if isinstance(read, str) else _facts(*read)


def _end_of_head(pieces: list[bytes]) -> int:
    buffer, seen = b"", 0
    for piece in pieces:
        buffer += piece
        end = head_end(buffer, max(seen - 3, 0))
        if end >= 0:
            return end
        seen = len(buffer)
    return -1


def _fields_are_clean(fields: tuple[Field, ...]) -> None:
    for lower, name, value in fields:
        assert lower == name.lower()
        assert name
        assert not set(name + value) & set(b"\r\n\0")
    assert set(end_to_end(fields)) <= set(fields)
