"""HTTP/1.x heads, read strictly: one reading of the bytes, or none.

In:      the bytes up to and with the blank line; head_end finds it, the caller bounds it.
Out:     RequestHead or Refusal; ResponseHead or the words that say why it is malformed.
Limits:  sizes are the caller's; every pattern here is linear in the length of the head.
Errors:  values. Nothing raises for bad peer input; a refused request always gets status 400, and the
         connection it came on cannot be used any further.
Source:  RFC 9110, RFC 9112. Stricter than they ask in: any Host sent twice, any Content-Length sent twice
         (even the same), any Transfer-Encoding but `chunked`, dot segments in a path, versions other than
         1.0 and 1.1, TRACE (an LLM service that echoed it would tell the app the sidecar's credential).
         Laxer in: one empty line before a request line (9112 2.2), no space after a status code without
         a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from typing import Any, Final, NamedTuple

from sidecar.wire.digits import decimal
from sidecar.wire.memo import remember
from sidecar.wire.search import find
from sidecar.wire.target import read_target

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]"
_REQUEST_LINE: Final = re.compile(b"(" + _TOKEN + rb"++) ([!-~]++) HTTP/1\.([01])")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (" + _VALUE + rb"*+))?")
_FIELD_LINE: Final = re.compile(b"(" + _TOKEN + b"++):(" + _VALUE + b"*+)")

CRLF: Final = b"\r\n"
END: Final = b"\r\n\r\n"
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_BARE_CR: Final = re.compile(rb"\r(?!\n)")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TOKEN_ONLY: Final = re.compile(_TOKEN + b"+")
_VALUE_ONLY: Final = re.compile(_VALUE + b"*")

HOP_BY_HOP: Final[frozenset[bytes]] = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

_STEERING: Final = frozenset(
    (b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"),
)


class Field(NamedTuple):
    """One field line: its name in lower case and as sent, its value without the white space around it."""

    lower: bytes
    name: bytes
    value: bytes


_make: Final = tuple.__new__  # Field's own constructor costs as much as all the rest of reading one

# Field lines read so far. Heads of which no two are alike are so by a line or two: the others are found here, which
# costs a tenth of reading them. When there are too many, all are forgotten.
_KNOWN: Final[dict[bytes, Field]] = {}
MOST_KNOWN: Final = 1024
LONGEST_KNOWN: Final = 512


class Refusal(NamedTuple):
    """Why a request is not taken; `why` completes the sentence "the request …"."""

    code: str
    why: str
    status: int


_numbers: Final = count()


class RequestHead:
    """A request line and its fields.

    `target` is as sent; `path` and `query` (with its `?`) are what it comes to, for every form of target.
    `host` is in lower case, without port and brackets; empty where there is none. `is_counted`: it tells of a body,
    be it an empty one. `at_once`: its body, if any, is counted and needs no word from us to begin. `memo` is for what
    others derive from this head and want to find again with the next one of the same bytes (see head_cache).
    `number`: no other head has it, so that who wants to know this one again need not keep it.
    """

    __slots__ = (
        "at_once",
        "chunked",
        "content_length",
        "expect_continue",
        "fields",
        "host",
        "is_counted",
        "keep_alive",
        "memo",
        "method",
        "minor",
        "number",
        "path",
        "query",
        "target",
        "traceparent",
    )

    def __init__(
        self,
        method: str,
        target: str,
        path: str,
        query: str,
        minor: int,
        fields: tuple[Field, ...],
        content_length: int | None,
        chunked: bool,
        keep_alive: bool,
        host: str,
        expect_continue: bool,
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.minor = minor
        self.fields = fields
        self.content_length = content_length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.host = host
        self.expect_continue = expect_continue
        self.is_counted = chunked or content_length is not None
        self.at_once = not chunked and not expect_continue
        self.traceparent = _first(fields, b"traceparent")
        self.memo: dict[object, Any] = {}
        self.number = next(_numbers)

    def get(self, lower: bytes) -> bytes | None:
        """The value of the first field of that name (in lower case)."""
        return _first(self.fields, lower)


class ResponseHead:
    """A status line and its fields. `content_type` is in lower case, without its parameters."""

    __slots__ = (
        "chunked",
        "content_encoding",
        "content_length",
        "content_type",
        "fields",
        "keep_alive",
        "memo",
        "minor",
        "reason",
        "status",
    )

    def __init__(
        self,
        status: int,
        reason: bytes,
        minor: int,
        fields: tuple[Field, ...],
        content_length: int | None,
        chunked: bool,
        keep_alive: bool,
    ) -> None:
        self.status = status
        self.reason = reason
        self.minor = minor
        self.fields = fields
        self.content_length = content_length
        self.chunked = chunked
        self.keep_alive = keep_alive
        kind = _first(fields, b"content-type") or b""
        self.content_type = kind.partition(b";")[0].rstrip(b" \t").lower()
        self.content_encoding = (_first(fields, b"content-encoding") or b"").lower()
        self.memo: dict[object, Any] = {}

    def get(self, lower: bytes) -> bytes | None:
        """The value of the first field of that name (in lower case)."""
        return _first(self.fields, lower)


def head_end(buffer: bytes, start: int = 0) -> int:
    """The index just after the blank line, or -1 while there is none.

    `start` is where the head begins, or up to 3 bytes before the end of what was searched already.
    A bare LF ends the wait too, at the index after it, for parse_* to refuse: RFC 9112 2.2 lets a recipient
    take it for a line end, and those who do and those who do not see different requests.
    """
    end = find(buffer, "\r\n\r\n", start)
    if end >= 0:
        return end + 4
    begin = max(start - 1, 0)  # the CR of a CRLF that `start` splits
    if buffer.count(b"\n", begin) == buffer.count(b"\r\n", begin):
        return -1
    bare = _BARE_LF.search(buffer, start)
    return bare.end() if bare else -1


def parse_request_head(head: bytes) -> RequestHead | Refusal:
    """Reads a request's head; one empty line before it is ignored (RFC 9112 2.2)."""
    lines = head.removeprefix(CRLF)[:-4].split(CRLF)
    match = _REQUEST_LINE.fullmatch(lines[0])
    read = _read_fields(lines)
    if match is None or read is None or not head.endswith(END):
        return _refused(_why_malformed(head, is_request=True))
    method, target, version = match.groups()
    minor = 1 if version == b"1" else 0
    fields, steering = read
    framing = _framing(steering, minor)
    if isinstance(framing, str):
        return _refused(framing)
    if method in (b"CONNECT", b"TRACE"):
        return _refused(f"asks for {method.decode()}, which is not served")
    if b"upgrade" in steering:
        return _refused("asks for an upgrade, which is not served")
    hosts = steering.get(b"host", ())
    if len(hosts) != 1 and (hosts or minor):
        return _refused("has no Host" if not hosts else "has more than one Host")
    place = read_target(method, target, hosts[0] if hosts else b"")
    if isinstance(place, str):
        return _refused(place)
    path, query, host = place
    return RequestHead(
        method.decode(),
        target.decode(),
        path.decode(),
        query.decode(),
        minor,
        fields,
        framing[0],
        framing[1],
        _keeps_alive(steering, minor),
        host,
        # a 1.0 peer cannot mean it (RFC 9110 10.1.1)
        minor == 1 and b"expect" in steering and b"100-continue" in map(bytes.lower, steering[b"expect"]),
    )


