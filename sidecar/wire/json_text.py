"""A whole JSON text, parsed by Python's C scanner without what json.loads does around it.

In:      text, decoded by the caller.
Out:     the value. Like json.loads we let the last of two equal keys count, and NaN pass.
Errors:  ValueError, RecursionError: it is no JSON.
Why:     for the small texts of a stream's events, the search for an encoding, for white space and three Python calls
         cost more than the scanner itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")
# The value that begins at a place, and where it ends; StopIteration: none begins there. No stub knows it.
scan: Final[Callable[[str, int], tuple[object, int]]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def parse(text: str) -> object:
    try:
        value, end = scan(text, 0 if text.startswith("{") else _past_space(text, 0))
    except StopIteration as error:
        raise ValueError("no JSON value begins here") from error
    if end != len(text) and _past_space(text, end) != len(text):
        raise ValueError("something follows the JSON value")
    return value


def _past_space(text: str, at: int) -> int:
    """Where the white space ends that begins here, if any does."""
    match = _SPACE.match(text, at)
    assert match is not None  # it may be empty
    return match.end()
