"""Where the model's name stands in a JSON object and whether it asks for a stream, by one walk over its bytes.

In:      a body that is UTF-8, and where in it the text begins.
Out:     where the value of the last top-level `model` begins and ends, (0, 0) if there is none; whether that of the
         last top-level `stream` is true.
Limits:  NOT_KNOWN is the answer where a parser has to decide: of what is no JSON object, of an escape in a top-level
         key, NaN and infinities, numbers of over LONGEST bytes, more than DEEPEST levels or MOST_MEMBERS members.
         So whatever is told here of a text is what a parser would tell.
Errors:  none. Inside, a ValueError or, where the text is cut, an IndexError means NOT_KNOWN.
Why:     a parser makes an object of everything, which costs four times as much as to look at the bytes of a small
         body and up to twice as much of a large one. As bytecodes the loops would take fifty times as long, so
         only the compiled form walks (sidecar/wire/request_body.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # named in annotations only: a machine's number, which halves the instructions of a loop
    from mypy_extensions import i64

DEEPEST: Final = 100  # of the 1000 calls that Python's parser may be deep
LONGEST: Final = 640  # the least that Python can be told to refuse of a whole number's digits
MOST_MEMBERS: Final = 10_000
NOT_KNOWN: Final = -1

# find() looks at 32 bytes at once but has to be called for each control character: worth it where a string, of which so
# much was looked at one by one, goes on for so much more.
_NEAR: Final = 4096
_FAR: Final = 32 * 1024
# Looked through for one control character after the other, and in the cache from the second on.
_BLOCK: Final = 128 * 1024

_QUOTE: Final = 34
_BACKSLASH: Final = 92
_COLON: Final = 58
_COMMA: Final = 44
_OBJECT: Final = 123
_OBJECT_END: Final = 125
_LIST: Final = 91
_LIST_END: Final = 93
_MINUS: Final = 45
_PLUS: Final = 43
_POINT: Final = 46
_ZERO: Final = 48
_E: Final = 69
_SMALL_E: Final = 101
_F: Final = 102
_N: Final = 110
_T: Final = 116
_U: Final = 117
_BLANK: Final = 32
_CONTROLS: Final = 32  # the bytes below


def _table(members: bytes) -> bytes:
    """Of each byte, whether it is one of these."""
    return bytes(byte in members for byte in range(256))


_SPACE: Final = _table(b" \t\n\r")
_DIGIT: Final = _table(b"0123456789")
_HEX_DIGIT: Final = _table(b"0123456789abcdefABCDEF")
_ESCAPED: Final = _table(b'"\\/bfnrt')
_ENDS_PLAIN: Final = _table(b'"\\' + bytes(range(_CONTROLS)))


def model_and_stream(body: bytes, at: i64) -> tuple[i64, i64, bool]:
    try:
        return _top_level(body, at)
    except (IndexError, ValueError):
        return NOT_KNOWN, NOT_KNOWN, False


def _top_level(body: bytes, at: i64) -> tuple[i64, i64, bool]:
    begin: i64 = 0
    end: i64 = 0
    stream = False
    members: i64 = 0
    at = _past_space(body, at)
    if body[at] != _OBJECT:
        raise ValueError
    at = _past_space(body, at + 1)
    more = body[at] != _OBJECT_END
    while more:
        key = at + 1
        key_end = _past_plain(body, key)
        if body[at] != _QUOTE or body[key_end] != _QUOTE or members == MOST_MEMBERS:
            raise ValueError
        value = _past_colon(body, key_end + 1)
        at = _past_value(body, value, DEEPEST)
        if key_end - key == 5 and _says(body, key, b"model"):
            begin, end = value, at
        elif key_end - key == 6 and _says(body, key, b"stream"):
            stream = body[value] == _T
        members += 1
        at, more = _past_comma(body, at, _OBJECT_END)
    at += 1
    size: i64 = len(body)
    while at < size:
        if not _SPACE[body[at]]:
            raise ValueError
        at += 1
    return begin, end, stream


def _past_value(body: bytes, at: i64, depth: i64) -> i64:
    """`depth`: of so many levels it may be."""
    first = body[at]
    if first == _QUOTE:
        return _past_string(body, at + 1)
    if first == _OBJECT:
        return _past_object(body, at + 1, depth - 1)
    if first == _LIST:
        return _past_list(body, at + 1, depth - 1)
    if first == _T:
        return _past_word(body, at, b"true")
    if first == _F:
        return _past_word(body, at, b"false")
    if first == _N:
        return _past_word(body, at, b"null")
    return _past_number(body, at)


def _past_object(body: bytes, at: i64, depth: i64) -> i64:
    if depth < 0:
        raise ValueError
    at = _past_space(body, at)
    more = body[at] != _OBJECT_END
    while more:
        if body[at] != _QUOTE:
            raise ValueError
        at = _past_colon(body, _past_string(body, at + 1))
        at, more = _past_comma(body, _past_value(body, at, depth), _OBJECT_END)
    return at + 1


def _past_list(body: bytes, at: i64, depth: i64) -> i64:
    if depth < 0:
        raise ValueError
    at = _past_space(body, at)
    more = body[at] != _LIST_END
    while more:
        at, more = _past_comma(body, _past_value(body, at, depth), _LIST_END)
    return at + 1


def _past_comma(body: bytes, at: i64, end: i64) -> tuple[i64, bool]:
    """Where the next member begins, and True; or where the end stands, and False."""
    at = _past_space(body, at)
    if body[at] == _COMMA:
        return _past_space(body, at + 1), True
    if body[at] != end:
        raise ValueError
    return at, False


def _past_colon(body: bytes, at: i64) -> i64:
    at = _past_space(body, at)
    if body[at] != _COLON:
        raise ValueError
    return _past_space(body, at + 1)


def _past_space(body: bytes, at: i64) -> i64:
    byte: i64 = body[at]
    while byte == _BLANK or (byte < _BLANK and _SPACE[byte]):
        at += 1
        byte = body[at]
    return at


def _past_word(body: bytes, at: i64, word: bytes) -> i64:
    if not _says(body, at, word):
        raise ValueError
    return at + len(word)


def _says(body: bytes, at: i64, word: bytes) -> bool:
    size: i64 = len(word)
    place: i64 = 0
    while place < size:
        if body[at + place] != word[place]:
            return False
        place += 1
    return True


def _past_number(body: bytes, at: i64) -> i64:
    begin = at
    if body[at] == _MINUS:
        at += 1
    at = at + 1 if body[at] == _ZERO else _past_digits(body, at)
    if body[at] == _POINT:
        at = _past_digits(body, at + 1)
    if body[at] == _SMALL_E or body[at] == _E:
        at += 1
        if body[at] == _MINUS or body[at] == _PLUS:
            at += 1
        at = _past_digits(body, at)
    if at - begin > LONGEST:
        raise ValueError
    return at


def _past_digits(body: bytes, at: i64) -> i64:
    if not _DIGIT[body[at]]:
        raise ValueError
    while _DIGIT[body[at]]:
        at += 1
    return at


def _past_string(body: bytes, at: i64) -> i64:
    """`at`: behind its first quote."""
    while True:
        at = _past_plain(body, at)
        while body[at] == _BACKSLASH:
            at = _past_escape(body, at + 1)
        if body[at] == _QUOTE:
            return at + 1
        if body[at] < _CONTROLS:
            raise ValueError


def _past_escape(body: bytes, at: i64) -> i64:
    """`at`: behind the backslash."""
    if _ESCAPED[body[at]]:
        return at + 1
    if body[at] != _U:
        raise ValueError
    digit = _HEX_DIGIT
    if digit[body[at + 1]] and digit[body[at + 2]] and digit[body[at + 3]] and digit[body[at + 4]]:
        return at + 5
    raise ValueError


def _past_plain(body: bytes, at: i64) -> i64:
    """Where the text ends that stands for itself: at a quote, a backslash, a control character."""
    ends = _ENDS_PLAIN
    near = at + _NEAR
    while not ends[body[at]]:
        at += 1
        if at == near:
            return _past_far(body, at)
    return at


def _past_far(body: bytes, at: i64) -> i64:
    """The same, where it goes on for long."""
    end = _next_mark(body, at, _FAR)
    while end - at == _FAR:
        end = _next_mark(body, at, _BLOCK)
        if _has_control(body, at, end):
            break
        at = end
        end = _next_mark(body, at, _FAR)
    ends = _ENDS_PLAIN
    while not ends[body[at]]:
        at += 1
    return at


def _next_mark(body: bytes, at: i64, most: i64) -> i64:
    """Where the next quote or backslash stands, or `most` bytes or the body end."""
    size: i64 = len(body)
    end = min(at + most, size)
    quote: i64 = body.find(b'"', at, end)
    if quote >= 0:
        end = quote
    escape: i64 = body.find(b"\\", at, end)
    return escape if escape >= 0 else end


def _has_control(body: bytes, begin: i64, end: i64) -> bool:
    for control in range(_CONTROLS):  # noqa: SIM110  # a generator would make a list of all of them first
        if body.find(control, begin, end) >= 0:
            return True
    return False
