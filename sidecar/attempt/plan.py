"""The plan of one request: which endpoint is tried next, after what wait, until when, and when it is over.

In:      turning points of the present attempt, each with `now`. Health is told of a failure before the plan is.
Out:     one command a turning point: Try, Wait or Answer; `late` may also say None: carry on waiting.
Units:   monotonic seconds.
Errors:  turning points in an order that cannot be are bugs and assert.

    NEW --begin--> TRYING --committed--> COMMITTED          ended: from anywhere, any number of times
                   |    ^
      failed, late |    | woke, waited_enough
                   v    |
                   WAITING                                  any of them may lead to ANSWERED

Rules, in the order they are asked when an attempt failed:

1. max_attempts ends it, whatever is left.
2. A 429 that asks for no longer than wait_for_retry_after is waited for, once a service. It spends neither
   retries nor budget: the service named the time itself, so this cannot become a storm. A request that finds
   every service in need of rest waits likewise before its first attempt, until the first of them is back.
3. Inside the service, up to retries_per_service times and as the budget allows: after a refusal, a reset or
   a 5xx, and after a late first packet where that may fall back. An endpoint not yet tried takes over at once;
   else the same one again after a backoff, unless it was late or has left rotation meanwhile.
4. The next service, when the failure has a word in fallback_on. No budget limits that: a surge is rescued
   whole. Services out of rotation or full are passed over as fallback_on allows. Ranks never go back.
5. Else the last failure is the answer.

A service that is over its limits and has a waiting line lets the request stand in it before it is passed over. Whoever
waits for what has left rotation meanwhile, or wants to be left alone, goes on at once.

Hedging: a request that is slow, but not late, may have a second attempt, once, on an endpoint not yet tried, in the
same service or the next. Whichever commits first wins. While both run, one that fails or is late is dropped and
decides nothing: the other one goes on, and what follows is decided when that one has failed too, from where that one
stands. So a service whose hedge failed is still there for the first attempt to fall back to, as a retry.

When every service is passed over: before the first attempt, the endpoint due back first is tried. Afterwards
the request has had its try and sparing an ejected endpoint comes first; but one that is back already, on
probation, with a share that grows or at its adaptive limit, takes a request that would be lost without it.

A deadline is shared: an attempt may use what is left divided by the services that could still be asked, itself
included, so a slow primary cannot eat the fallback's time. Where no timeout may fall back it gets all.
The moment at which the app itself gives up is not shared: an operator's deadline asks for haste, an SDK's timeout
is there for answers that take long. Nothing begins after it, nothing waits beyond it, and then it is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.attempt.backoff import backoff, pushback
from sidecar.attempt.commands import Answer, Drop, Queue, Try, Wait
from sidecar.attempt.places import NOBODY, First, Place, next_place, returning_place
from sidecar.attempt.skips import is_due, may_pass_over, nobody
from sidecar.attempt.standing import (
    ANSWERED,
    COMMITTED,
    ENDED,
    NEW,
    TRYING,
    WAITING,
    Standing,
    State,
    key_is_refused,
)
from sidecar.choice import E, Skipped
from sidecar.failure import Failure, FailureKind, is_late, may_retry_same
from sidecar.terms import HEDGE

__all__ = ["Answer", "Drop", "Plan", "Queue", "State", "Try", "Wait"]

LATE: Final = Failure(FailureKind.FIRST_PACKET_TIMEOUT)


class Plan(Standing[E]):
    """Decides for one request, from its start to its end."""

    __slots__ = ()

    # Turning points

    def begin(self, now: float) -> Try[E] | Wait | Queue | Answer:
        """The request starts."""
        assert self.state is NEW, self.state
        self._budget.begin()
        if self._hedge_budget is not None:
            self._hedge_budget.begin()
        first = self._chooser.pick(0, NOBODY, now)
        if not isinstance(first, Skipped):
            return self._try(first, None, None, now)
        return self._begin_at(0, first, now)

    def failed(
        self, failure: Failure, now: float, number: int | None = None
    ) -> Try[E] | Wait | Queue | Answer | None:
        """An attempt, if no number says which the only one, failed before it committed. None: the other goes on."""
        if self._other is not None:
            self._alone_without(number, failure)
            return None
        endpoint = self._present()
        self._failure = failure
        self._tried |= {endpoint.key}
        if is_late(failure):
            self._late |= {endpoint.key}
        return self._wait_as_asked(failure, now) or self._again(failure, now) or self._go_on(now)

    def late(self, now: float, number: int | None = None) -> Try[E] | Wait | Queue | Drop | Answer | None:
        """The first packet is late. A command drops the attempt as FIRST_PACKET_TIMEOUT; None: nothing is better."""
        if self._other is not None:
            if LATE.kind not in self.route.fallback_on:
                return None
            self._alone_without(number, LATE)
            return Drop()
        endpoint = self._present()
        self._tried |= {endpoint.key}
        self._late |= {endpoint.key}
        command = self._better(now)
        if command is None and self.route.cut_last:
            return self._answer(LATE)
        return command

    def slow(self, now: float) -> Try[E] | None:
        """The present attempt has sent nothing for as long as hedging waits; a Try is a second one beside it."""
        credit = self._spending()
        if credit.hedged or self._used_up() or not self._time.allows(now):
            return None
        present = self._present()
        first = First(self.number, present, self.rank, self._tried, self._retries, self._pushback)
        picked = self._chooser.pick(self.rank, self._tried | {present.key}, now)
        place: Place[E] | None = (self.rank, picked)
        if isinstance(picked, Skipped):
            place = self._place_beyond(now)
        if place is None or not credit.spend_hedge():
            return None
        command = self._enter(place, HEDGE, now)
        assert isinstance(command, Try), command
        self._other = first
        return command

    def woke(self, now: float) -> Try[E] | Wait | Queue | Answer:
        """A Wait is over; the endpoint may have left rotation meanwhile."""
        assert self.state is WAITING, self.state
        now = max(now, self._until)  # a timer may fire a hair early, and find cooling what asked for no more
        why = None if self._failure is None else self._failure.code
        picked = self._chooser.pick(self.rank, self._late, now)
        if not isinstance(picked, Skipped):
            return self._try(picked, why, None, now)
        # The timer that brings an endpoint back when its Retry-After is over may be a tick behind ours.
        due = self._chooser.due_first(self.rank, self._late, now) if is_due(picked, now) else None
        if due is not None:
            return self._try(due, why, None, now)
        return self._begin_at(0, picked, now) if self._failure is None else self._go_on(now)

    def in_turn(self, now: float) -> Try[E] | Wait | Queue | Answer | None:
        """It is the request's turn in the waiting line. None: there is still no place."""
        assert self.state is WAITING, self.state
        picked = self._chooser.pick_in_turn(self.rank, self._late, now)
        if not isinstance(picked, Skipped):
            return self._try(picked, *self._in_line, now)
        return None if picked.reason == "overloaded" else self._leave_line(picked, now)

    def waited_enough(self, now: float) -> Try[E] | Wait | Queue | Answer:
        """Nothing came free while the request stood in the waiting line."""
        assert self.state is WAITING, self.state
        return self._leave_line(Skipped("overloaded", now), now)

    def out_of_time(self) -> Answer:
        """The app gives up now: whatever runs is dropped."""
        assert self.state in (TRYING, WAITING), self.state
        return self._answer(Failure(FailureKind.DEADLINE_EXCEEDED))

    def committed(self) -> None:
        """The present attempt answers the app: no longer a retry on probation, whatever becomes of it."""
        self._present()
        self.state = COMMITTED
        self._other = None
        if self._credit is not None:
            self._credit.settle()

    def ended(self) -> None:
        """The request is over, in whatever way."""
        if self.state is NEW or self.state is ENDED:
            self.state = ENDED
            return
        self.state = ENDED
        if self._credit is not None:
            self._credit.settle()
        self._budget.end()
        if self._hedge_budget is not None:
            self._hedge_budget.end()

    # Inside the service

    def _wait_as_asked(self, failure: Failure, now: float) -> Wait | None:
        asked, limit = failure.retry_after, self.route.wait_for_retry_after
        if limit <= 0.0 or failure.status != 429 or asked is None or asked > limit:
            return None
        if self._pushback or self._used_up():
            return None
        until = now + pushback(asked, limit, self._rng)
        if not self._may_wait(until, now):
            return None
        self._pushback = True
        return self._wait(until)

    def _again(self, failure: Failure, now: float) -> Try[E] | Wait | Answer | None:
        """A retry in the same service, if this failure allows one."""
        if failure.kind is FailureKind.FIRST_PACKET_TIMEOUT:
            return self._sibling(failure, now) if self._falls_back(failure) else None
        if may_retry_same(failure):
            return self._sibling(failure, now) or self._same(now)
        return self._with_other_key(failure, now)

    def _sibling(self, failure: Failure, now: float) -> Try[E] | Answer | None:
        """A retry at once, on an endpoint of the service that has not been tried."""
        if not self._may_retry():
            return None
        picked = self._chooser.pick(self.rank, self._tried, now)
        if isinstance(picked, Skipped) or not self._spend():
            return None
        return self._try(picked, failure.code, None, now)

    def _with_other_key(self, failure: Failure, now: float) -> Try[E] | Answer | None:
        """A retry at once, when it was the key that was refused and the service has another one that is not."""
        if not key_is_refused(failure) or not self._chooser.has_other_keys(self.rank):
            return None
        if not self._may_retry():
            return None
        picked = self._chooser.pick(self.rank, self._late, now)
        if isinstance(picked, Skipped) or not self._spend():
            return None
        return self._try(picked, failure.code, None, now)

    def _same(self, now: float) -> Wait | None:
        """A retry after a backoff, on an endpoint that failed but neither was late nor has left rotation."""
        if not self._may_retry() or isinstance(self._chooser.pick(self.rank, self._late, now), Skipped):
            return None
        until = now + backoff(self._retries + 1, self._rng)
        return self._wait(until) if self._may_wait(until, now) and self._spend() else None

    # Two attempts at a time

    def _alone_without(self, number: int | None, failure: Failure) -> None:
        """One of the two is gone. The other is the present one, and the request stands where that one does."""
        first, gone = self._other, self._present()
        assert first is not None
        if number == first.number:
            gone = first.endpoint
        else:
            if not self._may_ask_again(failure):
                self._late |= {gone.key}
            self._lost = self.rank
            self._endpoint, self.rank, self._tried = first.endpoint, first.rank, first.tried
            self._retries, self._pushback = first.retries, first.pushback
        self._failure, self._other = failure, None
        self._tried |= {gone.key}
        if is_late(failure):
            self._late |= {gone.key}
        self._spending().return_hedge()

    # On to another service

    def _go_on(self, now: float) -> Try[E] | Wait | Queue | Answer:
        failure = self._last()
        if not self._used_up() and self._falls_back(failure):
            chooser, start = self._chooser, self.rank + 1
            place = next_place(chooser, start, self.route.fallback_on, now, self._late)
            place = place or returning_place(chooser, start, now, self._late)
            if place is not None:
                return self._enter(place, failure.code, now)
        return self._answer(failure)

    def _better(self, now: float) -> Try[E] | Wait | Queue | Answer | None:
        """What promises more than waiting for a late first packet: somebody in rotation, not yet tried."""
        if LATE.kind not in self.route.fallback_on or self._used_up():
            return None
        command: Try[E] | Wait | Queue | Answer | None = self._sibling(LATE, now)
        if command is None:
            place = self._place_beyond(now)
            if place is None:
                return None
            command = self._enter(place, LATE.code, now)
        self._failure = LATE
        return command

    def _place_beyond(self, now: float) -> Place[E] | None:
        """A further service with somebody to pick at once, for a request that can go on waiting where it is."""
        if LATE.kind not in self.route.fallback_on:
            return None
        place = next_place(self._chooser, self.rank + 1, self.route.fallback_on, now, self._late)
        return None if place is None or isinstance(place[1], Skipped) else place

    def _enter(self, place: Place[E], reason: str, now: float) -> Try[E] | Wait | Queue | Answer:
        rank, found = place
        endpoint: E | None = None
        queued: float | None = None
        if not isinstance(found, Skipped):
            endpoint = found
        else:
            queued = self._chooser.may_wait(rank) if found.reason == "overloaded" else None
            endpoint = self._chooser.due_first(rank, self._late, now)
            if endpoint is None and queued is None:
                return self._nobody([found], now)
        why = left = None
        if rank != self.rank:
            why, left = reason, self._chooser.service_name(self.rank)
            if self._credit is not None:
                self._credit.return_retry()
            self.rank, self._tried, self._pushback = rank, NOBODY, False
            self._retries = int(rank == self._lost)
        elif reason == HEDGE:
            why = reason
        if queued is not None:
            return self._stand_in_line(queued, why, left, now)
        assert endpoint is not None
        return self._try(endpoint, why, left, now)

    def _stand_in_line(self, length: float, reason: str | None, left: str | None, now: float) -> Queue:
        self._in_line = reason, left
        self.state = WAITING
        ends = (now + length, self._share(now), self._time.end)
        return Queue(self.rank, min(end for end in ends if end is not None))

    def _leave_line(self, why: Skipped, now: float) -> Try[E] | Wait | Queue | Answer:
        if may_pass_over(why, self.route.fallback_on):
            return self._begin_at(self.rank + 1, why, now) if self._failure is None else self._go_on(now)
        endpoint = self._chooser.due_first(self.rank, self._late, now)
        return self._nobody([why], now) if endpoint is None else self._try(endpoint, *self._in_line, now)

    def _begin_at(self, start: int, first: Skipped, now: float) -> Try[E] | Wait | Queue | Answer:
        """Nobody has been asked yet, and `first` is why the primary is not."""
        self.rank = 0
        place = next_place(self._chooser, start, self.route.fallback_on, now)
        place = place or self._chooser.last_resort(now)
        if place is not None:
            return self._enter(place, first.reason, now)
        picked = [self._chooser.pick(rank, NOBODY, now) for rank in range(self._chooser.count)]
        return self._nobody([one for one in picked if isinstance(one, Skipped)], now)

    def _nobody(self, skipped: Sequence[Skipped], now: float) -> Wait | Answer:
        """Nobody can be asked. Where all want rest, and for no longer than others wait for it here: wait as well."""
        if self._failure is not None:
            return self._answer(self._failure)
        failure, limit = nobody(skipped, now), self.route.wait_for_retry_after
        if failure.retry_after is None or failure.retry_after > limit or self._pushback:
            return self._answer(failure)
        until = now + pushback(failure.retry_after, limit, self._rng)
        if limit <= 0.0 or not self._time.allows(until):
            return self._answer(failure)
        self._pushback = True
        return self._wait(until)

    # Commands

    def _try(self, endpoint: E, reason: str | None, left: str | None, now: float) -> Try[E] | Answer:
        if not self._time.allows(now):
            return self._answer(Failure(FailureKind.DEADLINE_EXCEEDED))
        self.number += 1
        self.state = TRYING
        self._endpoint = endpoint
        return Try(self.number, self.rank, endpoint, reason, left, self._share(now))

    def _wait(self, until: float) -> Wait:
        self.state = WAITING
        self._until = until
        return Wait(until)

    def _answer(self, failure: Failure) -> Answer:
        self.state = ANSWERED
        self._other = None
        if self._credit is not None:
            self._credit.settle()
        return Answer(failure)
