"""The adaptive concurrency limit of one endpoint: as many attempts at a time as it answers in time.

In:      attempts as they begin, their first packets (in time or late), how long good ones lasted; with `now`.
Out:     whether one more may begin; the limit and the ghosts, for those who look.
Units:   seconds, monotonic; the limit is a number of attempts, with a fraction: 7.3 lets an eighth in in
         three of ten turns.
Errors:  none. It never ejects anybody and knows of no failure but lateness.
Rules:   - Growth. What has been proven may be doubled: an on-time first packet proves all that was in use at
           that moment. Until something is late nothing else limits, so a cold start doubles with each answer.
         - Cut. A late first packet sets the limit to BETA of what was in use, and never below 1. Attempts that
           had begun before a cut belong to the same congestion: at most one cut a first-packet timeout.
           While ghosts are about, what is in use is what the last cut has left: then the limit itself is cut.
         - Recovery by time, as in CUBIC: flat near the old use after RECOVERY timeouts, then ever faster. But never
           slower than what first packets in time earn: EARNED of one more for each limit's worth of them. With a
           timeout of many seconds time alone would keep a quiet pod from its primary for minutes.
         - Pressure. One at a time is still too much where many sidecars share a server, and a cut says nothing
           to those who come in the meantime. So each cut adds 1 to the pressure m, and while there is some,
           attempts begin at least usual * (2^m - 1) / limit apart, by a random factor around 1: at m = 1 as
           many as the limit would let through anyway (Little's law), at m = 2 a third of them. An on-time
           packet takes RELIEF off. So each sidecar settles where RELIEF / (1 + RELIEF) of its attempts are
           late, which finds the free slots of a shared server without a word between them.
         - Probing. From PROBING on, the next attempt also waits for the first packet or the end of the one before
           it, for a timeout at most: after an outage one probe at a time, then a ramp as fast as the answers come.
         - Ghosts. A server that goes on computing for a caller that has hung up is as full as before: what was
           given up goes on counting for as long as a good attempt usually lasts. `cancels` says there are none.
         - Queue. While the server itself says that requests stand in its queue, nothing is sent: the first one would
           be late. A queue that is empty proves nothing, for all who read it come at once; the rules above go on.
Limits:  attempts without a stream take a place but say little: their first packet is the whole answer.
         Whether a server cancels cannot be seen from here: after the hang-up nothing comes back either way.
         So it is taken to compute on until the policy says otherwise; being wrong costs a few per cent of
         a cancelling server, and the other error can kill one that does not.
Source:  CUBIC (RFC 9438) for cut and recovery, its Reno-friendly region for what is earned, Ethernet's exponential
         backoff for the gaps; figures of the surge with 1 to 50 sidecars (`make sim`) for the constants.
"""

from __future__ import annotations

from collections import deque
from math import exp2, inf
from random import Random
from typing import Final

BETA: Final = 0.8  # share of what was in use that is left after a cut

# Timeouts until the limit is back at what was in use. Sooner finds free slots sooner, and is late more often.
RECOVERY: Final = 30.0
SHORTEST_RECOVERY: Final = 1.0
LONGEST_RECOVERY: Final = 60.0
# After that it grows by as much as it was cut, but at least by this, in the same time again.
FASTER: Final = 1.0
EARNED: Final = 0.5

# Before anything is proven: more than a quiet pod ever has in flight, less than a small GPU dies of.
START: Final = 16.0

# From 16 to 100 in sixteen rounds of answers: soon enough for a batch job, and slow enough for a small GPU in a surge,
# whose rounds take longer the more it has.
UNSEEN: Final = 0.125

RELIEF: Final = 0.6
PROBING: Final = 2.0
MOST_PRESSURE: Final = 4.0
# Seconds, before chance: an endpoint that works again is not found out later than this.
LONGEST_GAP: Final = 8.0

FRESH: Final = 2.0  # seconds that a reading of the server's queue is believed

# Seconds that an attempt lasts, until one has ended well; after that an average over about ten of them.
USUAL: Final = 2.0
NEWS: Final = 0.1


