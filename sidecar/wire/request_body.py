"""The app's JSON body: which model, a stream or not, and where the model's name stands.

In:      a request body as received.
Out:     a Peek; the body with another model, every other byte as it was.
Limits:  the caller bounds the body; cost is one pass of Python's C scanner, about 1 ms a MiB. An object of
         over 10 000 members is no LLM request and is not read.
Errors:  values. What is no JSON object (UTF-8, a byte order mark before it is let pass) is not valid, has no
         model and is never rewritten.

A tokenizing regex that skips what is not asked for was measured at 2 to 5 times the cost of the C scanner, so
the body is parsed: member by member, for then their places are known; as Latin-1, one character a byte, so that
places are byte offsets. A small body, for which calls cost more than bytes, is parsed at once if the bytes
`"model"` stand there once at most and no escape can spell a letter of it: that place is then the key's, if there
is such a key. A large body is often one string in a little JSON, an image: what is plain text of it is left out before
the parse (half the time, and no copy of it is made).

Like Python's and Node's parsers we let the last of two equal keys count, and like Python's we let NaN pass: the
service is the judge of its own input.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from sidecar.wire.json_text import parse, past_space

_COMMA: Final = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_TEXT: Final = r'[^"\\\x00-\x1f]*+'
_KEY: Final = re.compile(f'"({_TEXT}(?:\\\\.{_TEXT})*)"[ \\t\\n\\r]*:[ \\t\\n\\r]*')
_MODEL: Final = re.compile(rb'"model"[ \t\n\r]*:[ \t\n\r]*("[^"\\]*+(?:\\.[^"\\]*+)*")')
_PROMPT: Final = re.compile(rb'"(?:system|messages|prompt|input)"[ \t\n\r]*:')
_CLOSE: Final = re.compile(r"[ \t\n\r]*\}[ \t\n\r]*")
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_SMALL: Final = 16 * 1024
# Looked through for one control character after the other, and in the cache from the second on.
_BLOCK: Final = 128 * 1024
_MAX_MEMBERS: Final = 10_000
_BOM: Final = b"\xef\xbb\xbf"
_BACKSLASH: Final = 92
_decode: Final = json.JSONDecoder().raw_decode


class Peek(NamedTuple):
    """What was found. `model_span` is where the value of `model`, quotes included, begins and ends."""

    model: str | None
    stream: bool
    model_span: tuple[int, int] | None
    valid: bool


_INVALID: Final = Peek(None, False, None, False)
_make: Final = tuple.__new__  # a Peek a request: its own constructor costs as much as the whole of `_name`


def peek(body: bytes) -> Peek:
    """Finds the top-level `model` and `stream` of a JSON object."""
    begin = 3 if body.startswith(_BOM) else 0
    try:
        if len(body) <= _SMALL and (_BACKSLASH not in body or body.find(b"\\u006") < 0):
            place = body.find(b'"model"')
            if place < 0 or body.find(b'"model"', place + 1) < 0:
                return _whole(body, begin, place)
        if not body.isascii():
            body.decode()
        return _large(body, begin)
    except (ValueError, RecursionError):
        return _INVALID


def with_model(body: bytes, span: tuple[int, int] | None, model: bytes) -> bytes:
    """The body with another model, as written in JSON, at this place; as it is where it names none."""
    if span is None:
        return body
    begin, end = span
    return b"%b%b%b" % (body[:begin], model, body[end:])


def prompt_prefix(body: bytes, length: int) -> bytes | None:
    """The first bytes of what the model is asked: of `system`, `messages`, `prompt`, `input` whatever comes first.

    Only good for telling alike requests from others: a word in a string may be taken for a key, but then it is so in
    all requests that begin alike. None: there is no such thing.
    """
    found = _PROMPT.search(body)
    return None if found is None else body[found.start() : found.end() + length]


def _whole(body: bytes, begin: int, place: int) -> Peek:
    said = parse((body[begin:] if begin else body).decode())
    if type(said) is not dict:
        return _INVALID
    model = said.get("model")
    value = None
    if model is not None and (model := _name(model)) is not None:
        value = _MODEL.match(body, place)
    return _make(Peek, (model, said.get("stream") is True, value.span(1) if value else None, True))


def _large(body: bytes, at: int) -> Peek:
    cut = _plain_text(body)
    if cut is not None:
        begin, end = cut
        found = _members(body[:begin] + body[end:], at)
        span = found.model_span
        if span is None or span[1] < begin:
            return found
        if span[0] >= begin:
            return found._replace(model_span=(span[0] + end - begin, span[1] + end - begin))
    return _members(body, at)  # or the model's name was left out


def _plain_text(body: bytes) -> tuple[int, int] | None:
    """From where to where a string goes that is more than half of the body, if it has no escape; None: there is none.

    It stands in the middle, between two quotes. The first opens it if the quotes before it are even in number; if a
    backslash there escapes nothing, the body is no JSON, which is found out as it stays.
    """
    middle = len(body) // 2
    begin, end = body.rfind(b'"', 0, middle) + 1, body.find(b'"', middle)
    if begin == 0 or end - begin < middle or body.find(b"\\", begin, end) >= 0:
        return None
    if _ESCAPE.sub(b"", body[: begin - 1]).count(b'"') % 2:
        return None
    for block in range(begin, end, _BLOCK):
        block_end = min(block + _BLOCK, end)
        for control in range(32):
            if body.find(control, block, block_end) >= 0:
                return None
    return begin, end


def _members(body: bytes, at: int) -> Peek:
    text = body.decode("latin-1")
    at = past_space(text, at)
    if not text.startswith("{", at):
        return _INVALID
    at = past_space(text, at + 1)
    model: str | None = None
    span: tuple[int, int] | None = None
    stream = False
    more = not text.startswith("}", at)
    for _ in range(_MAX_MEMBERS):
        if not more:
            break
        key = _KEY.match(text, at)
        if key is None:
            return _INVALID
        name = json.loads(f'"{key[1]}"') if "\\" in key[1] else key[1]
        at = key.end()
        value, end = _decode(text, at)
        if name == "stream":
            stream = value is True
        elif name == "model":
            model = _name(json.loads(body[at:end])) if isinstance(value, str) else None
            span = (at, end) if model is not None else None
        comma = _COMMA.match(text, end)
        more = comma is not None
        at = comma.end() if comma else end
    whole = not more and _CLOSE.fullmatch(text, at)
    return Peek(model, stream, span, True) if whole else _INVALID


def _name(value: object) -> str | None:
    """The model's name; None for one with lone surrogates, which can be neither sent nor logged."""
    if not isinstance(value, str):
        return None
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value
