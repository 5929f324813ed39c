"""Invented time: callbacks in the order of their moments, and a GPU server that lives in it.

Units:   seconds since the world began.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from sidecar.demo.gpu import Died, Event, Gpu, GpuSpec, Loading, Phase, Serving, Token


class World:
    """A heap of what will happen. `now` is the moment of what happens at present."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, moment: float, act: Callable[[], None]) -> None:
        heappush(self._heap, (max(moment, self.now), next(self._numbers), act))

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._heap:
            self.now, _, act = heappop(self._heap)
            act()


class Caller(Protocol):
    """Whoever has a job on the server."""

    def token(self, token: Token) -> None: ...

    def lost(self) -> None: ...


class Server:
    """The model of a GPU with callers that hear of their jobs."""

    def __init__(self, world: World, spec: GpuSpec) -> None:
        self.gpu = Gpu(spec, world.now)
        self.returns: list[float] = []  # moments at which it served again
        self._world = world
        self._jobs: dict[int, Caller] = {}
        self._numbers = count()
        self._wake = -1.0

    @property
    def phase(self) -> Phase:
        self._hear(self.gpu.advance(self._world.now))
        return self.gpu.phase

    def submit(self, caller: Caller, tokens: int) -> int:
        job = next(self._numbers)
        self._jobs[job] = caller
        self._hear(self.gpu.submit(job, tokens, self._world.now))
        return job

    def hang_up(self, job: int) -> None:
        del self._jobs[job]
        self._hear(self.gpu.hang_up(job, self._world.now))

    def kill(self) -> None:
        self._hear(self.gpu.kill(self._world.now))

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Token(job=number, last=last):
                    caller = self._jobs.pop(number, None) if last else self._jobs.get(number)
                    if caller is not None:
                        caller.token(event)
                case Died(lost=lost):
                    for caller in [self._jobs.pop(number) for number in lost if number in self._jobs]:
                        self._world.at(self._world.now, caller.lost)
                case Serving():
                    self.returns.append(self._world.now)
                case Loading():
                    pass
        self._arm()

    def _arm(self) -> None:
        due = self.gpu.next_deadline()
        if due is not None and due != self._wake:
            self._wake = due
            self._world.at(due, lambda: self._due(due))

    def _due(self, due: float) -> None:
        if due == self._wake:  # else another one has been armed meanwhile
            self._wake = -1.0
            self._hear(self.gpu.advance(due))
