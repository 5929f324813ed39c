"""The little HTTP that ops speaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.ops.http import Answer, Request, parse, plain, render


def test_a_head_is_read() -> None:
    """Names are case-blind, the query and the port are dropped."""
    head = b"GET /metrics?x=1 HTTP/1.1\r\nHOST: LocalHost:8802\r\nAccept: text/plain\r\naccept: */*\r\n\r\n"
    assert parse(head) == Request("GET", "/metrics", "localhost", None, "text/plain, */*", True)


@pytest.mark.parametrize(
    ("host", "name"),
    [(b"127.0.0.1:8802", "127.0.0.1"), (b"[::1]:8802", "::1"), (b"[::1]", "::1"), (b"", ""), (b"a.b", "a.b")],
)
def test_the_host_is_a_name_without_its_port(host: bytes, name: str) -> None:
    """Names are compared, ports are not."""
    request = parse(b"GET / HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
    assert isinstance(request, Request)
    assert request.host == name


@pytest.mark.parametrize(
    ("origin", "read"),
    [
        ("https://app.example", "https://app.example"),
        ("null", "null"),
        ("", ""),
        ("http://localhost", "http://localhost"),
        ("http://localhost:8802", None),
    ],
)
def test_the_origin_is_read_unless_it_is_our_own(origin: str, read: str | None) -> None:
    """Chromium names it when our own page loads its script; another port is another origin."""
    request = parse(f"GET / HTTP/1.1\r\nhost: LocalHost:8802\r\nOrigin: {origin}\r\n\r\n".encode())
    assert isinstance(request, Request)
    assert request.origin == read


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
    ],
)
def test_a_connection_is_kept_as_http_1_1_has_it(head: bytes, kept: bool) -> None:
    """HTTP/1.0 probes exist."""
    request = parse(head)
    assert isinstance(request, Request)
    assert request.keep_alive is kept


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", 413),
    ],
)
def test_an_unclear_head_is_refused(head: bytes, status: int) -> None:
    """Guessing is how requests are smuggled."""
    answer = parse(head)
    assert isinstance(answer, Answer)
    assert answer.status == status


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(noise: bytes) -> None:
    """Anybody on the host may connect."""
    assert isinstance(parse(noise + b"\r\n\r\n"), Request | Answer)


def test_an_answer_is_framed_and_protected() -> None:
    """HEAD tells the length of what GET would send."""
    answer = plain(200, "ok")
    whole = render(answer, with_body=True, keep_alive=True)
    head, body = whole.split(b"\r\n\r\n")
    assert body == b"ok\n"
    assert b"content-length: 3" in head.split(b"\r\n")
    assert b"default-src 'none'" in head
    assert b"unsafe" not in head
    assert render(answer, with_body=False, keep_alive=True) == head + b"\r\n\r\n"
