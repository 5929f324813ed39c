"""The app's JSON body: which model, a stream or not, and where the model's name stands.

In:      a request body as received.
Out:     a Peek; the body with another model, every other byte as it was.
Limits:  the caller bounds the body; cost is one walk over its bytes, up to 1 ms a MiB of text, 2 to 4 of numbers and
         small objects. Where a parser has to decide, 13 to 30 ms more of those, and about 2 of text with escapes: so
         much it is, too, where nothing is compiled. An object of over 10 000 members is no LLM request and is not read.
Errors:  values. What is no JSON object (UTF-8, a byte order mark before it is let pass) is not valid, has no
         model and is never rewritten.

The compiled form walks over the bytes and makes an object of nothing (sidecar/wire/json_scan.py). What that leaves
open, and everything where nothing is compiled, is parsed by Python's C scanner: member by member, for then their
places are known; as Latin-1, one character a byte, so that places are byte offsets. A tokenizing regex that skips
what is not asked for was measured at 2 to 5 times the cost of the C scanner.

Like Python's and Node's parsers we let the last of two equal keys count, and like Python's we let NaN pass: the
service is the judge of its own input.
"""

from __future__ import annotations

import json
import re
from types import FunctionType
from typing import Final

from sidecar.wire.json_scan import MOST_MEMBERS, NOT_KNOWN, model_and_stream
from sidecar.wire.json_text import scan

_SPACE: Final = r"[ \t\n\r]*"
_TEXT: Final = r'[^"\\\x00-\x1f]*+'
_KEY: Final = re.compile(f'"({_TEXT}(?:\\\\.{_TEXT})*)"{_SPACE}:{_SPACE}')
_NEXT_KEY: Final = re.compile(f"{_SPACE},{_SPACE}{_KEY.pattern}")
_OPEN: Final = re.compile(rf"{_SPACE}\{{{_SPACE}")
_CLOSE: Final = re.compile(rf"{_SPACE}\}}{_SPACE}")
_PROMPT: Final = re.compile(rb'"(?:system|messages|prompt|input)"[ \t\n\r]*:')
_BOM: Final = b"\xef\xbb\xbf"
_QUOTE: Final = 34
_IS_COMPILED: Final[bool] = not isinstance(model_and_stream, FunctionType)


# The model; whether a stream is asked for; where the value of `model`, quotes included, begins and ends; whether the
# body is valid. A tuple without names, of which compiled code makes no object.
Peek = tuple[str | None, bool, tuple[int, int] | None, bool]
NOTHING: Final[Peek] = (None, False, None, False)


def peek(body: bytes) -> Peek:
    """Finds the top-level `model` and `stream` of a JSON object."""
    at = 3 if body.startswith(_BOM) else 0
    try:
        if not body.isascii():
            body.decode()
        if _IS_COMPILED:
            begin, end, stream = model_and_stream(body, at)
            if begin != NOT_KNOWN:
                return _found(body, begin, end, stream)
        return _members(body, at)
    except (ValueError, StopIteration, RecursionError):
        return NOTHING


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


def _members(body: bytes, at: int) -> Peek:
    text = body.decode("latin-1")
    opened = _OPEN.match(text, at)
    if opened is None:
        return NOTHING
    begin = end = 0
    stream = False
    at = opened.end()
    key = _KEY.match(text, at)
    for _ in range(MOST_MEMBERS):
        if key is None:
            break
        name = key[1]
        if "\\" in name:
            name = json.loads(f'"{name}"')
        value, at = scan(text, key.end())
        if name == "stream":
            stream = value is True
        elif name == "model":
            begin, end = key.end(), at
        key = _NEXT_KEY.match(text, at)
    return _found(body, begin, end, stream) if _CLOSE.fullmatch(text, at) else NOTHING


def _found(body: bytes, begin: int, end: int, stream: bool) -> Peek:
    """`begin`, `end`: of the value of `model`, or (0, 0)."""
    if body[begin] != _QUOTE:
        return None, stream, None, True
    name = body[begin + 1 : end - 1].decode()
    if "\\" in name:
        name = json.loads(f'"{name}"')
        try:
            name.encode()
        except UnicodeEncodeError:  # a lone surrogate, which can be neither sent nor logged
            return None, stream, None, True
    return name, stream, (begin, end), True
