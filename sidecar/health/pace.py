"""How fast an endpoint begins to answer: a peak-sensitive average of its first-packet times.

In:      the time of each first packet; of a late one, how long it has been waited for; failures. With `now`.
Out:     seconds, as an average that goes up at once and comes down slowly; None: nothing is known yet.
Rules:   a time above the average becomes the average. One below it pulls it down by the share that MEMORY leaves of
         the time since the last one. While nothing is heard it falls towards nothing at the same rate, or an endpoint
         that was slow once and is avoided since would never be tried again. A failure counts as a first packet that
         takes twice as long as they do, and FAILED at least: who fails at once has few requests before it, and would
         get all of them.
Source:  Finagle's peak EWMA load balancer (its decay time is 10 s, too).
"""

from __future__ import annotations

from math import exp

MEMORY = 10.0
FAILED = 1.0
LONGEST = 60.0


class Pace:
    """Of one endpoint."""

    __slots__ = ("_at", "_average")

    def __init__(self) -> None:
        self._average: float | None = None
        self._at = 0.0

    def heard(self, seconds: float, now: float) -> None:
        if self._average is None or seconds >= self._average:
            self._average = seconds
        else:
            kept = exp(-max(0.0, now - self._at) / MEMORY)
            self._average = self._average * kept + seconds * (1.0 - kept)
        self._at = now

    def failed(self, now: float) -> None:
        """It gave no answer."""
        self._average, self._at = min(max(FAILED, 2.0 * (self.at(now) or 0.0)), LONGEST), now

    def at(self, now: float) -> float | None:
        if self._average is None:
            return None
        return self._average * exp(-max(0.0, now - self._at) / MEMORY)
