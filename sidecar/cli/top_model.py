"""What `sidecar top` knows: the last minute of attempts, the fallbacks, the newest events. No clock, no I/O.

In:      health events as they come, the endpoints as they stand, `now` as a datetime.
Out:     figures for the live drawing; Sections, tables with a title, for the plain one.
Units:   seconds; the rates are those of the last WINDOW seconds by the daemon's own time stamps, or of the time
         since the first event, while that is less.
Rule:    an answer is an attempt that succeeded; the share of a service is its share of them.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from llmsidecar.v1 import health_pb2 as pb

from sidecar.cli.describe import (
    COOLING_HEADER,
    ENDPOINT_HEADER,
    at_its_limit,
    cooling_row,
    endpoint_row,
    event_words,
    in_rotation,
    seconds_of,
    short_time,
    time_of_day,
)
from sidecar.cli.plain import plain
from sidecar.cli.table import Cell, Styled

WINDOW = 60.0
STEPS = 30  # of a service's course over the window
MOST_ATTEMPTS = 20_000  # of all services together; far more than a pod has in a minute
EVENTS_KEPT = 50
EVENTS_SHOWN = 10
SERVICE_HEADER = (
    "SERVICE",
    "IN ROTATION",
    "IN FLIGHT",
    "ANSWERS/s",
    "SHARE",
    "FAILED",
    "FIRST PACKET p50",
    "p99",
    "FELL BACK",
)


class Section(NamedTuple):
    """A table with its title."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Attempt(NamedTuple):
    at: float  # Unix time
    service: str
    outcome: str
    first_packet: float | None


class FellBack(NamedTuple):
    at: float  # Unix time
    way: tuple[str, str, str]  # from, to, reason


class ServiceFigures(NamedTuple):
    """One service over the window."""

    name: str
    up: int  # endpoints in rotation
    at_limit: int  # of these
    endpoints: int
    in_flight: int
    attempts: int
    answers: int
    rate: float  # answers a second
    share: float | None  # of the answers of all services; None: nobody answered
    failed: int
    p50: float | None
    p99: float | None
    course: Sequence[float | None]  # median first packet, oldest step first
    fell_back: int


