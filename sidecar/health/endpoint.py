"""One endpoint's health: facts that may hold at once, and the one state they add up to.

In:      the ledger's decisions, each with `now`.
Out:     what a pick asks: available, share, due_back, why. Asking changes nothing.
Facts:   ejection, cooling (Retry-After), failing probes, probation, ramp. The first that holds, in this
         order, is the state; with none it is available.
Era:     grows whenever an ejection ends, and when an endpoint is put back by a probe or by hand. An attempt speaks only
         about the era it began in and never during an ejection, so a stream from before one can neither pass nor
         fail the probation after it.
Say:     an attempt on probation need not come to its end to be heard, for an answer may take minutes. With its first
         packet it passes, late it gives its place to another; at its end only a failure still counts.
Ramp:    the share grows in a straight line from FLOOR to 1 over `ramp` seconds. Every attempt that starts
         anywhere in the ledger, this endpoint included, earns a ramping endpoint its share as credit; one
         attempt costs 1. A request that was turned away is served elsewhere and so is counted there: of
         ten requests a share of 0.3 lets three in even if the service has no other endpoint. Traffic of
         unrelated routes earns credit too and makes the ramp steeper, never flatter.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

from sidecar.frozen import Frozen
from sidecar.health.active import ProbeVerdict
from sidecar.health.limit import Limit
from sidecar.health.outlier import Outlier
from sidecar.health.pace import Pace
from sidecar.policy.snapshot import PassiveHealth
from sidecar.terms import EndpointKey

# Share at the start of a ramp: Envoy's slow start begins at 10 % too; from 0 nothing would ever be sent.
FLOOR: Final = 0.1
# What may be saved up while nobody asks. Below 2 a share of 0.6 would in truth be every second request.
MOST_CREDIT: Final = 2.0
# Ten additions of 0.1 may end a hair below 1.
ENOUGH_CREDIT: Final = 1.0 - 1e-9


class State(StrEnum):
    """What an endpoint is at a moment; the values are those of the admin API."""

    AVAILABLE = "available"
    EJECTED = "ejected"
    PROBATION = "probation"
    RAMP = "ramp"
    PROBE_FAILED = "probe_failed"
    COOLING = "cooling"
    REMOVED = "removed"  # not listed any more, but attempts on it may still be in flight


# Asked for at every pick: of an Enum's class each look costs ten times as much.
AVAILABLE: Final = State.AVAILABLE
IN_ROTATION: Final = frozenset({State.AVAILABLE, State.RAMP})


class Absence(Frozen):
    """Why and until when an endpoint is out; not enforced: it only would be."""

    reason: str
    until: float | None  # None: until it is restored by hand
    enforced: bool
    rate_limited: bool = False  # it was a 429 that asked for it

    def is_over(self, now: float) -> bool:
        return self.until is not None and self.until <= now


class Traffic:
    """Attempts started in the whole ledger: the measure of a ramp."""

    __slots__ = ("starts",)

    def __init__(self) -> None:
        self.starts = 0


class EndpointHealth:
    """One endpoint as the pick sees it and the ledger keeps it. Only the ledger changes it."""

    __slots__ = (
        "_credit",
        "_heard",
        "_starts_seen",
        "_traffic",
        "cooled",
        "ejection",
        "era",
        "in_flight",
        "key",
        "limit",
        "on_probation",
        "pace",
        "passed",
        "passive",
        "probation_from",
        "probe",
        "probing",
        "ramp_from",
        "return_reason",
        "since",
        "state",
    )

    def __init__(
        self,
        key: EndpointKey,
        policy: PassiveHealth,
        traffic: Traffic,
        now: float,
        limit: Limit | None = None,
    ) -> None:
        self.key = key
        self.in_flight = 0
        self.state = State.AVAILABLE
        self.since = now  # of the state
        self.era = 0
        self.passive = Outlier(policy, now)
        self.probe = ProbeVerdict()
        self.limit = limit
        self.pace: Pace | None = None  # kept only where it is picked by
        self.ejection: Absence | None = None
        self.cooled: Absence | None = None  # as it asked with Retry-After
        self.on_probation = False
        self.probation_from = now
        self.probing = 0  # attempts of this probation in flight that have not been heard
        self.passed = 0  # and those that succeeded
        self._heard: set[float] = set()  # when those began that have been heard before their end
        self.ramp_from: float | None = None
        self.return_reason = ""
        self._traffic = traffic
        self._credit = 0.0
        self._starts_seen = 0

    def available(self, now: float) -> bool:
        """Whether it may be given one more attempt now."""
        if self.limit is not None and not self.limit.allows(self.in_flight, now):
            return False
        if self.state is AVAILABLE:
            return True
        if self.state is State.RAMP:
            return self._credit_at(now) >= ENOUGH_CREDIT
        return self.state is State.PROBATION and self.has_free_slot

    def cooling(self, now: float) -> bool:
        """Whether it has asked to be left alone until later than now; failing probes do not matter here"""
        wish = self.cooled
        return (
            self.state is State.COOLING
            and self.ejection is None
            and wish is not None
            and not wish.is_over(now)
        )

    @property
    def rate_limited(self) -> bool:
        """Whether it was with a 429 that it asked to be left alone."""
        return self.cooled is not None and self.cooled.rate_limited

    def overloaded(self, now: float) -> bool:
        """Whether nothing but its limit speaks against one more attempt now."""
        limit = self.limit
        return limit is not None and self.state in IN_ROTATION and not limit.allows(self.in_flight, now)

    def pace_at(self, now: float) -> float | None:
        """How fast it begins to answer, seconds; None: not known."""
        return None if self.pace is None else self.pace.at(now)

    def share(self, now: float) -> float:
        """Of the traffic it would get if it had never been away; 1.0 but for the ramp."""
        if self.ramp_from is None:
            return 1.0
        ramp = self.passive.policy.ramp
        passed = now - self.ramp_from
        return 1.0 if passed >= ramp else FLOOR + (1.0 - FLOOR) * max(0.0, passed) / ramp

    def due_back(self, now: float) -> float:
        """When it may be picked again: now if it is in rotation or on probation, however thin its share or low
        its limit is;
        inf if only a probe or an operator can bring it back."""
        if self.state in IN_ROTATION or self.state is State.PROBATION:
            return now
        if self.state is State.REMOVED or not self.probe.healthy:
            return math.inf
        held = [a.until for a in (self.ejection, self.cooled) if a is not None and a.enforced]
        return max((now, *(math.inf if until is None else until for until in held)))

    def why(self) -> str:
        """Why it is not available (`ramp`: its share is used up for the moment); empty when it is."""
        return "" if self.state is State.AVAILABLE else self.state.value

    @property
    def has_free_slot(self) -> bool:
        return self.probing + self.passed < self.passive.policy.probation_requests

    @property
    def is_out(self) -> bool:
        """For the share limit: whatever keeps it out, and a probation until it is passed."""
        return (
            self.ejection is not None
            or self.cooled is not None
            or self.on_probation
            or not self.probe.healthy
        )

    def deadline(self) -> float | None:
        """When time alone changes something."""
        times = [a.until for a in (self.ejection, self.cooled) if a is not None and a.until is not None]
        if self.ramp_from is not None:
            times.append(self.ramp_from + self.passive.policy.ramp)
        return min(times, default=None)

    def take(self, now: float) -> None:
        """An attempt starts while a ramp or a probation counts them."""
        if self.on_probation:
            self.probing += 1
        elif self.ramp_from is not None:
            self._credit = max(0.0, min(MOST_CREDIT, self._credit_at(now)) - 1.0)
            self._starts_seen = self._traffic.starts

    def hear(self, began: float) -> bool:
        """An attempt that began then is heard before its end. Whether it is one of this probation, and it is the first
        time."""
        if began < self.probation_from or began in self._heard:
            return False
        self._heard.add(began)
        self.probing = max(0, self.probing - 1)
        return True

    def hear_end(self, began: float | None) -> bool:
        """An attempt of this probation has ended. Whether it had not been heard before."""
        if began in self._heard:
            self._heard.discard(began)
            return False
        self.probing = max(0, self.probing - 1)  # below 0 only for a straggler without its era
        return True

    def eject(self, absence: Absence, now: float) -> None:
        self.ejection = absence
        self.passive.hold(now)
        if absence.enforced:
            self.on_probation = False
            self.ramp_from = None
        self.settle(now)

    def put_on_probation(self, now: float) -> None:
        self.ejection = None
        self.era += 1
        self.on_probation = True
        self.probation_from = now
        self.probing = self.passed = 0
        self._heard.clear()
        self.passive.clear()
        self.settle(now)

    def bring_back(self, reason: str, now: float, *, ramp: bool) -> None:
        """Passive health has nothing against it any more."""
        self.ejection = None
        if reason != "probation_passed":  # whoever has passed it may still break
            self.era += 1
        self.on_probation = False
        self.return_reason = reason
        self.passive.start_anew(now)
        if not self.probe.healthy:
            self.passive.hold(now)
        self.ramp_from = now if ramp and self.passive.policy.ramp > 0 else None
        self._credit = 1.0
        self._starts_seen = self._traffic.starts
        self.settle(now)

    def end_ramp(self, now: float) -> None:
        self.ramp_from = None
        self.settle(now)

    def settle(self, now: float) -> None:
        """Makes the state follow the facts; whoever changes a fact calls it."""
        state = self._state_of_facts()
        if state is not self.state and self.state is not State.REMOVED:
            self.state, self.since = state, now

    def _state_of_facts(self) -> State:
        if self.ejection is not None and self.ejection.enforced:
            return State.EJECTED
        if self.cooled is not None and self.cooled.enforced:
            return State.COOLING
        if not self.probe.healthy:
            return State.PROBE_FAILED
        if self.on_probation:
            return State.PROBATION
        return State.AVAILABLE if self.ramp_from is None else State.RAMP

    def _credit_at(self, now: float) -> float:
        return self._credit + self.share(now) * (self._traffic.starts - self._starts_seen)
