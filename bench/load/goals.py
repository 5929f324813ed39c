"""The goals, as far as what was measured can tell.

In:      the figures of the sections.
Out:     lines: what, measured, wanted, met or missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bench.load.calls import STREAMED, total

Figures = dict[str, Any]


class Goal(NamedTuple):
    what: str
    measured: float
    most: float  # or the least, for `at_least`
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.measured >= self.most if self.at_least else self.measured <= self.most


def goals(figures: Figures) -> list[Goal]:
    parts: tuple[Callable[[Figures], Iterator[Goal]], ...] = (
        _cpu,
        _litellm,
        _calls,
        _startup,
        _memory,
        _late,
    )
    return [goal for part in parts for goal in part(figures)]


def _cpu(figures: Figures) -> Iterator[Goal]:
    for case, unit, haproxy, envoy in (("json64", "request", 1.4, 0.6), ("sse200", "chunk", 1.1, 0.7)):
        ratios = figures.get(case, {}).get("cpu_ratios", {})
        for name in ("sidecar", "sidecar-log", "sidecar-all"):
            for other, most in (("haproxy", haproxy), ("envoy", envoy)):
                if (pair := f"{name}/{other}") in ratios:
                    yield Goal(f"CPU a {unit}, {pair}", ratios[pair]["median"], most)


def _litellm(figures: Figures) -> Iterator[Goal]:
    for pair, ratio in figures.get("json64", {}).get("rate_ratios", {}).items():
        if not pair.startswith("sidecar-traced"):
            yield Goal(f"requests a second, {pair}", ratio["median"], 120, at_least=True)


def _calls(figures: Figures) -> Iterator[Goal]:
    for name, units in figures.get("calls", {}).items():
        if name == "sidecar":
            yield Goal("system calls a request", total(units["request"]), 4.5)
            unit = STREAMED if STREAMED in units else "chunk"
            yield Goal(f"system calls a {unit}", total(units[unit]), 2.5)


def _startup(figures: Figures) -> Iterator[Goal]:
    for name, most in (("sidecar-bare", 120), ("sidecar-all", 500)):
        if name in figures.get("startup", {}):
            yield Goal(f"start-up, ms, {name}", figures["startup"][name]["median"], most)


def _memory(figures: Figures) -> Iterator[Goal]:
    for name, most in (("sidecar-bare", 30), ("sidecar-all", 55)):
        if name in figures.get("standing", {}):
            yield Goal(f"memory idle, MiB, {name}", figures["standing"][name]["idle"]["resident"], most)


def _late(figures: Figures) -> Iterator[Goal]:
    for name, of in figures.get("late", {}).items():
        yield Goal(f"first-packet timer {name}: earliest, ms", of["given_up"]["min"], 0.0, at_least=True)
        yield Goal(f"first-packet timer {name}: p50, ms", of["given_up"]["p50"], 1.5)
        yield Goal(f"first-packet timer {name}: p99, ms", of["given_up"]["p99"], 6.0)


def show(found: list[Goal]) -> str:
    lines = ["goals"]
    for goal in found:
        bound = f"{'>=' if goal.at_least else '<='} {goal.most:g}"
        lines.append(f"  {goal.what:46}{goal.measured:9.2f}   {bound:9}{'met' if goal.met else 'MISSED'}")
    return "\n".join(lines)
