"""The figures of a surge, from the notes that were taken; all of them as the apps saw it.

Units:   seconds, shares 0.0..1.0; NaN where there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import NamedTuple

from bench.surge.case import CALM, SURGE, Asked, Case, Notes
from sidecar.demo.config import FIRST_PACKET

SERVED_AGAIN, LOOK = 0.9, 5.0


class Figures(NamedTuple):
    """In the order in which they are shown."""

    success: float  # whole answers, every one of them read to its end and checked
    broken: int  # status 200, and then garbled, empty or cut
    crashes: int  # by overload
    first_packet_p99: float  # of the surge's requests that got one
    late: float  # surge requests without a first packet in time: rescued, late or lost
    used: float  # of the primary's capacity in the surge, by whole answers
    back_after: float  # until the primary serves 90 % again: after the surge, or after its restart
    first_ejection: float  # since the surge began


def figures(case: Case, notes: Notes) -> Figures:
    surge = [asked for asked in notes.asked if _surging(asked.at)]
    tokens = sum(one.tokens for one in notes.asked if one.whole and one.by_primary and _surging(one.ended_at))
    capacity = notes.spec.capacity * notes.spec.usual_tokens * SURGE
    back_from = notes.returned[-1] if case.killed and notes.returned else CALM + SURGE
    ejected = [at for at in notes.ejected if at >= CALM]
    return Figures(
        success=_share(one.whole for one in notes.asked),
        broken=sum(one.broken for one in notes.asked),
        crashes=len(notes.died) - case.killed,
        first_packet_p99=quantile(first_packets(surge), 0.99),
        late=_share(one.first_packet is None or one.first_packet > FIRST_PACKET for one in surge),
        used=tokens / capacity,
        back_after=_back_after(notes.asked, back_from),
        first_ejection=min(ejected) - CALM if ejected else nan,
    )


def first_packets(asked: Sequence[Asked]) -> list[float]:
    return [one.first_packet for one in asked if one.first_packet is not None]


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else nan


def _share(claims: Iterable[bool]) -> float:
    known = list(claims)
    return sum(known) / len(known)


def _surging(at: float) -> bool:
    return CALM <= at < CALM + SURGE


def _back_after(asked: Sequence[Asked], moment: float) -> float:
    after = [one for one in asked if one.at >= moment]
    for first in after:
        seen = [one.whole and one.by_primary for one in after if first.at <= one.at < first.at + LOOK]
        if seen[0] and sum(seen) >= SERVED_AGAIN * len(seen):
            return first.at - moment
    return nan
