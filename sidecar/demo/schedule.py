"""A load over time: named phases, each with a rate, repeated for as long as somebody looks.

Units:   seconds since the load began; requests a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class LoadPhase:
    name: str
    length: float
    rate: float
    why: str = ""  # what there is to see


class Began(NamedTuple):
    """A phase begins."""

    at: float
    phase: LoadPhase


class Arrival(NamedTuple):
    """A request comes."""

    at: float


def load(phases: Sequence[LoadPhase], rng: Random, end: float) -> Iterator[Began | Arrival]:
    """Everything that happens before `end`, in order. Arrivals are independent of each other, as those of many
    users are, and of what becomes of them: an overloaded server gets no pity."""
    begins = 0.0
    for phase in cycle(phases):
        if begins >= end:
            return
        yield Began(begins, phase)
        ends = begins + phase.length
        at = begins
        while phase.rate > 0 and (at := at + rng.expovariate(phase.rate)) < min(ends, end):
            yield Arrival(at)
        begins = ends
