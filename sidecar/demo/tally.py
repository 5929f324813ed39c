"""Counts of answers: those of a second for its line, those of a whole run for the summary.

Units:   seconds; shares are 0.0..1.0.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from sidecar.demo.app import Answer


@dataclass(slots=True)
class Tally:
    """Answers, added up."""

    whole: int = 0
    by_service: Counter[str] = field(default_factory=Counter)  # of the whole ones
    problems: Counter[str] = field(default_factory=Counter)
    first_packets: list[float] = field(default_factory=list)  # of the whole ones

    def add(self, answer: Answer) -> None:
        if answer.problem:
            self.problems[answer.problem] += 1
            return
        self.whole += 1
        self.by_service[answer.service] += 1
        if answer.first_packet is not None:
            self.first_packets.append(answer.first_packet)

    @property
    def failed(self) -> int:
        return self.problems.total()

    def share(self, service: str) -> float | None:
        """Of the whole answers; None: there are none."""
        return self.by_service[service] / self.whole if self.whole else None

    def quantile(self, share: float) -> float | None:
        """Of the first-packet times, by nearest rank."""
        if not self.first_packets:
            return None
        ordered = sorted(self.first_packets)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
