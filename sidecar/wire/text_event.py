"""Events of a stream that differ in nothing but the text they bear, told without reading them.

In:      payloads of whole events: one that says nothing but text, then those behind it.
Out:     whether the next is one that is known to say nothing but text, around other text.
Exact:   the text stands behind one of the keys that bear text, as a JSON string: up to its closing quote, with no
         line end in it. So whatever stands there is text, and everything else is as it was.
Why:     nearly all events of a stream are so. To look for each word that would mean more costs five times as much.
"""

from __future__ import annotations

import re
from typing import Final

_TEXT: Final = rb'[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+'
_BEARS_TEXT: Final = re.compile(
    rb'"(?:content|text|reasoning_content|reasoning|thinking|partial_json|arguments)":[ ]?"(' + _TEXT + rb')"'
)
_ONLY_TEXT: Final = re.compile(_TEXT)
_SHORT: Final = 32  # so many bytes are looked at one by one before a regex could have begun
_SPACE: Final = 32
_QUOTE: Final = 34
_BACKSLASH: Final = 92


class TextEvent:
    """An event as it came before, around its text."""

    __slots__ = ("_back", "_front")

    def __init__(self, front: bytes, back: bytes) -> None:
        self._front = front
        self._back = back

    def is_like(self, payload: bytes) -> bool:
        """The payload is this one event, with any text."""
        begin, end = len(self._front), len(payload) - len(self._back)
        if begin > end or not payload.startswith(self._front) or not payload.endswith(self._back):
            return False
        if end - begin <= _SHORT and _is_plain(payload[begin:end]):
            return True
        return _ONLY_TEXT.fullmatch(payload, begin, end) is not None


def _is_plain(text: bytes) -> bool:
    """Without any escape or control."""
    for byte in text:  # noqa: SIM110  # a generator would cost twice as much where nothing is compiled
        if byte < _SPACE or byte in (_QUOTE, _BACKSLASH):
            return False
    return True


def text_event(payload: bytes) -> TextEvent | None:
    """Of a payload that is whole events and says nothing but text; None: it is not one event that bears text."""
    if payload.count(b"\n\n") != 1:
        return None
    found = _BEARS_TEXT.search(payload)
    return None if found is None else TextEvent(payload[: found.start(1)], payload[found.end(1) :])
