"""Durations, sizes, percentages and numbers as people write them; exact both ways.

In:      durations `200ms`, `0.2s`, `5m`, `1h`, `1m30s` (units h m s ms us ns, the larger first), or plain `0`;
         sizes `65536`, `64KiB`, `1.5 MiB` (B, KiB, MiB, GiB); percentages `10`, `10%`, `10 %`; decimal numbers.
Out:     whole nanoseconds, whole bytes, whole percentages, without rounding; else the nearest float.
Limits:  64 characters; durations end where google.protobuf.Duration does, at some 10 000 years.
Errors:  BadValue. Signs, NaN, infinities, exponents in sizes and durations, and fractions of a nanosecond or
         of a byte are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from sidecar.policy.problems import quote

MAX_LENGTH = 64  # of any number: keeps a hostile one from costing time
MAX_NANOSECONDS = 315_576_000_000 * 10**9
SECOND = 10**9

_UNITS = {"h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1}
_SIZES = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_DECIMAL = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_DECIMAL}){unit})?" for unit in _UNITS))
_SIZE = re.compile(rf"({_DECIMAL}) ?(|B|KiB|MiB|GiB)")
_PERCENT = re.compile(rf"({_DECIMAL}) ?%?")
_WHOLE = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


class BadValue(ValueError):
    """What is wrong with a written value and what was expected, in words for the one who wrote it."""


def read_duration(text: str) -> int:
    """Whole nanoseconds of `200ms`, `1m30s`; raises BadValue."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text) if 0 < len(text) <= MAX_LENGTH else None
    if match is None:
        raise BadValue(f"{quote(text)} is no duration; expected one such as 200ms, 1s, 5m or 1m30s")
    total = _exactly((count, _UNITS[unit]) for unit, count in match.groupdict().items() if count)
    if total is None:
        raise BadValue(f"{quote(text)} has a part under a nanosecond; expected a duration such as 200ms")
    if total > MAX_NANOSECONDS:
        raise BadValue(f"{quote(text)} is over 10000 years; expected a duration such as 200ms, 1s or 5m")
    return total


def write_duration(nanoseconds: int) -> str:
    """The shortest exact writing in one unit: `200ms`, `90s`, `5m`."""
    if nanoseconds == 0:
        return "0s"
    unit = next(unit for unit, size in _UNITS.items() if nanoseconds % size == 0)
    return f"{nanoseconds // _UNITS[unit]}{unit}"


def nanoseconds_of(duration: Duration) -> int:
    """The length of a protobuf Duration, whatever its parts."""
    return duration.seconds * SECOND + duration.nanos


def duration_of(nanoseconds: int) -> Duration:
    """The protobuf Duration of a length."""
    return Duration(seconds=nanoseconds // SECOND, nanos=nanoseconds % SECOND)


def read_size(text: str) -> int:
    """Whole bytes of `65536`, `64KiB`; raises BadValue."""
    match = _SIZE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    size = _exactly([(match[1], _SIZES[match[2]])]) if match else None
    if size is None:
        raise BadValue(f"{quote(text)} is no size in whole bytes; expected one such as 65536, 64KiB or 8MiB")
    return size


def write_size(size: int) -> str:
    """The shortest exact writing: `64KiB`, `1000`."""
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "") if size % _SIZES[unit] == 0)
    return f"{size // _SIZES[unit]}{unit}" if size else "0"


def read_percent(text: str) -> float:
    """Per cent of `10`, `10%`, `10 %`, `2.5%`; raises BadValue."""
    return float(_percent(text))


def read_whole_percent(text: str) -> int:
    """Per cent of `10`, `10%`, `10 %`; raises BadValue."""
    percent = _exactly([(_percent(text), 1)])
    if percent is None:
        raise BadValue(f"{quote(text)} has a fraction; expected a whole percentage such as 10%")
    return percent


def read_whole(text: str) -> int:
    """A whole number in decimal digits; raises BadValue."""
    if len(text) > MAX_LENGTH or not _WHOLE.fullmatch(text):
        raise BadValue(f"{quote(text)} is no whole number; expected digits only")
    return int(text)


def read_number(text: str) -> float:
    """A finite decimal number; raises BadValue."""
    number = float(text) if len(text) <= MAX_LENGTH and _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise BadValue(f"{quote(text)} is no number; expected one such as 0.01")
    return number


def _percent(text: str) -> str:
    match = _PERCENT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise BadValue(f"{quote(text)} is no percentage; expected one such as 10%")
    return match[1]


def _exactly(parts: Iterable[tuple[str, int]]) -> int | None:
    """The sum of decimal counts of units; None if it is not whole. (`fractions` would bring `decimal` along.)"""
    split = [(*count.partition("."), unit) for count, unit in parts]
    places = max(len(fraction) for _, _, fraction, _ in split)
    total = sum(int(whole + fraction.ljust(places, "0")) * unit for whole, _, fraction, unit in split)
    sum_, rest = divmod(total, 10**places)
    return None if rest else sum_
