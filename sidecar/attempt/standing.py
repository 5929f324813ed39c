"""Where one request stands: what has been tried, what time and credit is left, what may still be asked of whom.

In:      facts of its route; failures as they come; `now`.
Out:     answers about them. Nothing here is a decision: those are sidecar.attempt.plan's, which changes all of it.
Units:   monotonic seconds.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import Final, Generic

from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.credit import Credit
from sidecar.attempt.places import NOBODY, First
from sidecar.attempt.time_left import TimeLeft
from sidecar.choice import Chooser, E
from sidecar.failure import Failure, FailureKind, fallback_words, may_retry_same
from sidecar.policy.snapshot import Route

FOREVER: Final = TimeLeft(None, None)
TIMEOUT_WORDS: Final = frozenset(("first_packet_timeout", "response_timeout"))


class State(Enum):
    """Where a request is; data, so that a log line can show it."""

    NEW = "new"
    TRYING = "trying"
    WAITING = "waiting"
    COMMITTED = "committed"
    ANSWERED = "answered"
    ENDED = "ended"


# Looked up by name at every turn: of an Enum's class each look costs ten times as much.
NEW: Final = State.NEW
TRYING: Final = State.TRYING
WAITING: Final = State.WAITING
COMMITTED: Final = State.COMMITTED
ANSWERED: Final = State.ANSWERED
ENDED: Final = State.ENDED


def key_is_refused(failure: Failure) -> bool:
    return failure.kind is FailureKind.AUTH or failure.status == 429


class Standing(Generic[E]):
    """Of one request."""

    __slots__ = (
        "_budget",
        "_chooser",
        "_credit",
        "_endpoint",
        "_failure",
        "_hedge_budget",
        "_in_line",
        "_late",
        "_lost",
        "_other",
        "_pushback",
        "_retries",
        "_rng",
        "_time",
        "_tried",
        "_until",
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
        hedge_budget: RetryBudget | None = None,
    ) -> None:
        """`deadline`: the moment by which the app must have its answer, beside the deadline of the route."""
        self.route = route
        self.state = NEW
        self.number = 0  # attempts made
        self.rank = 0  # of the present service
        self._chooser = chooser
        self._budget = budget
        self._hedge_budget = hedge_budget
        self._credit: Credit | None = None  # until a retry or a hedge is wanted
        self._rng = rng
        self._time = FOREVER
        if route.deadline is not None or deadline is not None:
            self._time = TimeLeft(None if route.deadline is None else now + route.deadline, deadline)
        self._endpoint: E | None = None  # of the present or last attempt
        self._failure: Failure | None = None  # the last one
        self._late = NOBODY  # never again for this request
        self._tried = NOBODY  # in the present service
        self._retries = 0  # in the present service
        self._lost: int | None = None  # rank of a hedge that failed: to go there is to retry
        self._pushback = False  # a 429 of the present service has been waited for
        self._until = now  # when the last Wait is over
        self._other: First[E] | None = None  # while two attempts run: the one that is not the present one
        self._in_line: tuple[str | None, str | None] = (
            None,
            None,
        )  # reason and service left, while in a line

    def _spending(self) -> Credit:
        if self._credit is None:
            self._credit = Credit(self._budget, self._hedge_budget)
        return self._credit

    def _present(self) -> E:
        assert self.state is TRYING, self.state
        assert self._endpoint is not None
        return self._endpoint

    def _last(self) -> Failure:
        assert self._failure is not None
        return self._failure

    def _used_up(self) -> bool:
        return self.number >= self.route.max_attempts

    def _share(self, now: float) -> float | None:
        """Until when the present service may use the time that is left."""
        deadline = self._time.deadline
        if deadline is None or self.route.fallback_on.isdisjoint(TIMEOUT_WORDS):
            return deadline
        others = sum(self._chooser.usable(rank, now) for rank in range(self.rank + 1, self._chooser.count))
        candidates = 1 + min(others, self.route.max_attempts - self.number)
        return self._time.share(candidates, now)

    def _may_wait(self, until: float, now: float) -> bool:
        """Whether the present service's share of the time allows it, and there is somebody to wait for."""
        share = self._share(now)
        in_time = self._time.allows(until) and (share is None or until < share)
        return in_time and self._present().key not in self._late

    def _falls_back(self, failure: Failure) -> bool:
        if (
            failure.kind is FailureKind.DEADLINE_EXCEEDED
        ):  # of its share; what is left was kept for the others
            return self._time.deadline is not None and not self.route.fallback_on.isdisjoint(TIMEOUT_WORDS)
        return not self.route.fallback_on.isdisjoint(fallback_words(failure))

    def _may_retry(self) -> bool:
        return self._retries < self.route.retries_per_service and not self._used_up()

    def _spend(self) -> bool:
        if self._spending().spend_retry():
            self._retries += 1
            return True
        return False

    def _may_ask_again(self, failure: Failure) -> bool:
        """Whether what failed so in the present service may be asked once more."""
        return self.route.retries_per_service > 0 and (
            may_retry_same(failure) or (key_is_refused(failure) and self._chooser.has_other_keys(self.rank))
        )
