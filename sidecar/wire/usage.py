"""Token counts of an answer that is no stream.

In:      the whole JSON body, as bytes.
Out:     (prompt tokens, completion tokens), None where the body does not say.
Why:     they stand at the end of the body in every dialect, so a look at its tail is enough; parsing a long answer
         would cost as much as relaying it. A number inside a string cannot match: its quotes would be escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.wire.digits import decimal

if TYPE_CHECKING:  # as in sidecar/wire/json_scan.py
    from mypy_extensions import i64

TAIL: Final = 4096
_NEAR: Final = 512  # nearly always they are even nearer to the end
_USAGE: Final = '"usage"'
# As OpenAI's answers name them, and Anthropic's. Gateways write both: OpenAI's go first, as in a stream.
_PROMPT: Final = b'"prompt_tokens"'
_COMPLETION: Final = b'"completion_tokens"'
_INPUT: Final = b'"input_tokens"'
_OUTPUT: Final = b'"output_tokens"'
_SHORTEST: Final = len(b'"input_tokens":0')
_P: Final = ord(b"p")
_C: Final = ord(b"c")
_I: Final = ord(b"i")
_O: Final = ord(b"o")
_COLON: Final = ord(b":")
_SPACE: Final = ord(b" ")
_TAB: Final = ord(b"\t")
_CR: Final = ord(b"\r")
_DIGITS: Final = 12  # what follows so many is not looked at


def usage_of_answer(body: bytes) -> tuple[int | None, int | None]:
    """Reads `usage` of OpenAI's and Anthropic's answers."""
    tail = body if len(body) <= _NEAR else body[-_NEAR:]
    text = tail.decode("latin-1")  # which is searched faster (sidecar.wire.search)
    at = text.rfind(_USAGE)
    if at < 0 and len(body) > _NEAR:
        tail = body[-TAIL:]
        text = tail.decode("latin-1")
        at = text.rfind(_USAGE)
    if at < 0:
        return None, None
    prompt: i64 = -1
    completion: i64 = -1
    read: i64 = -1
    written: i64 = -1
    last = len(tail) - _SHORTEST
    at += len(_USAGE) - 1
    while 0 <= at <= last and (prompt < 0 or completion < 0):  # at a quote
        letter = tail[at + 1]
        end: i64 = at + 1
        if letter == _P:
            if prompt < 0:  # the first of a name: what follows may be details
                prompt, end = _count(tail, at, _PROMPT)
        elif letter == _C:
            if completion < 0:
                completion, end = _count(tail, at, _COMPLETION)
        elif letter == _I:
            if read < 0:
                read, end = _count(tail, at, _INPUT)
        elif letter == _O and written < 0:
            written, end = _count(tail, at, _OUTPUT)
        at = text.find('"', end)
    prompt = read if prompt < 0 else prompt
    completion = written if completion < 0 else completion
    return None if prompt < 0 else prompt, None if completion < 0 else completion


def _count(tail: bytes, at: i64, name: bytes) -> tuple[i64, i64]:
    """What the member of this name says that begins here, and where to look further; -1: it is another one, or says no
    number."""
    end = at + len(name)
    if tail[at:end] != name:
        return -1, at + 1
    colon = _past_space(tail, end)
    if colon == len(tail) or tail[colon] != _COLON:
        return -1, at + 1
    begin = _past_space(tail, colon + 1)
    count, end = decimal(tail, begin)
    if not begin < end <= begin + _DIGITS:
        count, end = decimal(tail[begin : begin + _DIGITS], 0)
    if not end:
        return -1, begin
    return count, begin


def _past_space(tail: bytes, at: i64) -> i64:
    end, size = at, len(tail)
    while end < size:
        byte = tail[end]
        if byte != _SPACE and not _TAB <= byte <= _CR:
            break
        end += 1
    return end
