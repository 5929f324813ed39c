"""A GPU behind an LLM server, as a model: slots, a queue, memory, death by overload, a slow restart.

In:      jobs (an id never used before, a number of tokens) as they come and are hung up on, with `now`.
Out:     Token, Died, Loading, Serving in the order they happen, and the moment of the next (`next_deadline`).
Units:   seconds, monotonic or invented; memory is a share, 0.0..1.0.
Model:   continuous batching. All jobs in slots advance at one speed, which falls as slots fill: so one virtual
         clock serves them all, and a job's tokens are due at moments of it that are fixed when it gets its slot.
         What finds no free slot queues, and its first token waits with it.
Death:   the weights hold a share of the memory, each job in flight, queued or not, an equal part of the rest.
         The job that fills it kills the server: all jobs are lost, nothing listens for `down` seconds, then
         the weights are loaded for `loading` seconds.
Errors:  AssertionError for a job that is submitted while the server does not serve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple


class Phase(StrEnum):
    SERVING = "serving"
    DOWN = "down"
    LOADING = "loading"


class Token(NamedTuple):
    """A token of a job, numbered from 1."""

    job: int
    number: int
    last: bool


class Died(NamedTuple):
    """Out of memory; `lost` were in flight."""

    lost: tuple[int, ...]
    loading_at: float
    serving_at: float


class Loading(NamedTuple):
    """It listens again, and can do nothing yet."""

    serving_at: float


class Serving(NamedTuple):
    """It is back."""


Event = Token | Died | Loading | Serving


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """The defaults are a 7B model on 24 GB, with the figures of the surge experiment."""

    slots: int = 10
    capacity: float = 5.4  # usual answers a second when every slot is busy
    usual_tokens: int = 24
    prefill: float = 0.06  # until the first token of a job that is alone
    slowdown: float = 1.0  # with every slot busy a token takes (1 + slowdown) times as long as alone
    limit: int = 86  # so many in flight kill it
    weights: float = 0.6  # half precision: 14 GB
    down: float = 20.0
    loading: float = 40.0
    cancels: bool = True  # stops computing when the caller goes

    @property
    def token_gap(self) -> float:
        """Between two tokens of a job that is alone; follows from the capacity."""
        alone = self.slots / (self.capacity * (1.0 + self.slowdown))
        return (alone - self.prefill) / max(1, self.usual_tokens - 1)

    def speed(self, busy: int) -> float:
        """Of each job while `busy` slots are: 1.0 alone."""
        return 1.0 / (1.0 + self.slowdown * max(0, busy - 1) / max(1, self.slots - 1))


class Gpu:
    """One server, from its first moment to the last deadline asked for."""

    def __init__(self, spec: GpuSpec, now: float) -> None:
        assert spec.token_gap > 0, "prefill alone takes longer than the capacity allows"
        self.spec = spec
        self.phase = Phase.SERVING
        self.finished = 0  # jobs
        self.deaths = 0
        self.most_in_flight = 0
        self.slot_seconds = 0.0  # of computing; divided by slots and time: how busy it was
        self._until = math.inf  # end of the phase
        self._queue: dict[int, int] = {}  # job -> tokens, oldest first
        self._busy: dict[int, int] = {}  # the same, in slots
        self._due: list[tuple[float, int, int]] = []  # virtual moment, job, its next token
        self._virtual = 0.0
        self._at = now  # the moment that _virtual belongs to

    @property
    def in_flight(self) -> int:
        return len(self._queue) + len(self._busy)

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def memory(self) -> float:
        """The share in use."""
        if self.phase is Phase.DOWN:
            return 0.0
        weights = self.spec.weights
        return weights + (1.0 - weights) * self.in_flight / self.spec.limit

    def submit(self, job: int, tokens: int, now: float) -> list[Event]:
        """A job comes; it may be the one too many."""
        assert self.phase is Phase.SERVING, f"job {job} submitted while {self.phase}"
        assert tokens > 0, f"job {job} asks for no token"
        events = self.advance(now)
        self._queue[job] = tokens
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.in_flight >= self.spec.limit:
            return [*events, self._die(now)]
        self._fill_slots()
        return events

    def hang_up(self, job: int, now: float) -> list[Event]:
        """The caller is gone. A server that does not cancel computes on and goes on telling its tokens."""
        events = self.advance(now)
        if self.spec.cancels:
            self._queue.pop(job, None)
            self._busy.pop(job, None)
            self._fill_slots()
        return events

    def kill(self, now: float) -> list[Event]:
        """Somebody ends it; one that does not serve is not there to be killed."""
        events = self.advance(now)
        return [*events, self._die(now)] if self.phase is Phase.SERVING else events

    def next_deadline(self) -> float | None:
        """When `advance` has something to tell; None: not before another job comes."""
        if self.phase is not Phase.SERVING:
            return self._until
        while self._due and self._due[0][1] not in self._busy:  # hung up on
            heappop(self._due)
        if not self._due:
            return None
        return self._at + max(0.0, self._due[0][0] - self._virtual) / self.spec.speed(len(self._busy))

    def advance(self, now: float) -> list[Event]:
        """Everything that has happened until now."""
        events: list[Event] = []
        while (due := self.next_deadline()) is not None and due <= now:
            self._roll(due)
            events.append(self._next_token() if self.phase is Phase.SERVING else self._next_phase())
        self._roll(now)
        return events

    def _roll(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._virtual += passed * self.spec.speed(len(self._busy))
        self.slot_seconds += passed * len(self._busy)
        self._at += passed

    def _fill_slots(self) -> None:
        while self._queue and len(self._busy) < self.spec.slots:
            job = next(iter(self._queue))
            self._busy[job] = self._queue.pop(job)
            heappush(self._due, (self._virtual + self.spec.prefill, job, 1))

    def _next_token(self) -> Token:
        moment, job, number = heappop(self._due)
        last = number == self._busy[job]
        if last:
            del self._busy[job]
            self.finished += 1
            self._fill_slots()
        else:
            heappush(self._due, (moment + self.spec.token_gap, job, number + 1))
        return Token(job, number, last)

    def _next_phase(self) -> Loading | Serving:
        if self.phase is Phase.DOWN:
            self.phase = Phase.LOADING
            self._until += self.spec.loading
            return Loading(self._until)
        self.phase, self._until = Phase.SERVING, math.inf
        return Serving()

    def _die(self, now: float) -> Died:
        lost = (*self._busy, *self._queue)
        self._busy.clear()
        self._queue.clear()
        self._due.clear()
        self.deaths += 1
        self.phase, self._until = Phase.DOWN, now + self.spec.down
        return Died(lost, self._until, self._until + self.spec.loading)
