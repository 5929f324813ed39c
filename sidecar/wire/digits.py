"""Digits in the middle of bytes, read where they stand.

In:      bytes, and where a number may begin.
Out:     the number, and where it ends.
Limits:  MOST decimal and MOST_HEX hexadecimal digits: below 2**63, so that no peer written in C reads another number
         than we do.
Why:     to search for the end, cut out, check and convert is four calls, which cost five times as much.
"""

from __future__ import annotations

from string import hexdigits
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # as in sidecar/wire/json_scan.py
    from mypy_extensions import i64

MOST: Final = 18
MOST_HEX: Final = 15
_NONE: Final = 255
# What each byte is worth as a digit.
_WORTH: Final = bytes(int(chr(byte), 16) if chr(byte) in hexdigits else _NONE for byte in range(256))


def decimal(data: bytes, at: i64) -> tuple[i64, i64]:
    """(0, at): no number begins here, or it has more than MOST digits."""
    return _number(data, at, 10, MOST)


def hexadecimal(data: bytes, at: i64) -> tuple[i64, i64]:
    """(0, at): no number begins here, or it has more than MOST_HEX digits."""
    return _number(data, at, 16, MOST_HEX)


def _number(data: bytes, at: i64, base: i64, most: i64) -> tuple[i64, i64]:
    number: i64 = 0
    end = at
    size: i64 = len(data)
    while end < size:
        digit: i64 = _WORTH[data[end]]
        if digit >= base:
            break
        if end - at == most:
            return 0, at
        number = number * base + digit
        end += 1
    return number, end
