"""Heads are read in one way or not at all."""

from __future__ import annotations

import re

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import heads
from sidecar.wire.heads import (
    Field,
    Refusal,
    RequestHead,
    ResponseHead,
    end_to_end,
    head_end,
    is_field_value,
    parse_request_head,
    parse_response_head,
)


def request(*lines: bytes, start: bytes = b"POST /v1/x HTTP/1.1") -> bytes:
    return b"\r\n".join((start, *lines, b"", b""))


def accepted(head: bytes) -> RequestHead:
    parsed = parse_request_head(head)
    assert isinstance(parsed, RequestHead), parsed
    return parsed


def answered(head: bytes) -> ResponseHead:
    parsed = parse_response_head(head)
    assert isinstance(parsed, ResponseHead), parsed
    return parsed


HOST = b"Host: localhost"

# Each form of smuggling or nonsense, the paragraph that forbids or discourages it, a word of the reason.
REFUSED = {
    "no blank line at the end (9112 2.1)": (b"GET / HTTP/1.1\r\nHost: a\r\n", "without its end"),
    "bytes after the blank line": (request(HOST) + b"x\r\n\r\n", "empty line inside"),
    "two empty lines first (9112 2.2)": (b"\r\n\r\n" + request(HOST), "request line"),
    "bare LF in the request line (9112 2.2)": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "bare"),
    "bare LF between fields (9112 2.2)": (request(b"Host: a\nX: y"), "bare"),
    "only LF (9112 2.2)": (b"GET / HTTP/1.1\nHost: a\n\n", "bare"),
    "bare CR in a value (9112 2.2)": (request(HOST, b"X: a\rb"), "bare"),
    "NUL in a value (9110 5.5)": (request(HOST, b"X: a\0b"), "control"),
    "control in a value (9110 5.5)": (request(HOST, b"X: a\x0bb"), "control"),
    "DEL in a value": (request(HOST, b"X: a\x7f"), "control"),
    "folded field (9112 5.2)": (request(HOST, b"X: a", b" b"), "folded"),
    "folded first field (9112 2.2)": (request(b" Host: a", HOST), "folded"),
    "space before the colon (9112 5.1)": (request(HOST, b"Content-Length : 5"), "white space"),
    "tab before the colon (9112 5.1)": (request(HOST, b"X\t: 5"), "white space"),
    "no colon (9112 5)": (request(HOST, b"Content-Length 5"), "colon"),
    "empty name (9110 5.1)": (request(HOST, b": 5"), "no token"),
    "name that is no token (9110 5.1)": (request(HOST, b"X(y): 5"), "no token"),
    "name with a high byte (9110 5.1)": (request(HOST, b"X\xe9: 5"), "no token"),
    "CL and TE (9112 6.1)": (request(HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked"), "both"),
    "TE and CL (9112 6.1)": (request(HOST, b"Transfer-Encoding: chunked", b"Content-Length: 0"), "both"),
    "CL twice (9110 8.6)": (request(HOST, b"Content-Length: 5", b"Content-Length: 6"), "more than one"),
    "same CL twice (9110 8.6)": (request(HOST, b"Content-Length: 5", b"content-length: 5"), "more than one"),
    "CL as a list (9110 8.6)": (request(HOST, b"Content-Length: 5, 5"), "no number"),
    "CL with a sign (9110 8.6)": (request(HOST, b"Content-Length: +5"), "no number"),
    "negative CL (9110 8.6)": (request(HOST, b"Content-Length: -5"), "no number"),
    "CL in hex (9110 8.6)": (request(HOST, b"Content-Length: 0x5"), "no number"),
    "CL with an underscore": (request(HOST, b"Content-Length: 1_0"), "no number"),
    "CL with other digits": (request(HOST, "Content-Length: ٥".encode()), "no number"),
    "empty CL (9110 8.6)": (request(HOST, b"Content-Length:"), "no number"),
    "CL beyond 63 bits": (request(HOST, b"Content-Length: " + b"9" * 19), "no number"),
    "TE list (9112 6.1)": (request(HOST, b"Transfer-Encoding: gzip, chunked"), "other than chunked"),
    "TE chunked twice (9112 7)": (request(HOST, b"Transfer-Encoding: chunked, chunked"), "other than"),
    "two TE fields (9112 6.1)": (request(HOST, *[b"Transfer-Encoding: chunked"] * 2), "other than chunked"),
    "TE identity (9112 7)": (request(HOST, b"Transfer-Encoding: identity"), "other than chunked"),
    "TE xchunked": (request(HOST, b"Transfer-Encoding: xchunked"), "other than chunked"),
    "TE with a parameter": (request(HOST, b"Transfer-Encoding: chunked;q=1"), "other than chunked"),
    "TE in quotes": (request(HOST, b'Transfer-Encoding: "chunked"'), "other than chunked"),
    "empty TE": (request(HOST, b"Transfer-Encoding:"), "other than chunked"),
    "TE in HTTP/1.0 (9112 6.1)": (
        request(HOST, b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0"),
        "HTTP/1.0",
    ),
    "no Host (9112 3.2)": (request(b"X: y"), "no Host"),
    "two Hosts (9112 3.2)": (request(b"Host: a", b"Host: b"), "more than one Host"),
    "two Hosts in 1.0": (request(b"Host: a", b"Host: a", start=b"GET / HTTP/1.0"), "more than one Host"),
    "Host list (9112 3.2)": (request(b"Host: a, b"), "no host name"),
    "Host with a path": (request(b"Host: a/b"), "no host name"),
    "Host with a user (9110 4.2.4)": (request(b"Host: u@a"), "no host name"),
    "Host with a port that is none": (request(b"Host: a:b"), "no host name"),
    "Host with half a bracket": (request(b"Host: [::1"), "no host name"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", "version"),
    "HTTP/0.9 (9112 2.3)": (b"GET /\r\n\r\n", "request line"),
    "HTTP/1.2": (request(HOST, start=b"GET / HTTP/1.2"), "version"),
    "HTTP/1.10": (request(HOST, start=b"GET / HTTP/1.10"), "version"),
    "RTSP": (request(HOST, start=b"GET / RTSP/1.0"), "request line"),
    "version in lower case (9112 2.3)": (request(HOST, start=b"GET / http/1.1"), "request line"),
    "two spaces (9112 3)": (request(HOST, start=b"GET  / HTTP/1.1"), "request line"),
    "a tab for a space (9112 3)": (request(HOST, start=b"GET\t/ HTTP/1.1"), "request line"),
    "space at the line's end (9112 3)": (request(HOST, start=b"GET / HTTP/1.1 "), "request line"),
    "space before the method (9112 3)": (request(HOST, start=b" GET / HTTP/1.1"), "request line"),
    "method that is no token (9110 9.1)": (request(HOST, start=b"G@T / HTTP/1.1"), "request line"),
    "CONNECT (9110 9.3.6)": (request(HOST, start=b"CONNECT a:443 HTTP/1.1"), "CONNECT"),
    "TRACE (9110 9.3.8)": (request(HOST, start=b"TRACE / HTTP/1.1"), "TRACE"),
    "Upgrade (9110 7.8)": (request(HOST, b"Connection: upgrade", b"Upgrade: h2c"), "upgrade"),
    "space in the target (9112 3.2)": (request(HOST, start=b"GET /a b HTTP/1.1"), "request line"),
    "high byte in the target": (request(HOST, start=b"GET /\xc3\xa9 HTTP/1.1"), "request line"),
}


@pytest.mark.parametrize(("head", "word"), REFUSED.values(), ids=REFUSED)
def test_what_two_readers_could_read_in_two_ways_is_refused(head: bytes, word: str) -> None:
    """Between the sidecar and the service, any second reading is a smuggled request."""
    parsed = parse_request_head(head)
    assert isinstance(parsed, Refusal)
    assert (parsed.code, parsed.status) == ("bad_request", 400)
    assert word in parsed.why


def test_a_usual_request_is_read_whole() -> None:
    """What an SDK sends: every attribute that another room relies on."""
    head = accepted(
        b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: LocalHost:8800\r\nContent-Length: 12\r\n"
        b"X-Empty:\r\nX-Padded: \t a b \t\r\nX-Padded: c\r\nExpect: 100-Continue\r\n\r\n"
    )
    assert (head.method, head.target, head.path) == (
        "POST",
        "/v1/chat/completions?a=b",
        "/v1/chat/completions",
    )
    assert (head.query, head.minor, head.host) == ("?a=b", 1, "localhost")
    assert (head.content_length, head.chunked, head.keep_alive, head.expect_continue) == (
        12,
        False,
        True,
        True,
    )
    assert head.fields[3] == Field(b"x-padded", b"X-Padded", b"a b")
    assert (head.get(b"x-padded"), head.get(b"x-empty"), head.get(b"x-none")) == (b"a b", b"", None)


def test_one_empty_line_before_a_request_is_ignored() -> None:
    """RFC 9112 2.2 asks servers to: old clients end a body with one."""
    head = b"\r\n" + request(HOST)
    assert head_end(head) == len(head)
    assert accepted(head).path == "/v1/x"


def test_chunked_is_taken_in_any_case() -> None:
    """Coding names are case-insensitive (RFC 9112 7)."""
    head = accepted(request(HOST, b"Transfer-Encoding: ChunKed"))
    assert (head.chunked, head.content_length) == (True, None)


@pytest.mark.parametrize(
    ("minor", "connection", "keeps"),
    [
        (1, (), True),
        (1, (b"Connection: close",), False),
        (1, (b"Connection: Keep-Alive, CLOSE",), False),
        (1, (b"Connection: x", b"Connection: y , close"), False),
        (0, (), False),
        (0, (b"Connection: Keep-Alive",), True),
        (0, (b"Connection: keep-alive, close",), False),
    ],
)
def test_the_connection_lives_on_as_9112_says(minor: int, connection: tuple[bytes, ...], keeps: bool) -> None:
    """RFC 9112 9.3; a wrong guess leaves one side waiting or talking to nobody."""
    head = accepted(request(HOST, *connection, start=b"GET / HTTP/1.%d" % minor))
    assert head.keep_alive is keeps


def test_http_1_0_needs_no_host_and_cannot_expect() -> None:
    """Host came with 1.1; an expectation in 1.0 must be ignored (RFC 9110 10.1.1)."""
    head = accepted(request(b"Expect: 100-continue", start=b"GET / HTTP/1.0"))
    assert (head.host, head.expect_continue) == ("", False)


HEADS = [request(HOST), request(HOST, b"A: b", b"C: d"), b"\r\n" + request(HOST)]


@pytest.mark.parametrize("head", HEADS)
def test_the_end_is_found_byte_by_byte(head: bytes) -> None:
    """A head may come in any pieces, and its body right behind it."""
    assert head_end(head + b"body\n\n") == len(head)
    for size in range(len(head)):
        assert head_end(head[:size], max(size - 4, 0)) == -1
    assert head_end(head, len(head) - 4) == len(head)


def test_the_end_of_a_second_head_is_found_behind_the_first() -> None:
    """`start` may also be where a pipelined request begins."""
    first, second = HEADS[:2]
    assert head_end(first + second, len(first)) == len(first) + len(second)


@pytest.mark.parametrize(
    ("head", "end"),
    [(b"GET / HTTP/1.1\nHost: a\n\n", 15), (b"GET / HTTP/1.1\r\nA: b\nHost", 21), (b"\n", 1)],
)
def test_a_bare_lf_ends_the_wait(head: bytes, end: int) -> None:
    """Who ends lines so would wait for ever for an answer; he gets a refusal instead."""
    assert head_end(head) == end
    assert isinstance(parse_request_head(head[:end]), Refusal)
    searched = [head_end(head[:size], max(size - 4, 0)) for size in range(end + 1)]
    assert searched == [-1] * end + [end]


def test_a_crlf_that_start_splits_is_no_bare_lf() -> None:
    """The search goes on where it stopped, be that between CR and LF."""
    assert head_end(b"GET / HTTP/1.1\r\nHost", 15) == -1


TOKENS = st.text("abcXYZ019-_.~!", min_size=1, max_size=12).map(str.encode)
VALUES = st.binary(max_size=20).map(lambda raw: bytes(b for b in raw if b >= 32 and b != 127))


class Oracle:
    """What httptools hears of a request."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=8), st.sampled_from([b"GET", b"POST", b"DELETE"]))
def test_httptools_reads_the_same_fields(fields: list[tuple[bytes, bytes]], method: bytes) -> None:
    """A second opinion, by another author, on all that is accepted."""
    lines = [b"Host: a", *(b"X-%b: %b" % field for field in fields)]
    head = request(*lines, start=method + b" /v1/x HTTP/1.1")
    oracle = Oracle()
    parser = httptools.HttpRequestParser(oracle)
    parser.feed_data(head)
    ours = accepted(head)
    assert oracle.complete
    assert (oracle.url, parser.get_method()) == (ours.target.encode(), ours.method.encode())
    assert [(name, value.strip(b" \t")) for name, value in oracle.fields] == [f[1:] for f in ours.fields]
    assert parser.should_keep_alive() is ours.keep_alive


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(noise: bytes) -> None:
    """Expected failure is a value."""
    for head in (noise, request(HOST, noise), b"HTTP/1.1 200 OK\r\n" + noise + b"\r\n\r\n"):
        assert isinstance(parse_request_head(head), RequestHead | Refusal)
        assert isinstance(parse_response_head(head), ResponseHead | str)


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((start, *lines, b"", b""))


MALFORMED = {
    "CL and TE (9112 6.1)": (response(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "both"),
    "CL twice (9112 6.3)": (response(b"Content-Length: 5", b"Content-Length: 5"), "more than one"),
    "CL list (9112 6.3)": (response(b"Content-Length: 5, 5"), "no number"),
    "TE gzip (9112 6.1)": (response(b"Transfer-Encoding: gzip, chunked"), "other than chunked"),
    "TE in 1.0 (9112 6.1)": (response(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK"), "HTTP/1.0"),
    "folded (9112 5.2)": (response(b"A: b", b"\tc"), "folded"),
    "space before the colon (9112 5.1)": (response(b"A : b"), "white space"),
    "bare LF (9112 2.2)": (b"HTTP/1.1 200 OK\nA: b\n\n", "bare"),
    "NUL (9110 5.5)": (response(b"A: \0"), "control"),
    "status of two digits (9112 4)": (response(start=b"HTTP/1.1 20 OK"), "status line"),
    "status over 599 (9110 15)": (response(start=b"HTTP/1.1 600 OK"), "status line"),
    "HTTP/2": (response(start=b"HTTP/2 200"), "status line"),
    "empty line first": (b"\r\n" + response(), "status line"),
    "something else": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "status line"),
    "101, unasked (9110 15.2.2)": (response(start=b"HTTP/1.1 101 Switching"), "switches"),
}


@pytest.mark.parametrize(("head", "word"), MALFORMED.values(), ids=MALFORMED)
def test_a_response_with_two_readings_is_malformed(head: bytes, word: str) -> None:
    """A service's framing error must not turn into bytes of another app's answer."""
    why = parse_response_head(head)
    assert isinstance(why, str)
    assert word in why


def test_a_usual_response_is_read_whole() -> None:
    """Every attribute that the exchange relies on."""
    head = answered(
        response(b"Content-Type: Text/Event-Stream ; charset=utf-8", b"Transfer-Encoding: chunked")
    )
    assert (head.status, head.reason, head.minor) == (200, b"OK", 1)
    assert (head.content_length, head.chunked, head.keep_alive) == (None, True, True)
    assert (head.content_type, head.content_encoding) == (b"text/event-stream", b"")
    assert head.get(b"transfer-encoding") == b"chunked"


def test_a_reason_may_be_missing() -> None:
    """RFC 9112 4 wants the space that goes before it, but servers forget even that."""
    assert answered(response(start=b"HTTP/1.1 204 ")).reason == b""
    assert answered(response(b"Content-Encoding: GZip", start=b"HTTP/1.0 200")).content_encoding == b"gzip"


def test_hop_by_hop_fields_stay_on_their_hop() -> None:
    """RFC 9110 7.6.1: the listed ones, the customary ones, and those that Connection names."""
    head = answered(
        response(
            b"Connection: close, X-Secret",
            b"x-secret: 1",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: close",
            b"TE: trailers",
            b"Trailer: X",
            b"Transfer-Encoding: chunked",
            b"Connection: x-other",
            b"X-Other: 2",
            b"X-Kept: 3",
        )
    )
    assert end_to_end(head.fields) == [Field(b"x-kept", b"X-Kept", b"3")]


@pytest.mark.parametrize(
    ("value", "may"), [(b"Bearer a b\t\xe9", True), (b"a\r\nX: y", False), (b"a\0", False)]
)
def test_a_value_that_would_end_its_line_is_told(value: bytes, may: bool) -> None:
    """For whoever makes a field of a file's or a variable's content."""
    assert is_field_value(value) is may


# The grammar of whole heads in one pattern each: the second opinion on how they are read line by line.
TOKEN, VALUE = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]", rb"[^\x00-\x08\x0a-\x1f\x7f]"
LINES = b"((?:" + TOKEN + b"+:" + VALUE + rb"*\r\n)*)\r\n"
WHOLE_REQUEST = re.compile(rb"(?:\r\n)?(" + TOKEN + rb"+) ([!-~]+) HTTP/1\.([01])\r\n" + LINES)
WHOLE_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (" + VALUE + rb"*))?\r\n" + LINES)
BITS = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b":",
        b" ",
        b"\t",
        b"\0",
        b"\xe9",
        b"\x7f",
        b"a",
        b"X-A",
        b"X-A: b\r\n",
        b"X-A:b \r\n",
        b"(",
    ]
)


@given(
    start=st.sampled_from(
        [
            b"GET /v1 HTTP/1.1\r\nHost: a\r\n",
            b"\r\nGET / HTTP/1.0\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 204\r\n",
            b"",
        ]
    ),
    bits=st.lists(BITS, max_size=8).map(b"".join),
    end=st.sampled_from([b"\r\n", b"\r\n\r\n", b""]),
)
def test_a_head_is_read_line_by_line_as_by_one_pattern(start: bytes, bits: bytes, end: bytes) -> None:
    """The same heads are malformed, and the others have the same fields; lines that were seen before change nothing."""
    head = start + bits + end
    for _ in range(2):
        for read, pattern in (
            (parse_request_head(head), WHOLE_REQUEST),
            (parse_response_head(head), WHOLE_RESPONSE),
        ):
            match = pattern.fullmatch(head)
            if match is None:
                assert isinstance(read, Refusal | str)
            else:
                assert isinstance(read, RequestHead | ResponseHead), read
                pairs = [line.split(b":", 1) for line in match[4].split(b"\r\n")[:-1]]
                assert [(name, value) for _, name, value in read.fields] == [
                    (name, value.strip(b" \t")) for name, value in pairs
                ]


def test_the_lines_that_are_remembered_are_bounded() -> None:
    for number in range(2 * heads.MOST_KNOWN):
        accepted(request(HOST, b"X-Request-Id: %d" % number, b"X-Long: %b" % (b"x" * heads.LONGEST_KNOWN)))
    assert 0 < len(heads._KNOWN) <= heads.MOST_KNOWN
    assert max(map(len, heads._KNOWN)) <= heads.LONGEST_KNOWN
