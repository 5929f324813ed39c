"""Plays one surge: two simulated services, a contender before them, a load, and notes of all that happens.

In:      a Case.
Out:     Notes: every request with its answer, and a Sample four times a second.
Needs:   a tenth of a core: some 22 requests a second in one loop, on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic

import uvloop

from bench.surge.case import CALM, CALM_LOAD, SURGE, SURGE_LOAD, Asked, Case, Notes, Sample
from bench.surge.contenders import Services, Standing, contender
from sidecar.demo.app import ask
from sidecar.demo.config import FALLBACK, FALLBACK_GPU, PRIMARY
from sidecar.demo.gpu import Died, Event, Gpu, GpuSpec, Serving
from sidecar.demo.llm import SimulatedLlm
from tests.itest.peers.install import PeerMissing

SAMPLE = 0.25


def play(case: Case) -> Notes:
    """From beginning to end, in a loop of its own; a contender that is not there is a note, too."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        scene = Scene(case)
        try:
            runner.run(scene.play())
        except PeerMissing as missing:
            scene.notes.missing = str(missing)
        return scene.notes


class Scene:
    """Hears of everything while it runs."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.spec = GpuSpec(cancels=case.cancels)
        self.notes = Notes(self.spec)
        self.rng = Random(case.seed)
        self._began = monotonic()

    @property
    def now(self) -> float:
        return monotonic() - self._began

    # What it hears.

    def ejected(self) -> None:
        self.notes.ejected.append(self.now)

    def gpu(self, event: Event) -> None:
        if isinstance(event, Died):
            self.notes.died.append(self.now)
        elif isinstance(event, Serving):
            self.notes.returned.append(self.now)

    # What it does.

    async def play(self) -> None:
        async with AsyncExitStack() as stack:
            primary = await stack.enter_async_context(
                SimulatedLlm(PRIMARY, self.spec, opening=self.case.opening, told=self.gpu)
            )
            fallback = await stack.enter_async_context(SimulatedLlm(FALLBACK, FALLBACK_GPU))
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="surge-")))
            services = Services(primary.address, fallback.address)
            standing = await stack.enter_async_context(contender(self.case, folder, services, self.ejected))
            self._began = monotonic()
            async with self._watched(primary.gpu, standing):
                await self._load(primary, standing)

    async def _load(self, primary: SimulatedLlm, standing: Standing) -> None:
        """Every request at its moment, however many are still waiting for their answers."""
        async with asyncio.TaskGroup() as requests:
            if self.case.killed:
                requests.create_task(self._kill(primary))
            for at in self._arrivals():
                await asyncio.sleep(max(0.0, at - self.now))
                requests.create_task(self._ask(standing))

    async def _kill(self, primary: SimulatedLlm) -> None:
        await asyncio.sleep(CALM + SURGE / 2 - self.now)
        primary.kill()

    def _arrivals(self) -> list[float]:
        moments, at = list[float](), 0.0
        after = self.case.length - CALM - SURGE
        for length, share in ((CALM, CALM_LOAD), (SURGE, SURGE_LOAD), (after, CALM_LOAD)):
            ends = at + length
            while (at := at + self.rng.expovariate(share * self.spec.capacity)) < ends:
                moments.append(at)
            at = ends
        return moments

    async def _ask(self, standing: Standing) -> None:
        usual = self.spec.usual_tokens
        asked = Asked(self.now, self.rng.randint(usual // 2, usual * 3 // 2))
        self.notes.asked.append(asked)
        asked.answer = await ask(self.rng.choice(standing.listen), asked.tokens)
        asked.ended_at = self.now
        if asked.answer.status == 200:
            asked.service = asked.answer.service or standing.unnamed

    @asynccontextmanager
    async def _watched(self, gpu: Gpu, standing: Standing) -> AsyncIterator[None]:
        watch = asyncio.ensure_future(self._watch(gpu, standing))
        try:
            yield
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self, gpu: Gpu, standing: Standing) -> None:
        while True:
            self.notes.samples.append(Sample(self.now, gpu.in_flight, gpu.memory, standing.limit()))
            await asyncio.sleep(SAMPLE)
