"""The adaptive concurrency limit of one endpoint: as many attempts at a time as it answers in time.

In:      attempts as they begin, their first packets (in time or late), how long good ones lasted; with `now`.
Out:     whether one more may begin; the limit and the ghosts, for those who look.
Units:   seconds, monotonic; the limit is a number of attempts, with a fraction.
Errors:  none. It never ejects anybody and knows of no failure but lateness.
Rules:   - Growth. What has been proven may be doubled: an on-time first packet proves all that was in use at
           that moment. Until something is late nothing else limits, so a cold start doubles with each answer.
         - Cut. A late first packet sets the limit to BETA of what was in use. Attempts that had begun before a
           cut belong to the same congestion and cut no further: at most one cut a first-packet timeout.
         - Recovery by time, as in CUBIC: a flat stretch near the old use after RECOVERY timeouts, then faster.
         - Never below 1. What is too much even so is thinned out in time: each congestion adds 1 to the
           pressure m and shuts the endpoint for about SHUT * (2^m - 1); the first costs nothing. An on-time
           packet takes RELIEF off, so that where many sidecars share a server each of them settles where
           about RELIEF / (1 + RELIEF) of its attempts are late: enough to find the free slots, without a word.
           The length is drawn from a wide range, or those who were late together would come back together.
         - Probing. Under pressure the next attempt waits for the first packet of the one before it, for a
           timeout at most: one probe, then a ramp as fast as the answers come.
         - Ghosts. A server that goes on computing for a caller that has hung up is as full as before: what was
           cut goes on counting for as long as a good attempt usually lasts. `cancels` says that it does not.
         - A limit of 7.3 lets eight in flight in three of ten turns.
Limits:  attempts without a stream take a place but say nothing: their first packet is the whole answer.
Source:  CUBIC (RFC 9438) for cut and recovery, Ethernet's exponential backoff for the shut times.
"""

from __future__ import annotations

from collections import deque
from math import inf
from random import Random

BETA = 0.8  # share of what was in use that is left after a cut
RECOVERY = 12.0  # timeouts until the flat stretch; shorter finds free slots sooner and is late more often
SHORTEST_RECOVERY = 1.0
LONGEST_RECOVERY = 60.0

# Before anything is proven: more than a quiet pod ever has in flight, less than a small GPU dies of.
START = 16.0

FASTER = 1.0
STEP = 1.0
RELIEF = 0.4
MOST_PRESSURE = 4.0
LONGEST_GAP = 8.0
PROBING = 2.0  # from this pressure on, one at a time

# Until an attempt has ended well. After that an average over about ten of them.
USUAL = 2.0
NEWS = 0.1


class Limit:
    """What one endpoint can bear, as learned from its first packets."""

    __slots__ = (
        "_cut_at",
        "_dither",
        "_ghosts",
        "_old",
        "_pressure",
        "_probe_from",
        "_proven",
        "_rng",
        "_shut_until",
        "_usual",
        "cancels",
        "timeout",
    )

    def __init__(self, timeout: float, rng: Random, *, cancels: bool) -> None:
        self.timeout = timeout  # for first packets
        self.cancels = cancels
        self._rng = rng
        self.forget()

    def forget(self) -> None:
        """As if the endpoint were new."""
        self._proven = 0  # in use when a first packet came in time, at most, since the last cut
        self._old = inf  # in use at the last cut
        self._cut_at = -inf
        self._pressure = 0.0
        self._shut_until = -inf
        self._probe_from = -inf  # start of the attempt that the next one waits for
        self._ghosts: deque[float] = deque()  # ends
        self._usual = USUAL
        self._dither = self._rng.random()

    # What is asked; asking changes nothing.

    def allows(self, in_flight: int, now: float) -> bool:
        """Whether one more attempt may begin beside those in flight."""
        if now < self._shut_until:
            return False
        if self._pressure >= PROBING and now < self._probe_from + self.timeout:
            return False
        return in_flight + self.ghosts(now) + 1 <= self.at(now) + self._dither

    def at(self, now: float) -> float:
        """The limit."""
        most = max(START, 2.0 * self._proven)
        if self._old is inf:
            return most
        recovery = min(max(RECOVERY * self.timeout, SHORTEST_RECOVERY), LONGEST_RECOVERY)
        way = (now - self._cut_at) / recovery - 1.0  # -1: just cut; 0: the flat stretch
        step = (1.0 - BETA) * self._old
        grown = self._old + (step if way < 0.0 else max(step, FASTER)) * way * way * way
        return max(1.0, min(grown, max(most, self._old)))

    def ghosts(self, now: float) -> int:
        """Attempts that were given up and may still keep the server busy."""
        ghosts = self._ghosts
        while ghosts and ghosts[0] <= now:
            ghosts.popleft()
        return len(ghosts)

    # What happens.

    def began(self, now: float) -> None:
        self._dither = self._rng.random()
        self._probe_from = now
        if self._pressure > 0.0:
            self._shut_until = now + self._gap(now)

    def on_time(self, began: float, in_flight: int) -> None:
        """A first packet came in time; its attempt still counts in `in_flight`."""
        self._proven = max(self._proven, in_flight)
        if began >= self._probe_from:
            self._probe_from = -inf
        if began > self._cut_at:
            self._pressure = max(0.0, self._pressure - RELIEF)

    def late(self, began: float, in_flight: int, now: float) -> None:
        """A first packet is late; its attempt still counts in `in_flight`."""
        if began <= self._cut_at:
            return
        self._old = float(max(1, in_flight + self.ghosts(now)))
        self._proven = 0
        self._cut_at = now
        self._pressure = min(self._pressure + STEP, MOST_PRESSURE)
        self._shut_until = now + self._gap(now)

    def _gap(self, now: float) -> float:
        length = self._usual * (2.0**self._pressure - 1.0) / self.at(now)
        return min(length, LONGEST_GAP) * (0.5 + self._rng.random())

    def gave_up(self, now: float) -> None:
        """A late attempt was cut: it haunts a server that does not cancel."""
        if not self.cancels:
            self._ghosts.append(now + self._usual)

    def lasted(self, length: float) -> None:
        """An attempt ended well after so long."""
        self._usual += NEWS * (length - self._usual)
