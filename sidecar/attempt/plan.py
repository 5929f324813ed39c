"""The plan of one request: which endpoint is tried next, after what wait, until when, and when it is over.

In:      turning points of the present attempt, each with `now`. Health is told of a failure before the plan is.
Out:     one command a turning point: Try, Wait or Answer; `late` may also say None: carry on waiting.
Units:   monotonic seconds.
Errors:  turning points in an order that cannot be are bugs and assert.

    NEW --begin--> TRYING --committed--> COMMITTED          ended: from anywhere, any number of times
                   |    ^
      failed, late |    | woke
                   v    |
                   WAITING                                  any of them may lead to ANSWERED

Rules, in the order they are asked when an attempt failed:

1. max_attempts ends it, whatever is left.
2. A 429 that asks for no longer than wait_for_retry_after is waited for, once a service. It spends neither
   retries nor budget: the service named the time itself, so this cannot become a storm.
3. Inside the service, up to retries_per_service times and as the budget allows: after a refusal, a reset or
   a 5xx, and after a late first packet where that may fall back. An endpoint not yet tried takes over at once;
   else the same one again after a backoff, unless it was late or has left rotation meanwhile.
4. The next service, when the failure has a word in fallback_on. No budget limits that: a surge is rescued
   whole. Services out of rotation or full are passed over as fallback_on allows. Ranks never go back.
5. Else the last failure is the answer.

When every service is passed over: before the first attempt, the endpoint due back first is tried. Afterwards
the request has had its try and sparing an ejected endpoint comes first; but one that is back already, on
probation, with a share that grows or at its adaptive limit, takes a request that would be lost without it.

A deadline is shared: an attempt may use what is left divided by the services that could still be asked, itself
included, so a slow primary cannot eat the fallback's time. Where no timeout may fall back it gets all.
The moment at which the app itself gives up is not shared: an operator's deadline asks for haste, an SDK's timeout
is there for answers that take long. Nothing begins after it, nothing waits beyond it, and then it is over.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import Generic

from sidecar.attempt.backoff import backoff, pushback
from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.commands import Answer, Chooser, E, Try, Wait
from sidecar.attempt.skips import is_due, may_pass_over, nobody
from sidecar.failure import Failure, FailureKind, fallback_words, may_retry_same
from sidecar.policy.snapshot import Route
from sidecar.terms import EndpointKey, Skipped

__all__ = ["Answer", "Chooser", "Plan", "State", "Try", "Wait"]

NOBODY: frozenset[EndpointKey] = frozenset()
LATE = Failure(FailureKind.FIRST_PACKET_TIMEOUT)
TIMEOUT_WORDS = frozenset(("first_packet_timeout", "response_timeout"))


class State(Enum):
    """Where a request is; data, so that a log line can show it."""

    NEW = "new"
    TRYING = "trying"
    WAITING = "waiting"
    COMMITTED = "committed"
    ANSWERED = "answered"
    ENDED = "ended"


class Plan(Generic[E]):
    """Decides for one request, from its start to its end."""

    __slots__ = (
        "_budget",
        "_chooser",
        "_deadline",
        "_end",
        "_endpoint",
        "_failure",
        "_late",
        "_pushback",
        "_retries",
        "_rng",
        "_spent",
        "_tried",
        "number",
        "rank",
        "route",
        "state",
    )

    def __init__(
        self,
        route: Route,
        chooser: Chooser[E],
        budget: RetryBudget,
        rng: Random,
        now: float,
        *,
        deadline: float | None = None,
    ) -> None:
        """`deadline`: the moment by which the app must have its answer, beside the deadline of the route."""
        self.route = route
        self.state = State.NEW
        self.number = 0  # attempts made
        self.rank = 0  # of the present service
        self._chooser = chooser
        self._budget = budget
        self._rng = rng
        self._deadline = None if route.deadline is None else now + route.deadline
        self._end = _earlier(self._deadline, deadline)
        self._endpoint: E | None = None  # of the present or last attempt
        self._failure: Failure | None = None  # the last one
        self._late = NOBODY  # never again for this request
        self._spent = False  # one retry of the budget is ours
        self._tried = NOBODY  # in the present service
        self._retries = 0  # in the present service
        self._pushback = False  # a 429 of the present service has been waited for

    # Turning points

    def begin(self, now: float) -> Try[E] | Answer:
        """The request starts."""
        assert self.state is State.NEW, self.state
        self._budget.begin()
        first = self._chooser.pick(0, NOBODY, now)
        if not isinstance(first, Skipped):
            return self._try(first, None, None, now)
        place = self._next_place(0, now) or self._chooser.last_resort(now)
        if place is None:
            return self._answer(nobody(first))
        return self._enter(place, first.reason, now)

    def failed(self, failure: Failure, now: float) -> Try[E] | Wait | Answer:
        """The present attempt failed before it committed."""
        endpoint = self._present()
        self._failure = failure
        self._tried |= {endpoint.key}
        if failure.kind is FailureKind.FIRST_PACKET_TIMEOUT:
            self._late |= {endpoint.key}
        return self._wait_as_asked(failure, now) or self._again(failure, now) or self._go_on(now)

    def late(self, now: float) -> Try[E] | Answer | None:
        """The first packet is late. A command drops the attempt as FIRST_PACKET_TIMEOUT; None: nothing is better."""
        endpoint = self._present()
        self._tried |= {endpoint.key}
        self._late |= {endpoint.key}
        command = self._better(now)
        if command is None and self.route.cut_last:
            return self._answer(LATE)
        return command

    def woke(self, now: float) -> Try[E] | Answer:
        """A Wait is over; the endpoint may have left rotation meanwhile."""
        assert self.state is State.WAITING, self.state
        picked = self._chooser.pick(self.rank, self._late, now)
        if not isinstance(picked, Skipped):
            return self._try(picked, self._last().code, None, now)
        # The timer that brings an endpoint back when its Retry-After is over may be a tick behind ours.
        due = self._chooser.due_first(self.rank, self._late, now) if is_due(picked, now) else None
        return self._go_on(now) if due is None else self._try(due, self._last().code, None, now)

    def out_of_time(self) -> Answer:
        """The app gives up now: whatever runs is dropped."""
        assert self.state in (State.TRYING, State.WAITING), self.state
        return self._answer(Failure(FailureKind.DEADLINE_EXCEEDED))

    def committed(self) -> None:
        """The present attempt answers the app: no longer a retry on probation, whatever becomes of it."""
        self._present()
        self.state = State.COMMITTED
        self._give_back()

    def ended(self) -> None:
        """The request is over, in whatever way."""
        if self.state not in (State.NEW, State.ENDED):
            self._give_back()
            self._budget.end()
        self.state = State.ENDED

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
        if not may_retry_same(failure):
            return None
        return self._sibling(failure, now) or self._same(now)

    def _sibling(self, failure: Failure, now: float) -> Try[E] | Answer | None:
        """A retry at once, on an endpoint of the service that has not been tried."""
        if not self._may_retry():
            return None
        picked = self._chooser.pick(self.rank, self._tried, now)
        if isinstance(picked, Skipped) or not self._spend():
            return None
        return self._try(picked, failure.code, None, now)

    def _same(self, now: float) -> Wait | None:
        """A retry after a backoff, on an endpoint that failed but neither was late nor has left rotation."""
        if not self._may_retry() or isinstance(self._chooser.pick(self.rank, self._late, now), Skipped):
            return None
        until = now + backoff(self._retries + 1, self._rng)
        return self._wait(until) if self._may_wait(until, now) and self._spend() else None

    def _may_retry(self) -> bool:
        return self._retries < self.route.retries_per_service and not self._used_up()

    def _spend(self) -> bool:
        """Takes a retry of the budget; that of a retry which failed passes on to the next."""
        if not self._spent and not self._budget.try_spend():
            return False
        self._spent = True
        self._retries += 1
        return True

    def _give_back(self) -> None:
        if self._spent:
            self._spent = False
            self._budget.give_back()

    # On to another service

    def _go_on(self, now: float) -> Try[E] | Answer:
        failure = self._last()
        if not self._used_up() and self._falls_back(failure):
            place = self._next_place(self.rank + 1, now) or self._returning_place(self.rank + 1, now)
            if place is not None:
                return self._enter(place, failure.code, now)
        return self._answer(failure)

    def _better(self, now: float) -> Try[E] | Answer | None:
        """What promises more than waiting for a late first packet: somebody in rotation, not yet tried."""
        if LATE.kind not in self.route.fallback_on or self._used_up():
            return None
        command = self._sibling(LATE, now)
        if command is None:
            place = self._next_place(self.rank + 1, now)
            if place is None or isinstance(place[1], Skipped):
                return None
            command = self._enter(place, LATE.code, now)
        self._failure = LATE
        return command

    def _next_place(self, start: int, now: float) -> tuple[int, E | Skipped] | None:
        """The first service with an endpoint to pick, or that may not be passed over; None: all may be."""
        for rank in range(start, self._chooser.count):
            picked = self._chooser.pick(rank, NOBODY, now)
            if not isinstance(picked, Skipped) or not may_pass_over(picked, self.route.fallback_on):
                return rank, picked
        return None

    def _returning_place(self, start: int, now: float) -> tuple[int, Skipped] | None:
        """The first service passed over only because its return is thinned out, or by its adaptive limit."""
        for rank in range(start, self._chooser.count):
            picked = self._chooser.pick(rank, NOBODY, now)
            if isinstance(picked, Skipped) and (is_due(picked, now) or self._gives_way(rank, picked, now)):
                return rank, picked
        return None

    def _gives_way(self, rank: int, skipped: Skipped, now: float) -> bool:
        """An adaptive limit does, max_concurrency does not."""
        return skipped.reason == "overloaded" and self._chooser.due_first(rank, NOBODY, now) is not None

    def _enter(self, place: tuple[int, E | Skipped], reason: str, now: float) -> Try[E] | Answer:
        rank, endpoint = place
        if isinstance(endpoint, Skipped):
            stand_in = self._chooser.due_first(rank, NOBODY, now)
            if stand_in is None:
                return self._answer(self._failure or nobody(endpoint))
            endpoint = stand_in
        if rank == self.rank:
            return self._try(endpoint, None, None, now)
        left = self._chooser.service_name(self.rank)
        self._give_back()
        self.rank, self._tried, self._retries, self._pushback = rank, NOBODY, 0, False
        return self._try(endpoint, reason, left, now)

    def _falls_back(self, failure: Failure) -> bool:
        if (
            failure.kind is FailureKind.DEADLINE_EXCEEDED
        ):  # of its share; what is left was kept for the others
            return self._deadline is not None and not self.route.fallback_on.isdisjoint(TIMEOUT_WORDS)
        return not self.route.fallback_on.isdisjoint(fallback_words(failure))

    # Commands

    def _try(self, endpoint: E, reason: str | None, left: str | None, now: float) -> Try[E] | Answer:
        if not self._in_time(now):
            return self._answer(Failure(FailureKind.DEADLINE_EXCEEDED))
        self.number += 1
        self.state = State.TRYING
        self._endpoint = endpoint
        return Try(self.number, self.rank, endpoint, reason, left, self._share(now))

    def _wait(self, until: float) -> Wait:
        self.state = State.WAITING
        return Wait(until)

    def _answer(self, failure: Failure) -> Answer:
        self.state = State.ANSWERED
        self._give_back()
        return Answer(failure)

    # Facts

    def _present(self) -> E:
        assert self.state is State.TRYING, self.state
        assert self._endpoint is not None
        return self._endpoint

    def _last(self) -> Failure:
        assert self._failure is not None
        return self._failure

    def _used_up(self) -> bool:
        return self.number >= self.route.max_attempts

    def _in_time(self, moment: float) -> bool:
        return self._end is None or moment < self._end

    def _share(self, now: float) -> float | None:
        """Until when the present service may use the time that is left."""
        deadline = self._deadline
        if deadline is None or self.route.fallback_on.isdisjoint(TIMEOUT_WORDS):
            return deadline
        others = sum(self._chooser.usable(rank, now) for rank in range(self.rank + 1, self._chooser.count))
        candidates = 1 + min(others, self.route.max_attempts - self.number)
        return min(now + (deadline - now) / candidates, deadline)

    def _may_wait(self, until: float, now: float) -> bool:
        """Whether the present service's share of the time allows it, and there is somebody to wait for."""
        share = self._share(now)
        in_time = self._in_time(until) and (share is None or until < share)
        return in_time and self._present().key not in self._late


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
