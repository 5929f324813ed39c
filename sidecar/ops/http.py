"""As much HTTP/1.1 as the ops page needs: one head in, one whole answer out.

In:      the bytes of a request's head, blank line included.
Out:     a Request, or the Answer that refuses it; the bytes of an Answer.
Limits:  GET and HEAD, no bodies, origin-form targets; the head's size is the reader's business.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from sidecar.frozen import Frozen

# Nothing from elsewhere, nothing inline: even a hostile endpoint name on the page could do no harm.
_PROTECTION = (
    "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "x-content-type-options: nosniff\r\n"
    "referrer-policy: no-referrer\r\n"
    "cross-origin-opener-policy: same-origin\r\n"
    "cross-origin-resource-policy: same-origin\r\n"
    "cache-control: no-store\r\n"
)

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (/[!-~]*) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")


class Request(Frozen):
    method: str
    path: str  # without its query
    host: str | None  # without its port, in lower case
    origin: str | None  # of the web page that asks; None: nobody's, or our own
    accept: str
    keep_alive: bool


class Answer(Frozen):
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


def plain(status: int, text: str) -> Answer:
    return Answer(status, text.encode() + b"\n")


def parse(head: bytes) -> Request | Answer:
    """Strict: an unclear head is refused, not guessed at."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _LINE.fullmatch(lines[0])
    if line is None:
        return plain(400, "not a request line that is served here")
    fields: dict[bytes, bytes] = {}
    for text in lines[1:]:
        match = _FIELD.fullmatch(text)
        if match is None:
            return plain(400, "not a header field")
        name, value = match[1].lower(), match[2]
        if name == b"host" and name in fields:
            return plain(400, "two Host fields")
        fields[name] = fields[name] + b", " + value if name in fields else value
    if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
        return plain(413, "no request here has a body")
    return _request(line, fields)


def _request(line: re.Match[bytes], fields: dict[bytes, bytes]) -> Request | Answer:
    newer = line[3] == b"1"
    host = fields.get(b"host")
    if newer and host is None:
        return plain(400, "no Host field")
    options = {option.strip().lower() for option in fields.get(b"connection", b"").split(b",")}
    return Request(
        method=line[1].decode(),
        path=line[2].partition(b"?")[0].decode(),
        host=None if host is None else _name_of(host.decode("latin-1")),
        origin=_origin_elsewhere(fields),
        accept=fields.get(b"accept", b"").decode("latin-1"),
        keep_alive=newer and b"close" not in options,
    )


def render(answer: Answer, *, with_body: bool, keep_alive: bool) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.fields)
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"content-type: {answer.content_type}\r\ncontent-length: {len(answer.body)}\r\n"
        f"connection: {'keep-alive' if keep_alive else 'close'}\r\n{_PROTECTION}{extra}\r\n"
    )
    return head.encode("latin-1") + (answer.body if with_body else b"")


def _origin_elsewhere(fields: dict[bytes, bytes]) -> str | None:
    """Browsers name our own page's origin, too, when it loads its script."""
    origin = fields.get(b"origin")
    if origin is None or origin.partition(b"://")[2] == fields.get(b"host", b"").lower():
        return None
    return origin.decode("latin-1")


def _name_of(authority: str) -> str:
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()