def parse_response_head(head: bytes) -> ResponseHead | str:
    """Reads a response's head; a str says why it is malformed and completes "the response …"."""
    lines = head[:-4].split(CRLF)
    match = _STATUS_LINE.fullmatch(lines[0])
    read = _read_fields(lines)
    if match is None or read is None or not head.endswith(END):
        return _why_malformed(head, is_request=False)
    version, code, reason = match.groups()
    minor = 1 if version == b"1" else 0
    fields, steering = read
    framing = _framing(steering, minor)
    if isinstance(framing, str):
        return framing
    status = int(code)
    if status == 101:
        return "switches protocols, which was not asked for"
    return ResponseHead(
        status, reason or b"", minor, fields, framing[0], framing[1], _keeps_alive(steering, minor)
    )


def end_to_end(fields: Iterable[Field]) -> list[Field]:
    """The fields that go on to the next peer: not the hop-by-hop ones, nor any that Connection names."""
    fields = tuple(fields)
    drop = HOP_BY_HOP
    for field in fields:
        if field.lower == b"connection":
            drop = drop.union(_options(field.value))
    return [field for field in fields if field.lower not in drop]


def is_field_value(value: bytes) -> bool:
    """Whether the bytes may stand as a field's value: no CR, LF, NUL or other control but the tab."""
    return _VALUE_ONLY.fullmatch(value) is not None