class Limit:
    """What one endpoint can bear, as learned from its first packets."""

    __slots__ = (
        "_cut_at",
        "_dither",
        "_earned",
        "_ghosts",
        "_most",
        "_not_before",
        "_old",
        "_pressure",
        "_probe_from",
        "_queue",
        "_read_at",
        "_rng",
        "_usual",
        "cancels",
        "timeout",
    )

    def __init__(self, timeout: float, rng: Random, *, cancels: bool) -> None:
        self.timeout = timeout  # for first packets
        self.cancels = cancels
        self._rng = rng
        self._most = START  # twice what has been proven since the last cut
        self._old = inf  # in use at the last cut; inf: nothing was late, or it has got over it
        self._cut_at = -inf
        self._earned = START  # what packets in time have made of the last cut
        self._pressure = 0.0
        self._not_before = -inf
        self._probe_from = -inf  # start of the attempt that the next one waits for
        self._ghosts: deque[float] = deque()  # ends
        self._usual = USUAL
        self._dither = self._rng.random()
        self._queue = 0
        self._read_at = -inf

    # What is asked; asking changes nothing.

    def allows(self, in_flight: int, now: float) -> bool:
        """Whether one more attempt may begin beside those in flight."""
        if now < self._read_at + FRESH and self._queue > 0:
            return False
        if self._old == inf:
            return in_flight < self._most
        if now < self._not_before:
            return False
        if self._pressure >= PROBING and now < self._probe_from + self.timeout:
            return False
        return in_flight + self.ghosts(now) + 1 <= self.at(now) + self._dither

    def at(self, now: float) -> float:
        """The limit."""
        if self._old == inf:
            return self._most
        recovery = min(max(RECOVERY * self.timeout, SHORTEST_RECOVERY), LONGEST_RECOVERY)
        way = (now - self._cut_at) / recovery - 1.0  # -1: just cut; 0: the flat stretch
        step = (1.0 - BETA) * self._old
        grown = self._old + (step if way < 0.0 else max(step, FASTER)) * way * way * way
        return max(1.0, min(max(grown, self._earned), max(self._most, self._old)))

    def ghosts(self, now: float) -> int:
        """Attempts that were given up and may still keep the server busy."""
        ghosts = self._ghosts
        while ghosts and ghosts[0] <= now:
            ghosts.popleft()
        return len(ghosts)

    # What happens.

    def began(self, now: float) -> None:
        if self._old == inf:
            return
        if not self._pressure and not self.ghosts(now) and self.at(now) >= max(self._most, self._old):
            self._most, self._old = max(self._most, self._old), inf  # it has got over it
            return
        self._dither = self._rng.random()
        self._probe_from = now
        if self._pressure > 0.0:
            self._not_before = now + self._gap(now)

    def on_time(self, began: float, in_flight: int) -> None:
        """A first packet came in time; its attempt still counts in `in_flight`."""
        if 2.0 * in_flight > self._most:
            self._most = 2.0 * in_flight
        if self._old == inf:
            return
        if began >= self._probe_from:
            self._probe_from = -inf
        if began > self._cut_at:
            self._pressure = max(0.0, self._pressure - RELIEF)
            self._earned += EARNED / self._earned

    def late(self, began: float, in_flight: int, now: float) -> None:
        """A first packet is late; its attempt still counts in `in_flight`."""
        if began <= self._cut_at:
            return
        ghosts = self.ghosts(now)
        in_use = float(max(1, in_flight + ghosts))
        self._old = max(in_use, BETA * self.at(now)) if ghosts and self._old != inf else in_use
        self._earned = max(1.0, BETA * self._old)
        self._most = START
        self._cut_at = now
        self._pressure = min(self._pressure + 1.0, MOST_PRESSURE)
        self._not_before = now + self._gap(now)

    def gave_up(self, now: float) -> None:
        """A late attempt was cut: it haunts a server that does not cancel."""
        if not self.cancels:
            self._ghosts.append(now + self._usual)

    def ended(self, began: float, in_flight: int, now: float, *, well: bool) -> None:
        """An attempt was not given up; it still counts in `in_flight`."""
        if (
            began >= self._probe_from
        ):  # nothing more is to be waited for, be it that it never had a first packet
            self._probe_from = -inf
        if well:
            self._usual += NEWS * (now - began - self._usual)
            if self._old == inf and 2.0 * in_flight > self._most:
                self._most += UNSEEN

    def waiting(self, waiting: int, now: float) -> None:
        """The server itself says how many requests stand in its queue."""
        self._queue, self._read_at = waiting, now

    def _gap(self, now: float) -> float:
        """Until the next attempt may begin."""
        length = self._usual * (exp2(self._pressure) - 1.0) / self.at(now)
        return min(length, LONGEST_GAP) * (0.5 + self._rng.random())
