"""The event hub: numbers every event, keeps the newest ones, and lets any number of watchers read them.

In:      health events, finished requests and attempts, accepted and refused policies; all on the loop.
Out:     watch(): a snapshot, then every event in order.
Numbers: each event has the number of the one before plus one. A process starts counting at its wall time in
         microseconds, so numbers go on growing over a restart (unless more than a million events a second
         came), and a client that resumes with a number of an earlier process is told that it missed some.
Resume:  with a number that is still held: what came after it, without a snapshot. With one that is not: a
         `gap` with the numbers that are gone, what is held, and a snapshot once that is told. With one from
         the future (the wall clock went back over a restart): a snapshot, as for a newcomer.
Slow:    a watcher is a cursor into a ring, not a queue: it costs the publisher nothing and no memory. One
         that is overrun gets the same gap and snapshot.
Attempts: they live in a second ring, filled only while somebody asks for it, so that it neither
         drives health events out nor makes holes in the numbers of others. Such an event bears the number of
         the newest event before it and cannot be resumed; what a slow reader lost is counted in a `gap`.
Limits:  4096 events, 4096 attempts; messages are made when a watcher first asks for them, and shared. What makes them
         (convert, with its part of protobuf) is imported then, and not at all where the admin API is off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from sidecar.admin.facts import (
    Clock,
    Fact,
    FellBack,
    Installed,
    Moment,
    Rejected,
    attempt_ended,
    services_of,
)
from sidecar.health.events import HealthEvent, ScopeCooled
from sidecar.health.status import EndpointStatus
from sidecar.policy.problems import Problem
from sidecar.record import AttemptRecord, Attempts, RequestRecord

if TYPE_CHECKING:
    from llmsidecar.v1 import health_pb2 as pb

CAPACITY = 4096
BATCH = 64  # what a watcher takes out of the ring at once, and so all that is held for a slow one


class Entry:
    """One published fact; its message is made once, for the first watcher that wants it."""

    __slots__ = ("_message", "fact", "moment", "sequence")

    def __init__(self, sequence: int, moment: Moment, fact: Fact) -> None:
        self.sequence = sequence
        self.moment = moment
        self.fact = fact
        self._message: pb.HealthEvent | None = None

    def message(self) -> pb.HealthEvent:
        if self._message is None:
            from sidecar.admin.convert import event_message

            self._message = event_message(self.sequence, self.moment, self.fact)
        return self._message

    def concerns(self, services: Collection[str]) -> bool:
        if not services:
            return True
        about = services_of(self.fact)
        return not about or any(service in services for service in about)


class Ring:
    """The newest entries by position; positions count on from `start` and never come back."""

    __slots__ = ("_capacity", "_entries", "newest", "start")

    def __init__(self, capacity: int, start: int = 0) -> None:
        self._capacity = capacity
        self._entries: list[Entry] = []
        self.start = start
        self.newest = start  # position of the last entry; `start` while there is none

    @property
    def forgotten(self) -> int:
        """The last position that is no longer held; a cursor before it has missed something."""
        return self.newest - len(self._entries)

    def append(self, entry: Entry) -> None:
        if len(self._entries) < self._capacity:
            self._entries.append(entry)
        else:
            self._entries[(self.newest - self.start) % self._capacity] = entry
        self.newest += 1

    def after(self, cursor: int, limit: int) -> list[Entry]:
        """Up to `limit` entries behind the cursor, which must not be before what is held."""
        assert self.forgotten <= cursor <= self.newest, f"no cursor of this ring: {cursor}"
        begin = (cursor - self.start) % self._capacity
        count = min(limit, self.newest - cursor)
        head = self._entries[begin : begin + count]
        return head + list(islice(self._entries, count - len(head)))


class EventHub:
    """Where events are published and watched.

    `statuses`: how endpoints stand; `cooling`: which scopes cool; `policy_told` also hears of each policy."""

    def __init__(
        self,
        statuses: Callable[[float], Sequence[EndpointStatus]],
        clock: Clock | None = None,
        capacity: int = CAPACITY,
        cooling: Callable[[], Sequence[ScopeCooled]] = tuple,
        policy_told: Callable[[Installed | Rejected], None] = lambda fact: None,
    ) -> None:
        self._statuses = statuses
        self._policy_told = policy_told
        self._cooling = cooling
        self._clock = clock or Clock()
        self._events = Ring(capacity, start=self._clock.now().wall // 1000)
        self._attempts = Ring(capacity)
        self.attempts = Attempts(self._attempt_finished)
        self._news = asyncio.Event()
        self._generation = 0
        self._closed = False
        self.watchers = 0
        self.missed = 0  # events and attempts that watchers were told they had missed
        self.rejections = {"file": 0, "api": 0, "state": 0}  # policies, by where they came from

    @property
    def sequence(self) -> int:
        """The number of the newest event."""
        return self._events.newest

    def publish_health(self, events: Sequence[HealthEvent]) -> None:
        for event in events:
            self._publish(event)

    def request_finished(self, record: RequestRecord) -> None:
        for attempt in record.attempts:
            if attempt.fallback_from is not None and attempt.fell_back(record):
                self._publish(
                    FellBack(
                        attempt.fallback_from,
                        attempt.service,
                        attempt.reason or "",
                        record.request_id,
                        record.trace_id,
                    )
                )

    def _attempt_finished(self, request: RequestRecord, attempt: AttemptRecord) -> None:
        fact = attempt_ended(request, attempt)
        self._attempts.append(Entry(self._events.newest, self._clock.now(), fact))
        self._news.set()

    def policy_applied(self, generation: int, source: str, comment: str) -> None:
        self._generation = generation
        self._tell_policy(Installed(generation, source, comment))

    def policy_rejected(self, source: str, problems: Sequence[Problem]) -> None:
        self.rejections[source] = self.rejections.get(source, 0) + 1
        self._tell_policy(Rejected(source, tuple(problems)))

    def endpoints(self) -> list[pb.Endpoint]:
        """How every endpoint stands now."""
        from sidecar.admin.convert import endpoint_message

        moment = self._clock.now()
        return [endpoint_message(status, moment) for status in self._statuses(moment.mono)]

    def cooling(self) -> list[pb.ScopeCooled]:
        """What is left alone now."""
        from sidecar.admin.convert import cooled_message

        moment = self._clock.now()
        return [cooled_message(scope, moment) for scope in self._cooling()]

    def close(self) -> None:
        """Ends every watch, now and later."""
        self._closed = True
        self._news.set()

    async def watch(
        self, after_sequence: int = 0, services: Collection[str] = (), *, include_attempts: bool = False
    ) -> AsyncGenerator[pb.HealthEvent, None]:
        """Yields messages that are shared with other watchers: read them, do not change them."""
        watch = _Watch(self, after_sequence, frozenset(services), include_attempts=include_attempts)
        self.watchers += 1
        self.attempts.wanted += include_attempts
        try:
            while not self._closed:
                for message in watch.take():
                    yield message
                if watch.is_up_to_date() and not self._closed:
                    self._news.clear()
                    await self._news.wait()
        finally:
            self.watchers -= 1
            self.attempts.wanted -= include_attempts

    def snapshot(self, services: Collection[str]) -> pb.HealthEvent:
        from sidecar.admin.convert import snapshot_message

        endpoints = [e for e in self.endpoints() if not services or e.service in services]
        cooling = [scope for scope in self._cooling() if not services or scope.service in services]
        return snapshot_message(self._clock.now(), self.sequence, endpoints, cooling, self._generation)

    def _tell_policy(self, fact: Installed | Rejected) -> None:
        self._publish(fact)
        self._policy_told(fact)

    def _publish(self, fact: Fact) -> None:
        self._events.append(Entry(self._events.newest + 1, self._clock.now(), fact))
        self._news.set()


class _Watch:
    """One watcher's place in both rings."""

    def __init__(
        self, hub: EventHub, after_sequence: int, services: frozenset[str], *, include_attempts: bool
    ) -> None:
        self._hub = hub
        self._services = services
        self._include_attempts = include_attempts
        self._attempt = hub._attempts.newest
        self._owes_snapshot = not 0 < after_sequence <= hub._events.newest
        self._cursor = hub._events.newest if self._owes_snapshot else after_sequence

    def is_up_to_date(self) -> bool:
        hub = self._hub
        attempts_read = not self._include_attempts or self._attempt == hub._attempts.newest
        return attempts_read and self._cursor == hub._events.newest and not self._owes_snapshot

    def take(self) -> list[pb.HealthEvent]:
        """The next few messages; a snapshot only when nothing older is left to tell."""
        taken = self._gaps()
        entries = self._next_with_attempts() if self._include_attempts else self._next(BATCH)
        taken += [entry.message() for entry in entries if entry.concerns(self._services)]
        if self._owes_snapshot and self._cursor == self._hub._events.newest:
            self._owes_snapshot = False
            taken.append(self._hub.snapshot(self._services))
        return taken

    def _gaps(self) -> list[pb.HealthEvent]:
        from sidecar.admin.convert import gap_message

        gaps, moment = [], self._hub._clock.now()
        if self._cursor < (forgotten := self._hub._events.forgotten):
            gaps.append(gap_message(moment, forgotten, first=self._cursor + 1, last=forgotten))
            self._hub.missed += forgotten - max(self._cursor, self._hub._events.start)
            self._cursor, self._owes_snapshot = forgotten, True
        if self._include_attempts and self._attempt < (forgotten := self._hub._attempts.forgotten):
            gaps.append(gap_message(moment, self._cursor, attempts=forgotten - self._attempt))
            self._hub.missed += forgotten - self._attempt
            self._attempt = forgotten
        return gaps

    def _next(self, limit: int) -> list[Entry]:
        entries = self._hub._events.after(self._cursor, min(limit, BATCH))
        self._cursor += len(entries)
        return entries

    def _next_with_attempts(self) -> list[Entry]:
        """Each attempt right behind the event whose number it bears, so neither kind may run ahead."""
        attempts = self._hub._attempts.after(self._attempt, BATCH)
        horizon = attempts[-1].sequence if len(attempts) == BATCH else self._hub._events.newest
        entries = self._next(max(0, horizon - self._cursor))
        due = [attempt for attempt in attempts if attempt.sequence <= self._cursor]
        self._attempt += len(due)
        return sorted(entries + due, key=lambda entry: entry.sequence)