def _first(fields: tuple[Field, ...], lower: bytes) -> bytes | None:
    for field in fields:
        if field[0] == lower:
            return field[2]
    return None


def _read_fields(lines: list[bytes]) -> tuple[tuple[Field, ...], dict[bytes, list[bytes]]] | None:
    """The fields behind a head's first line, and the values of those that steer framing and routing; None: one of the
    lines is malformed."""
    fields: list[Field] = []
    steering: dict[bytes, list[bytes]] = {}
    for line in lines[1:]:
        field = _KNOWN.get(line) or _read_field(line)
        if field is None:
            return None
        fields.append(field)
        lower = field[0]
        if lower in _STEERING:
            steering.setdefault(lower, []).append(field[2])
    return tuple(fields), steering


def _read_field(line: bytes) -> Field | None:
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        return None
    name, value = match.groups()
    field = _make(Field, (name.lower(), name, value.strip(b" \t")))
    if len(line) <= LONGEST_KNOWN:
        remember(_KNOWN, line, field, MOST_KNOWN)
    return field


def _framing(steering: dict[bytes, list[bytes]], minor: int) -> tuple[int | None, bool] | str:
    """Content-Length and whether chunked, or what is wrong (RFC 9112 6.1, 6.3; RFC 9110 8.6)."""
    lengths = steering.get(b"content-length")
    codings = steering.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None:
            return "has both Content-Length and Transfer-Encoding"
        if minor == 0:
            return "has a Transfer-Encoding in HTTP/1.0"
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            return "has a Transfer-Encoding other than chunked"
        return None, True
    if lengths is None:
        return None, False
    if len(lengths) != 1:
        return "has more than one Content-Length"
    length, end = decimal(lengths[0], 0)
    if end == 0 or end != len(lengths[0]):
        return "has a Content-Length that is no number"
    return length, False


def _keeps_alive(steering: dict[bytes, list[bytes]], minor: int) -> bool:
    """Whether the connection may serve another exchange (RFC 9112 9.3)."""
    if b"connection" not in steering:
        return minor == 1
    options = [option for value in steering[b"connection"] for option in _options(value)]
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)


def _options(value: bytes) -> list[bytes]:
    return [option.strip(b" \t") for option in value.lower().split(b",")]


def _refused(why: str) -> Refusal:
    return Refusal("bad_request", why, 400)


def _why_malformed(head: bytes, *, is_request: bool) -> str:
    """What is wrong with a head that did not match: slow and in words, for it ends the connection anyway."""
    if _BARE_LF.search(head) or _BARE_CR.search(head):
        return "has a bare CR or LF in its head"
    if _CONTROL.search(head):
        return "has a control character in its head"
    if not head.endswith(END):
        return "has a head without its end"
    if is_request:
        head = head.removeprefix(CRLF)
    first, *lines = head[:-4].split(CRLF)
    if not (_REQUEST_LINE if is_request else _STATUS_LINE).fullmatch(first):
        return _why_bad_request_line(first) if is_request else "has a status line that is not HTTP/1.x"
    return next(filter(None, map(_why_bad_field, lines)), "has a malformed head")


def _why_bad_request_line(line: bytes) -> str:
    version = line.rpartition(b" ")[2]
    if version.startswith(b"HTTP/") and version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return "is in an HTTP version other than 1.0 and 1.1"
    return "has a request line that is not HTTP/1.x"


def _why_bad_field(line: bytes) -> str | None:
    if not line:
        return "has an empty line inside its head"
    name, colon, _ = line.partition(b":")
    if line.startswith((b" ", b"\t")):
        return "has a field folded over two lines"
    if not colon:
        return "has a field line without a colon"
    if name.endswith((b" ", b"\t")):
        return "has white space between a field's name and its colon"
    return None if _TOKEN_ONLY.fullmatch(name) else "has a field name that is no token"
