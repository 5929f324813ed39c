"""What goes on to the next peer, and what stays behind."""

from __future__ import annotations

import httptools
import pytest

from sidecar.wire.heads import (
    RequestHead,
    ResponseHead,
    head_end,
    parse_request_head,
    parse_response_head,
)
from sidecar.wire.rewrite import (
    CHUNKED,
    UNTIL_CLOSE,
    content_length,
    downstream_head,
    request_fields,
    upstream_front,
    upstream_request,
    wants_length,
)


def request(*lines: bytes) -> RequestHead:
    head = parse_request_head(b"\r\n".join((b"POST /v1/x HTTP/1.1", b"Host: a", *lines, b"", b"")))
    assert isinstance(head, RequestHead)
    return head


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    head = parse_response_head(b"\r\n".join((start, *lines, b"", b"")))
    assert isinstance(head, ResponseHead)
    return head


def test_only_the_apps_own_fields_go_to_the_llm() -> None:
    """Framing, tracing and encoding are written anew; the sidecar's own names mean nothing out there."""
    head = request(
        b"Content-Length: 5",
        b"Connection: keep-alive, X-Hop",
        b"X-Hop: 1",
        b"Keep-Alive: 5",
        b"Expect: 100-continue",
        b"Accept-Encoding: gzip",
        b"traceparent: 00-1-2-01",
        b"Tracestate: a=b",
        b"X-Sidecar-Request-Id: r",
        b"Content-Type: application/json",
        b"X-Stainless-Lang: python",
    )
    lines = request_fields(head, remove=frozenset(), set_fields=())
    assert lines == b"Content-Type: application/json\r\nX-Stainless-Lang: python\r\n"


def test_set_fields_replace_and_removed_ones_are_gone() -> None:
    """The service's credential in place of the app's; of two equal names the last counts."""
    head = request(b"Authorization: Bearer app", b"authorization: Bearer two", b"Cookie: c", b"Accept: a")
    lines = request_fields(
        head,
        remove=frozenset((b"cookie",)),
        set_fields=((b"authorization", b"Bearer x"), (b"x-new", b"1"), (b"authorization", b"Bearer llm")),
    )
    assert lines == b"Accept: a\r\nauthorization: Bearer llm\r\nx-new: 1\r\n"


@pytest.mark.parametrize(
    "name", [b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade"]
)
def test_framing_cannot_be_set(name: bytes) -> None:
    """A second one would change what the head means."""
    assert request_fields(request(), remove=frozenset(), set_fields=((name, b"x"),)) == b""


@pytest.mark.parametrize(
    ("method", "length", "expected"),
    [
        ("POST", 5, b"content-length: 5\r\n"),
        ("POST", 0, b"content-length: 0\r\n"),
        ("GET", None, b""),
        ("GET", 5, b"content-length: 5\r\n"),
    ],
)
def test_the_attempts_head_is_whole(method: str, length: int | None, expected: bytes) -> None:
    trace = b"traceparent: 00-1-2-01\r\n"
    front = upstream_front(method, "/v1/x?y", b"llm:8000", b"accept: a\r\n")
    head = upstream_request(front, trace, length, b"")
    assert head == (
        method.encode()
        + b" /v1/x?y HTTP/1.1\r\nhost: llm:8000\r\naccept: a\r\naccept-encoding: identity\r\n"
        + trace
        + expected
        + b"\r\n"
    )
    parsed = parse_request_head(head)
    assert isinstance(parsed, RequestHead)
    assert (parsed.host, parsed.content_length) == ("llm", length)
    if length is not None:
        assert upstream_request(front, trace, length, b"hello") == head + b"hello"


@pytest.mark.parametrize(
    ("method", "counted", "wanted"),
    [
        ("POST", False, True),
        ("PUT", False, True),
        ("PATCH", False, True),
        ("GET", False, False),
        ("DELETE", False, False),
        ("GET", True, True),
    ],
)
def test_no_body_is_told_as_one_of_no_bytes_where_a_body_is_usual(
    method: str, counted: bool, wanted: bool
) -> None:
    """RFC 9110 8.6; and where the app itself said so."""
    assert wants_length(method, counted=counted) is wanted


@pytest.mark.parametrize(
    ("head", "framing", "keep_alive", "expected"),
    [
        (
            response(b"Content-Length: 5", b"Server: u", b"Connection: close", b"X-Sidecar-Attempts: 9"),
            content_length(5),
            True,
            b"HTTP/1.1 200 OK\r\nServer: u\r\nx-sidecar-service: a\r\ncontent-length: 5\r\n\r\n",
        ),
        (
            response(b"transfer-encoding: chunked", b"Trailer: x"),
            CHUNKED,
            True,
            b"HTTP/1.1 200 OK\r\nx-sidecar-service: a\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            response(b"Retry-After: 1", start=b"HTTP/1.0 503"),
            UNTIL_CLOSE,
            False,
            b"HTTP/1.1 503 \r\nRetry-After: 1\r\nx-sidecar-service: a\r\nconnection: close\r\n\r\n",
        ),
    ],
)
def test_the_apps_head_is_the_llms_with_our_framing(
    head: ResponseHead, framing: bytes, keep_alive: bool, expected: bytes
) -> None:
    """The sidecar's headers are its own word: an upstream's claim to them is dropped."""
    made = downstream_head(head, extra=b"x-sidecar-service: a\r\n", framing=framing, keep_alive=keep_alive)
    assert made == expected
    assert head_end(made) == len(made)
    assert isinstance(parse_response_head(made), ResponseHead)


def test_a_field_of_ours_stands_in_for_the_services() -> None:
    """An SDK joins two values of `x-should-retry` into one that it does not understand, and retries."""
    made = downstream_head(
        response(b"X-Should-Retry: true", b"X-Request-Id: r1"),
        extra=b"x-should-retry: false\r\n",
        framing=content_length(0),
        keep_alive=True,
        instead=frozenset((b"x-should-retry",)),
    )
    assert made.lower().count(b"x-should-retry") == 1
    assert b"x-should-retry: false\r\n" in made
    assert b"X-Request-Id: r1\r\n" in made


def test_httptools_reads_the_answers_head_as_we_do() -> None:
    """A second opinion on what an app will see."""

    class Heard:
        fields: list[tuple[bytes, bytes]]

        def __init__(self) -> None:
            self.fields = []

        def on_header(self, name: bytes, value: bytes) -> None:
            self.fields.append((name, value))

    heard = Heard()
    parser = httptools.HttpResponseParser(heard)
    parser.feed_data(
        downstream_head(response(b"A: b", b"A: c"), extra=b"", framing=content_length(3), keep_alive=False)
    )
    assert parser.get_status_code() == 200
    assert not parser.should_keep_alive()
    assert heard.fields == [(b"A", b"b"), (b"A", b"c"), (b"content-length", b"3"), (b"connection", b"close")]