@dataclass(slots=True)
class TopModel:
    """Fed by one thread, drawn by another: the caller keeps them apart."""

    attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=MOST_ATTEMPTS))
    fallbacks: deque[FellBack] = field(default_factory=lambda: deque(maxlen=MOST_ATTEMPTS))
    recent: deque[pb.HealthEvent] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    cooling: Sequence[pb.ScopeCooled] = ()  # what is left alone, as of the last look
    began: float | None = None  # time since when attempts are told; what happened before comes without them
    generation: int = 0  # of the policy; 0: not told yet
    lost: str = ""  # why there is no connection; empty: there is one
    blind: str = ""  # why no events come any more; empty: they do

    def feed(self, event: pb.HealthEvent) -> None:
        at = event.time.ToNanoseconds() / 1e9
        kind = event.WhichOneof("event")
        if self.began is None:
            if kind == "gap":  # what happened before the daemon's memory begins is nobody's loss
                return
            if kind in ("snapshot", "attempt_finished"):
                self.began = at
        match kind:
            case "attempt_finished":
                self.attempts.append(_attempt(event.attempt_finished, at))
                return
            case "fallback":  # one a request: they are counted, for nobody could read them
                told = event.fallback
                self.fallbacks.append(FellBack(at, (getattr(told, "from"), told.to, told.reason)))
                return
            case "snapshot":
                self.generation = event.snapshot.policy_generation
            case "policy_applied":
                self.generation = event.policy_applied.generation
        self.recent.append(event)

    def services(self, endpoints: Sequence[pb.Endpoint], now: datetime) -> list[ServiceFigures]:
        """Those of the policy in its order, then those that have just left it."""
        self._forget_before(now.timestamp() - WINDOW)
        left = Counter(fallback.way[0] for fallback in self.fallbacks)
        answers = Counter(attempt.service for attempt in self.attempts if attempt.outcome == "success")
        names = dict.fromkeys([e.service for e in endpoints] + [a.service for a in self.attempts])
        at = now.timestamp()
        return [self._service(name, endpoints, left[name], answers, at) for name in names]

    def ways(self) -> list[tuple[tuple[str, str, str], int]]:
        """From, to and reason of the fallbacks, the most frequent first; as of the last look at the services."""
        return Counter(fallback.way for fallback in self.fallbacks).most_common()

    def left_alone(self, now: datetime) -> list[list[Cell]]:
        return [cooling_row(scope, now) for scope in self.cooling]

    def sections(self, endpoints: Sequence[pb.Endpoint], now: datetime) -> list[Section]:
        """Everything there is to see, as tables."""
        services = [_service_row(figures) for figures in self.services(endpoints, now)]
        left_alone = [Section("Left alone", COOLING_HEADER, self.left_alone(now))] if self.cooling else []
        ways = [[*way, str(count)] for way, count in self.ways()]
        events = [event_row(event) for event in self.newest(EVENTS_SHOWN)]
        return [
            Section(f"Services, last {WINDOW:.0f} s", SERVICE_HEADER, services),
            Section("Endpoints", ENDPOINT_HEADER, [endpoint_row(endpoint, now) for endpoint in endpoints]),
            *left_alone,
            Section(f"Fallbacks, last {WINDOW:.0f} s", ("FROM", "TO", "REASON", "REQUESTS"), ways),
            Section("Events", ("TIME", "EVENT", "WHAT"), events),
        ]

    def figures(self, endpoints: Sequence[pb.Endpoint], now: datetime) -> dict[str, object]:
        """The same for programs: JSON-ready, seconds and numbers as they are, without the course."""
        services = [figures._asdict() for figures in self.services(endpoints, now)]
        return {
            "time": now.isoformat(timespec="milliseconds"),
            "connected": not self.lost,
            "policy_generation": self.generation,
            "services": [{k: v for k, v in one.items() if k != "course"} for one in services],
            "endpoints": [plain(endpoint, complete=True) for endpoint in endpoints],
            "left_alone": [plain(scope, complete=True) for scope in self.cooling],
            "fallbacks": [
                {"from": way[0], "to": way[1], "reason": way[2], "requests": count}
                for way, count in self.ways()
            ],
            "events": [plain(event) for event in self.newest(EVENTS_SHOWN)],
        }

    def newest(self, count: int) -> list[pb.HealthEvent]:
        return list(self.recent)[: -count - 1 : -1]

    def _forget_before(self, moment: float) -> None:
        for kept in (self.attempts, self.fallbacks):
            while kept and kept[0].at < moment:
                kept.popleft()

    def _service(
        self, name: str, endpoints: Sequence[pb.Endpoint], fell_back: int, answers: Counter[str], now: float
    ) -> ServiceFigures:
        mine = [endpoint for endpoint in endpoints if endpoint.service == name]
        attempts = [attempt for attempt in self.attempts if attempt.service == name]
        waits = sorted(a.first_packet for a in attempts if a.first_packet is not None)
        return ServiceFigures(
            name=name,
            up=sum(map(in_rotation, mine)),
            at_limit=sum(map(at_its_limit, mine)),
            endpoints=len(mine),
            in_flight=sum(endpoint.in_flight for endpoint in mine),
            attempts=len(attempts),
            answers=answers[name],
            rate=answers[name] / min(WINDOW, max(1.0, now - (self.began or 0.0))),
            share=answers[name] / answers.total() if answers.total() else None,
            failed=sum(attempt.outcome not in ("success", "cancelled") for attempt in attempts),
            p50=quantile(waits, 0.50),
            p99=quantile(waits, 0.99),
            course=_course(attempts, now - WINDOW),
            fell_back=fell_back,
        )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Nearest rank; None where there is nothing to rank."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def event_row(event: pb.HealthEvent) -> list[Cell]:
    return [time_of_day(event.time), event.WhichOneof("event") or event.type, event_words(event)]


def availability(figures: ServiceFigures) -> Styled:
    all_up = figures.up == figures.endpoints and not figures.at_limit
    return Styled(f"{figures.up}/{figures.endpoints}", "good" if all_up else "warn" if figures.up else "bad")


def time_or_dash(seconds: float | None) -> str:
    return "-" if seconds is None else short_time(seconds)


def _service_row(figures: ServiceFigures) -> list[Cell]:
    return [
        figures.name,
        availability(figures),
        str(figures.in_flight),
        f"{figures.rate:.1f}",
        "-" if figures.share is None else f"{figures.share:.0%}",
        Styled(str(figures.failed), "bad") if figures.failed else "0",
        time_or_dash(figures.p50),
        time_or_dash(figures.p99),
        Styled(str(figures.fell_back), "warn") if figures.fell_back else "0",
    ]


def _attempt(finished: pb.AttemptFinished, at: float) -> Attempt:
    first = seconds_of(finished.first_packet) if finished.HasField("first_packet") else None
    return Attempt(at, finished.service, finished.outcome, first)


def _course(attempts: Iterable[Attempt], begin: float) -> list[float | None]:
    steps: list[list[float]] = [[] for _ in range(STEPS)]
    for attempt in attempts:
        if attempt.first_packet is not None:
            step = int((attempt.at - begin) / (WINDOW / STEPS))
            steps[min(max(step, 0), STEPS - 1)].append(attempt.first_packet)
    return [quantile(sorted(step), 0.5) for step in steps]
