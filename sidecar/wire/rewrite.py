"""Heads for the next peer: the app's request to the LLM, the LLM's answer to the app.

In:      a parsed head and what policy and exchange add to it.
Out:     bytes ready to be written.
Rule:    only end-to-end fields go on; none of the sidecar's own (`x-sidecar-*`) goes or comes through; framing
         is always written here, from what was parsed, never copied.
Limits:  what is passed in ready-made is trusted: check it with heads.is_field_value where it comes from
         outside. Answers are HTTP/1.1; a 1.0 app that wants to keep its connection needs its own field
         in `extra`.
"""

from __future__ import annotations

from typing import Final

from sidecar.wire.heads import HOP_BY_HOP, RequestHead, ResponseHead, end_to_end

CHUNKED: Final = b"transfer-encoding: chunked\r\n"
UNTIL_CLOSE: Final = b""
# The last lines of a head.
LAST: Final = b"\r\n"
CLOSING: Final = b"connection: close\r\n\r\n"

# Written anew for each attempt, or the app's business with the sidecar alone.
_NOT_PASSED_ON: Final = frozenset(
    (
        b"accept-encoding",
        b"content-length",
        b"expect",
        b"host",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
    )
)
_FRAMED: Final = frozenset((b"content-length",))
_NOT_SETTABLE: Final = _NOT_PASSED_ON | HOP_BY_HOP  # a second one of these would change what the head means
_WANT_LENGTH: Final = ("POST", "PUT", "PATCH")


def request_fields(
    head: RequestHead, *, remove: frozenset[bytes], set_fields: tuple[tuple[bytes, bytes], ...]
) -> bytes:
    """The app's fields as ready lines, less `remove`, with `set_fields` in place of those of the same name.

    Names in `remove` and `set_fields` are in lower case; of two equal ones the last counts.
    """
    new = {name: value for name, value in set_fields if name not in _NOT_SETTABLE}
    drop = _NOT_PASSED_ON.union(remove, new)
    lines = [
        b"%b: %b\r\n" % (field.name, field.value)
        for field in end_to_end(head.fields)
        if field.lower not in drop and not field.lower.startswith(b"x-sidecar-")
    ]
    lines += [b"%b: %b\r\n" % field for field in new.items()]
    return b"".join(lines)


def upstream_front(method: str, target: str, host: bytes, fields: bytes) -> bytes:
    """The head of an attempt as far as all requests of one kind share it; `upstream_request` adds the rest.

    `fields` are ready lines, each with its CRLF, or empty. `identity` is asked for because the first packet of a
    compressed stream cannot be seen.
    """
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%baccept-encoding: identity\r\n" % (
        method.encode(),
        target.encode(),
        host,
        fields,
    )


def wants_length(method: str, *, counted: bool) -> bool:
    """Whether an empty body is told with a length, too: where the app did so, or where a body is usual (9110 8.6)."""
    return counted or method in _WANT_LENGTH


def upstream_request(front: bytes, trace: bytes, body_length: int | None, body: bytes) -> bytes:
    """The whole head of an attempt, and the body where it is to follow at once; `trace` are ready lines."""
    if body_length is None:
        return b"%b%b\r\n" % (front, trace)
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (front, trace, body_length, body)


def downstream_head(
    head: ResponseHead,
    *,
    extra: bytes,
    framing: bytes,
    keep_alive: bool,
    instead: frozenset[bytes] = frozenset(),
) -> bytes:
    """The whole head of the answer to the app.

    `extra` is ready lines, `instead` the names (in lower case) of the service's fields that they stand in for;
    `framing` is content_length(n), CHUNKED when the body is chunked, UNTIL_CLOSE when only the end of the connection
    ends it, and nothing where there is none.
    """
    return b"%b%b%b%b" % (_begin(head, instead), extra, framing, LAST if keep_alive else CLOSING)


def downstream_answer(
    head: ResponseHead, *, extra: bytes, body: bytes, keep_alive: bool, instead: frozenset[bytes]
) -> bytes:
    """The whole answer to the app, head and counted body, at once."""
    end = LAST if keep_alive else CLOSING
    return b"%b%bcontent-length: %d\r\n%b%b" % (_begin(head, instead), extra, len(body), end, body)


def _begin(head: ResponseHead, instead: frozenset[bytes]) -> bytes:
    begin: bytes | None = head.memo.get(instead)
    if begin is None:
        begin = head.memo[instead] = _status_and_fields(head, _FRAMED | instead)
    return begin


def _status_and_fields(head: ResponseHead, drop: frozenset[bytes]) -> bytes:
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    lines += [
        b"%b: %b\r\n" % (field.name, field.value)
        for field in end_to_end(head.fields)
        if field.lower not in drop and not field.lower.startswith(b"x-sidecar-")
    ]
    return b"".join(lines)


def content_length(length: int) -> bytes:
    """The field line of a counted body."""
    return b"content-length: %d\r\n" % length
