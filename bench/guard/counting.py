"""Counts what Python does while a scene is played.

bytecodes  instructions of Python code
calls      of Python functions
c_calls    of functions written in C
peak       bytes allocated at most at one time, beyond what was there before
held       bytes that something in flight keeps
left       bytes kept by each of many exchanges that are over: a leak, or nothing

Rule:    the median of several plays: a dictionary that happens to grow, or a second that happens to end, costs once.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from statistics import median
from types import CodeType, FrameType
from typing import Any

from bench.guard.scenes import LOGGED, SCENES, Scene, daemon

PLAYS, MANY = 25, 400
TRACED = ("bytecodes", "calls", "c_calls")  # of a daemon that logs: lines that wait would be taken for a leak
Figures = dict[str, float]


class Trace:
    """Bytecodes and calls by function."""

    def __init__(self) -> None:
        self.bytecodes: Counter[CodeType] = Counter()
        self.calls = 0
        self.c_calls = 0

    def of(self, play: Callable[[], None]) -> None:
        before = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profiled)
        sys.settrace(self._called)
        try:
            play()
        finally:
            sys.settrace(before[0])
            sys.setprofile(before[1])
        self.c_calls -= 1  # the settrace behind it

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.calls += 1
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._inside

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.bytecodes[frame.f_code] += 1
        return self._inside

    def _profiled(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            self.c_calls += 1


async def count_all() -> dict[str, Figures]:
    """Every scene, by name."""
    found: dict[str, Figures] = {}
    async with daemon(log=False) as quiet:
        for name, scene in SCENES.items():
            found[name] = await count(scene(quiet))
    async with daemon(log=True) as telling:
        for name, scene in LOGGED.items():
            figures = await count(scene(telling))
            found[name] = {figure: value for figure, value in figures.items() if figure in TRACED}
    return found


async def count(scene: Scene) -> Figures:
    warm(scene)
    figures = _traced(scene)
    await asyncio.sleep(0)
    return {**figures, **await _weighed(scene)}


def where(scene: Scene) -> list[tuple[str, int]]:
    """Functions by the bytecodes of one play, most first."""
    warm(scene)
    trace = _trace(scene)
    return [(f"{_module(code)}.{code.co_qualname}", n) for code, n in trace.bytecodes.most_common()]


def _module(code: CodeType) -> str:
    path = code.co_filename.removesuffix(".py").split("/")
    return ".".join(path[path.index("sidecar") :]) if "sidecar" in path else path[-1]


def warm(scene: Scene, times: int = PLAYS) -> None:
    for _ in range(times):
        scene.begin()
        scene.hold()
        scene.finish()
        scene.end()


def _trace(scene: Scene) -> Trace:
    trace = Trace()
    scene.begin()
    trace.of(scene.hold)
    trace.of(scene.finish)
    scene.end()
    return trace


def _traced(scene: Scene) -> Figures:
    traces = [_trace(scene) for _ in range(PLAYS)]
    return {
        "bytecodes": median(trace.bytecodes.total() for trace in traces),
        "calls": median(trace.calls for trace in traces),
        "c_calls": median(trace.c_calls for trace in traces),
    }


async def _weighed(scene: Scene) -> Figures:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        weights = [_weigh(scene) for _ in range(PLAYS)]
        left = await _left(scene)
    finally:
        tracemalloc.stop()
        gc.enable()
    figures: Figures = {"peak": median(peak for _, peak in weights)}
    if scene.holds:
        figures |= {"held": median(held for held, _ in weights), "left": left}
    return figures


def _weigh(scene: Scene) -> tuple[int, int]:
    """Bytes after hold(), bytes at most."""
    scene.begin()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    scene.hold()
    held = tracemalloc.get_traced_memory()[0] - before
    scene.finish()
    peak = tracemalloc.get_traced_memory()[1] - before
    scene.end()
    return held, peak


async def _left(scene: Scene) -> float:
    await _play_on(scene, PLAYS)
    before = tracemalloc.get_traced_memory()[0]
    await _play_on(scene, MANY)
    return max(0.0, round((tracemalloc.get_traced_memory()[0] - before) / MANY, 1))


async def _play_on(scene: Scene, times: int) -> None:
    """As in life, the loop has its turn between: what it has to close (timers) is closed."""
    for _ in range(times):
        warm(scene, 1)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
