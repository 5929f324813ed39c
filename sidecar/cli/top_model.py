"""What `sidecar top` knows: the last minute of attempts, the fallbacks, the newest events. No clock, no I/O.

In:      health events as they come, the endpoints as they stand, `now` as a datetime.
Out:     Sections, tables with a title, for whoever draws them.
Units:   seconds; the rates are those of the last WINDOW seconds by the daemon's own time stamps.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from llmsidecar.v1 import health_pb2 as pb

from sidecar.cli.describe import (
    ENDPOINT_HEADER,
    endpoint_row,
    event_words,
    seconds_of,
    short_time,
    time_of_day,
)
from sidecar.cli.table import Cell, Styled

WINDOW = 60.0
MOST_ATTEMPTS = 20_000  # of all services together; far more than a pod has in a minute
EVENTS_SHOWN = 10


class Section(NamedTuple):
    """A table with its title."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Attempt(NamedTuple):
    at: float  # Unix time
    service: str
    succeeded: bool
    first_packet: float | None


@dataclass(slots=True)
class TopModel:
    """Fed by one thread, drawn by another: the caller keeps them apart."""

    attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=MOST_ATTEMPTS))
    fallbacks: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=MOST_ATTEMPTS))
    recent: deque[pb.HealthEvent] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    lost: str = ""  # why there is no connection; empty: there is one
    blind: str = ""  # why no events come any more; empty: they do

    def feed(self, event: pb.HealthEvent) -> None:
        at = event.time.ToNanoseconds() / 1e9
        match event.WhichOneof("event"):
            case "attempt_finished":
                self.attempts.append(_attempt(event.attempt_finished, at))
                return
            case "fallback":
                self.fallbacks.append((at, getattr(event.fallback, "from")))
        self.recent.append(event)

    def sections(self, endpoints: Sequence[pb.Endpoint], now: datetime) -> list[Section]:
        """Everything there is to see."""
        return [
            self._services(endpoints, now.timestamp()),
            Section("Endpoints", ENDPOINT_HEADER, [endpoint_row(endpoint, now) for endpoint in endpoints]),
            Section("Events", ("TIME", "EVENT", "WHAT"), [_event(event) for event in reversed(self.recent)]),
        ]

    def _services(self, endpoints: Sequence[pb.Endpoint], now: float) -> Section:
        while self.attempts and self.attempts[0].at < now - WINDOW:
            self.attempts.popleft()
        while self.fallbacks and self.fallbacks[0][0] < now - WINDOW:
            self.fallbacks.popleft()
        left = Counter(origin for _, origin in self.fallbacks)
        names = dict.fromkeys([e.service for e in endpoints] + [a.service for a in self.attempts])
        header = (
            "SERVICE",
            "AVAILABLE",
            "IN FLIGHT",
            "ATTEMPTS/MIN",
            "FAILED",
            "FIRST PACKET p50",
            "p99",
            "FELL BACK",
        )
        return Section(
            f"Services, last {WINDOW:.0f} s",
            header,
            [self._service(name, endpoints, left[name]) for name in names],
        )

    def _service(self, name: str, endpoints: Sequence[pb.Endpoint], fell_back: int) -> list[Cell]:
        mine = [endpoint for endpoint in endpoints if endpoint.service == name]
        available = sum(endpoint.available for endpoint in mine)
        attempts = [attempt for attempt in self.attempts if attempt.service == name]
        failed = sum(not attempt.succeeded for attempt in attempts)
        waits = sorted(a.first_packet for a in attempts if a.first_packet is not None)
        return [
            name,
            Styled(
                f"{available}/{len(mine)}",
                "good" if available == len(mine) else "warn" if available else "bad",
            ),
            str(sum(endpoint.in_flight for endpoint in mine)),
            str(len(attempts)),
            Styled(str(failed), "bad") if failed else "0",
            _quantile(waits, 0.50),
            _quantile(waits, 0.99),
            Styled(str(fell_back), "warn") if fell_back else "0",
        ]


def _attempt(finished: pb.AttemptFinished, at: float) -> Attempt:
    first = seconds_of(finished.first_packet) if finished.HasField("first_packet") else None
    return Attempt(at, finished.service, finished.outcome in ("success", "cancelled"), first)


def _event(event: pb.HealthEvent) -> list[Cell]:
    return [time_of_day(event.time), event.WhichOneof("event") or event.type, event_words(event)]


def _quantile(ordered: Sequence[float], share: float) -> str:
    """Nearest rank; a dash where there is nothing to rank."""
    return short_time(ordered[math.ceil(share * len(ordered)) - 1]) if ordered else "-"
