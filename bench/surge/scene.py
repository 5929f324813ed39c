"""Plays one surge: two simulated services, daemons before them, a load, and notes of all that happens.

In:      a Case.
Out:     Notes: every request with its record, and a Sample a second.
Units:   seconds since the load began.
Needs:   one core: everything runs in one loop on loopback, at some 22 requests a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic

from sidecar.daemon import Daemon
from sidecar.demo.app import Answer, ask
from sidecar.demo.config import FALLBACK, FALLBACK_GPU, PRIMARY
from sidecar.demo.gpu import Died, Event, Gpu, GpuSpec, Serving
from sidecar.demo.llm import Opening, SimulatedLlm
from sidecar.failure import FailureKind
from sidecar.policy import load
from sidecar.record import RequestRecord

CALM, SURGE, AFTER = 10.0, 40.0, 60.0
CALM_LOAD, SURGE_LOAD = 0.5, 4.0  # of the primary's capacity

CONFIG = """\
listen: ["unix:{folder}/llm.sock"]
admin: {{enabled: false}}
ops: {{enabled: false}}
drain_timeout: 1s
policy:
  services:
    - name: {primary}
      url: {primary_url}
      timeouts: {{connect: 1s, first_packet: 200ms}}
      passive_health: {passive}
      adaptive_concurrency: {{enabled: {adaptive}}}
    - {{name: {fallback}, url: "{fallback_url}"}}
  routes:
    - services: [{primary}, {fallback}]
"""
REFERENCE = "{base_ejection_time: 30s}"
PROBED = "{base_ejection_time: 1s, max_ejection_time: 1s, ramp: 3s}"


@dataclass(frozen=True, slots=True)
class Case:
    """What is varied."""

    sidecars: int = 1
    cancels: bool = True
    opening: Opening = Opening.HEAD
    adaptive: bool = True
    killed: bool = False
    seed: int = 1

    @property
    def length(self) -> float:
        return CALM + SURGE + AFTER * (1 + self.killed)


@dataclass(slots=True)
class Asked:
    """One request of the app."""

    at: float
    tokens: int
    answer: Answer | None = None
    ended_at: float = 0.0

    @property
    def by_primary(self) -> bool:
        return self.answer is not None and self.answer.service == PRIMARY


@dataclass(frozen=True, slots=True)
class Sample:
    """The primary at a moment, and what the sidecars think it can bear, together."""

    at: float
    in_flight: int
    memory: float
    limit: float | None


@dataclass(slots=True)
class Notes:
    spec: GpuSpec
    asked: list[Asked] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # when attempts at the primary began that were late
    samples: list[Sample] = field(default_factory=list)
    died: list[float] = field(default_factory=list)
    returned: list[float] = field(default_factory=list)
    ejected: list[float] = field(default_factory=list)


class Scene:
    """Hears of everything while it runs."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.spec = GpuSpec(cancels=case.cancels)
        self.notes = Notes(self.spec)
        self.rng = Random(case.seed)
        self.daemons: list[Daemon] = []
        self._began = monotonic()

    @property
    def now(self) -> float:
        return monotonic() - self._began

    # What it hears.

    def request_finished(self, record: RequestRecord) -> None:
        for attempt in record.attempts:
            late = attempt.failure is not None and attempt.failure.kind is FailureKind.FIRST_PACKET_TIMEOUT
            if attempt.service == PRIMARY and (attempt.late or late):
                self.notes.late.append(attempt.started_at - self._began)

    def change(self, fields: dict[str, object]) -> None:
        if fields["event"] == "endpoint_ejected":
            self.notes.ejected.append(self.now)

    def gpu(self, event: Event) -> None:
        if isinstance(event, Died):
            self.notes.died.append(self.now)
        elif isinstance(event, Serving):
            self.notes.returned.append(self.now)

    # What it does.

    async def play(self) -> Notes:
        async with AsyncExitStack() as stack:
            primary = await stack.enter_async_context(
                SimulatedLlm(PRIMARY, self.spec, opening=self.case.opening, told=self.gpu)
            )
            fallback = await stack.enter_async_context(SimulatedLlm(FALLBACK, FALLBACK_GPU))
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="surge-")))
            for number in range(self.case.sidecars):
                at = folder / str(number)
                at.mkdir()
                self.daemons.append(
                    await stack.enter_async_context(self._daemon(at, primary.url, fallback.url))
                )
            self._began = monotonic()
            watch = asyncio.ensure_future(self._watch(primary.gpu))
            await self._load(primary)
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        return self.notes

    @asynccontextmanager
    async def _daemon(self, folder: Path, primary_url: str, fallback_url: str) -> AsyncIterator[Daemon]:
        text = CONFIG.format(
            folder=folder,
            primary=PRIMARY,
            fallback=FALLBACK,
            primary_url=primary_url,
            fallback_url=fallback_url,
            adaptive=str(self.case.adaptive).lower(),
            passive=PROBED if self.case.killed else REFERENCE,
        )
        loaded = load(text.encode())
        assert not loaded.problems, loaded.problems
        daemon = Daemon(loaded.config, log_fd=None, listeners=[self.change], sinks=[self.request_finished])
        await daemon.start()
        try:
            yield daemon
        finally:
            daemon.request_stop()
            await daemon.run_until_stopped()

    async def _load(self, primary: SimulatedLlm) -> None:
        """Every request at its moment, however many are still waiting for their answers."""
        async with asyncio.TaskGroup() as requests:
            killed = not self.case.killed
            for at in self._arrivals():
                await asyncio.sleep(max(0.0, at - self.now))
                if not killed and at >= CALM + SURGE / 2:
                    killed = True
                    primary.kill()
                requests.create_task(self._ask())

    def _arrivals(self) -> list[float]:
        moments, at = list[float](), 0.0
        after = self.case.length - CALM - SURGE
        for length, share in ((CALM, CALM_LOAD), (SURGE, SURGE_LOAD), (after, CALM_LOAD)):
            ends = at + length
            while (at := at + self.rng.expovariate(share * self.spec.capacity)) < ends:
                moments.append(at)
            at = ends
        return moments

    async def _ask(self) -> None:
        usual = self.spec.usual_tokens
        asked = Asked(self.now, self.rng.randint(usual // 2, usual * 3 // 2))
        self.notes.asked.append(asked)
        asked.answer = await ask(self.rng.choice(self.daemons).listen[0], asked.tokens)
        asked.ended_at = self.now

    async def _watch(self, gpu: Gpu) -> None:
        while True:
            limits = [self._limit(daemon) for daemon in self.daemons]
            limit = sum(limits) if self.case.adaptive else None
            self.notes.samples.append(Sample(self.now, gpu.in_flight, gpu.memory, limit))
            await asyncio.sleep(0.25)

    @staticmethod
    def _limit(daemon: Daemon) -> float:
        statuses = daemon._statuses()  # what /api and the admin API show, without their sockets
        return sum(s.concurrency_limit or 0.0 for s in statuses if s.service == PRIMARY)
