"""The last minutes second by second, for the charts of the live page.

In:      finished requests (Sink), on the loop; `now` in monotonic seconds when they are read.
Out:     per service, oldest second first: requests answered, attempts, failed attempts, fallbacks taken,
         first-packet median and 99th percentile in milliseconds (None: nothing came in that second).
Limits:  SECONDS seconds, MAX_SERVICES services. Times fall into buckets 9 % wide. What happened is filed
         under the second it happened in, but known only when its request ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.record import AttemptRecord, RequestRecord, Sink

SECONDS: Final = 180
MAX_SERVICES: Final = 32
NOBODY: Final = "none"  # requests that no service answered

_PER_OCTAVE: Final = 8
# Over the natural logarithm, which is compiled to a call in C; rounded up, or a power of two might miss its bucket.
_PER_E: Final = 11.541560327111709  # _PER_OCTAVE / ln 2
_LONGEST: Final = 3600.0

Summary = tuple[float | None, float | None]


class _Bucket:
    """How many times have fallen into it."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = 1


class _Second:
    """What happened in one service in one second."""

    __slots__ = ("attempts", "buckets", "failures", "fallbacks", "requests", "summary")

    def __init__(self) -> None:
        self.requests = 0
        self.attempts = 0
        self.failures = 0
        self.fallbacks = 0
        self.buckets: dict[int, _Bucket] = {}
        self.summary: Summary | None = None  # made when asked for, kept until the second changes

    def observe(self, seconds: float) -> None:
        number = _bucket(seconds)
        bucket = self.buckets.get(number)
        if bucket is None:
            self.buckets[number] = _Bucket()
        else:
            bucket.seen += 1
        self.summary = None

    def percentiles(self) -> Summary:
        if self.summary is None:
            self.summary = (_percentile(self.buckets, 0.5), _percentile(self.buckets, 0.99))
        return self.summary


_EMPTY: Final = _Second()


class _Service:
    """Its seconds by their number; most of what comes belongs to the one that was begun last."""

    __slots__ = ("last", "number", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[int, _Second] = {}
        self.number = -1  # of the last one; -1: there is none yet
        self.last = _EMPTY

    def begin(self, number: int) -> _Second:
        begun = self.seconds[number] = _Second()
        self.number, self.last = number, begun
        return begun


class Series(Sink):
    def __init__(self, *, seconds: int = SECONDS, max_services: int = MAX_SERVICES) -> None:
        self._seconds = seconds
        self._max_services = max_services
        self._services: dict[str, _Service] = {}
        self._newest = 0

    def request_finished(self, record: RequestRecord) -> None:
        ended = record.started_at if record.ended_at is None else record.ended_at
        if (second := self._at(record.service or NOBODY, ended)) is not None:
            second.requests += 1
        for attempt in record.attempts:
            self._attempt_finished(record, attempt)

    def read(self, now: float) -> dict[str, dict[str, list[float | None]]]:
        """The seconds up to the one before `now`: the present one is not over."""
        self._forget_before(int(now) - self._seconds)
        return {name: self._columns(one.seconds, int(now)) for name, one in self._services.items()}

    def _attempt_finished(self, record: RequestRecord, attempt: AttemptRecord) -> None:
        service, first = attempt.service, attempt.first_packet_at
        ended = attempt.started_at if attempt.ended_at is None else attempt.ended_at
        if (second := self._at(service, ended)) is not None:
            second.attempts += 1
            second.failures += attempt.failure is not None
            second.fallbacks += attempt.fallback_from is not None and attempt.fell_back(record)
        if first is None:
            return
        if int(first) != int(ended):
            second = self._at(service, first)
        if second is not None:
            second.observe(first - attempt.started_at)

    def _at(self, service: str, moment: float) -> _Second | None:
        """The second to count in; None when it is too long ago, or the service one too many."""
        number = int(moment)
        kept = self._services.get(service)
        if kept is None:
            return self._begin(service, number)
        if kept.number == number:
            return kept.last
        second = kept.seconds.get(number)
        return self._begin(service, number) if second is None else second

    def _begin(self, service: str, number: int) -> _Second | None:
        if number > self._newest:
            self._newest = number
            self._forget_before(number - self._seconds)
        elif number <= self._newest - self._seconds:
            return None
        kept = self._services.get(service)
        if kept is None:
            if len(self._services) >= self._max_services:
                return None
            kept = self._services[service] = _Service()
        return kept.begin(number)

    def _forget_before(self, number: int) -> None:
        for name, service in list(self._services.items()):
            seconds = service.seconds
            for old in [second for second in seconds if second < number]:
                del seconds[old]
            if service.number < number:
                service.number = -1
            if not seconds:
                del self._services[name]

    def _columns(self, seconds: dict[int, _Second], now: int) -> dict[str, list[float | None]]:
        rows = [seconds.get(number, _EMPTY) for number in range(now - self._seconds, now)]

        def column(value: Callable[[_Second], float | None]) -> list[float | None]:
            return [value(row) for row in rows]

        return {
            "requests": column(lambda row: row.requests),
            "attempts": column(lambda row: row.attempts),
            "failures": column(lambda row: row.failures),
            "fallbacks": column(lambda row: row.fallbacks),
            "first_packet_p50_ms": column(lambda row: row.percentiles()[0]),
            "first_packet_p99_ms": column(lambda row: row.percentiles()[1]),
        }


def _bucket(seconds: float) -> int:
    return int(math.log(1.0 + 1000.0 * min(max(seconds, 0.0), _LONGEST)) * _PER_E)


def _percentile(buckets: dict[int, _Bucket], share: float) -> float | None:
    """The middle of the bucket that holds it, in milliseconds."""
    wanted = share * sum([bucket.seen for bucket in buckets.values()])
    for bucket, seen in _running(buckets):
        if seen >= wanted:
            return round(math.exp2((bucket + 0.5) / _PER_OCTAVE) - 1.0, 1)
    return None


def _running(buckets: dict[int, _Bucket]) -> Iterator[tuple[int, int]]:
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket].seen
        yield bucket, seen
