"""The figures of a surge, from the notes that were taken.

Units:   seconds, shares 0.0..1.0; NaN where there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

from bench.surge.scene import CALM, SURGE, Asked, Case, Notes

SERVED_AGAIN, LOOK = 0.9, 5.0


class Figures(NamedTuple):
    """In the order in which they are shown."""

    requests: int
    success: float  # whole answers, every one of them read to its end and checked
    crashes: int  # by overload
    first_packet_p99: float  # of the surge's requests, as the app saw it
    late: float  # surge requests for which the primary was tried in vain
    used: float  # of the primary's capacity in the surge, by whole answers
    back_after: float  # until the primary serves 90 % again: after the surge, or after its restart
    first_ejection: float  # since the surge began


def figures(case: Case, notes: Notes) -> Figures:
    surge = [asked for asked in notes.asked if _surging(asked.at)]
    whole = [asked for asked in notes.asked if asked.answer is not None and not asked.answer.problem]
    tokens = sum(asked.tokens for asked in whole if asked.by_primary and _surging(asked.ended_at))
    capacity = notes.spec.capacity * notes.spec.usual_tokens * SURGE
    back_from = notes.returned[-1] if case.killed and notes.returned else CALM + SURGE
    ejected = [at for at in notes.ejected if at >= CALM]
    return Figures(
        requests=len(notes.asked),
        success=len(whole) / len(notes.asked),
        crashes=len(notes.died) - case.killed,
        first_packet_p99=quantile(first_packets(surge), 0.99),
        late=sum(_surging(at) for at in notes.late) / len(surge),
        used=tokens / capacity,
        back_after=_back_after(notes.asked, back_from),
        first_ejection=min(ejected) - CALM if ejected else nan,
    )


def first_packets(asked: Sequence[Asked]) -> list[float]:
    answers = [one.answer for one in asked if one.answer is not None]
    return [answer.first_packet for answer in answers if answer.first_packet is not None]


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else nan


def _surging(at: float) -> bool:
    return CALM <= at < CALM + SURGE


def _back_after(asked: Sequence[Asked], moment: float) -> float:
    after = [one for one in asked if one.at >= moment]
    for first in after:
        seen = [one.by_primary for one in after if first.at <= one.at < first.at + LOOK]
        if first.by_primary and sum(seen) >= SERVED_AGAIN * len(seen):
            return first.at - moment
    return nan
