"""A load over time: phases, each with a rate, repeated for as long as somebody looks.

Units:   seconds since the load began; requests a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
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


def load(
    first: LoadPhase, repeated: Sequence[LoadPhase], rng: Random, end: float
) -> Iterator[Began | Arrival]:
    """Everything that happens before `end`, in order. Arrivals are independent of each other, as those of many
    users are, and of what becomes of them: an overloaded server gets no pity."""
    assert any(phase.length > 0 for phase in repeated), "a schedule that stands still"
    begins = 0.0
    for phase in chain((first,), cycle(repeated)):
        ends = min(begins + phase.length, end)
        if begins < ends:
            yield Began(begins, phase)
        at = begins
        while phase.rate > 0 and (at := at + rng.expovariate(phase.rate)) < ends:
            yield Arrival(at)
        if ends == end:
            return
        begins = ends
