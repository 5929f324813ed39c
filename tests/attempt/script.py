"""Scripts of a request: time on the left, what happens in the middle, the expected command on the right.

    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect("try 2 vendor/v for first_packet_timeout after own")
        .over()
    )

Every command has to be expected, and so has silence: `expect()`. Keyword arguments are the route's services in
order with their endpoints, one letter each. The invented dice always fall half-way.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Self

from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.plan import Answer, Drop, Plan, Queue, Try, Wait
from sidecar.failure import Failure, FailureKind
from sidecar.frozen import replace
from sidecar.policy.snapshot import RetryBudget as BudgetPolicy
from sidecar.policy.snapshot import Route, WaitingLine
from tests.route.spot import Spot, candidates, spot

Command = Try[Spot] | Wait | Queue | Drop | Answer | None
Event = Callable[["Script", float], Command]

DEFAULT_FALLBACK_ON = frozenset(
    {
        *(
            "connect_failure",
            "reset",
            "bad_response",
            "first_packet_timeout",
            "response_timeout",
            "5xx",
            "429",
        ),
        *("in_stream_error", "empty_stream", "overloaded", "unhealthy", "context_length", "auth"),
    }
)


class Halfway(Random):
    """Dice that always fall half-way."""

    def random(self) -> float:
        return 0.5


class Script:
    """One request under one route."""

    def __init__(self, **services: str) -> None:
        self.route = Route("/v1#0", tuple(services), fallback_on=DEFAULT_FALLBACK_ON)
        self.spots = {
            name: [spot(f"{name}/{letter}") for letter in letters] for name, letters in services.items()
        }
        self.limits: dict[str, int] = {}
        self.lines: dict[str, WaitingLine] = {}
        self.hedges: RetryBudget | None = None
        self.budget = RetryBudget(BudgetPolicy())
        self._held_by_others = 0
        self._hedges_of_others = 0
        self._app_gives_up: float | None = None
        self._plan: Plan[Spot] | None = None
        self._told: list[str] = []
        self._unexpected: str | None = None

    def under(self, **route_fields: object) -> Self:
        """Changes the route before the request begins; `fallback_on` may be written as one string."""
        words = route_fields.get("fallback_on")
        if isinstance(words, str):
            route_fields["fallback_on"] = frozenset(words.split())
        self.route = replace(self.route, **route_fields)
        return self

    def limited(self, **limits: int) -> Self:
        """Sets max_concurrency by service."""
        self.limits = limits
        return self

    def with_line(self, name: str, *, length: int, timeout: float) -> Self:
        """A service has a waiting line."""
        self.lines[name] = WaitingLine(length, timeout)
        return self

    def hedging(self, *, taken: int = 0) -> Self:
        """One hedge at a time; other requests hold so many."""
        self.hedges = RetryBudget(BudgetPolicy(0.0, 1))
        self.hedges.retries = self._hedges_of_others = taken
        return self

    def app_gives_up(self, at: float) -> Self:
        """By then the app must have its answer."""
        self._app_gives_up = at
        return self

    def with_retries_spent(self, count: int) -> Self:
        """Other requests hold that many retries of the budget."""
        self.budget.retries = self._held_by_others = count
        return self

    @property
    def plan(self) -> Plan[Spot]:
        if self._plan is None:
            rng = Halfway()
            chooser = candidates(self.route, self.spots, rng, self.limits, self.lines)
            self._plan = Plan(
                self.route,
                chooser,
                self.budget,
                rng,
                0.0,
                deadline=self._app_gives_up,
                hedge_budget=self.hedges,
            )
        return self._plan

    def find(self, name: str) -> Spot:
        return next(s for spots in self.spots.values() for s in spots if str(s) == name)

    def at(self, now: float, event: Event) -> Self:
        self._all_was_expected()
        shown = tell(event(self, now))
        self._told.append(f"{now:g} {getattr(event, '__name__', event)}: {shown or 'silence'}")
        self._unexpected = shown
        return self

    def expect(self, command: str = "") -> Self:
        story = "\n".join(self._told)
        assert self._unexpected == command, f"expected {command or 'silence'!r} at the end of\n{story}"
        self._unexpected = None
        return self

    def over(self) -> None:
        """The end of the script: the request is over and has given back what it took."""
        self._all_was_expected()
        self.plan.ended()
        assert (self.budget.active, self.budget.retries) == (0, self._held_by_others)
        if self.hedges is not None:
            assert (self.hedges.active, self.hedges.retries) == (0, self._hedges_of_others)

    def _all_was_expected(self) -> None:
        assert self._unexpected is None, "nothing was expected of\n" + "\n".join(self._told)


def tell(command: Command) -> str:
    """A command in words, every field of it."""
    match command:
        case Try():
            words = [f"try {command.number} {command.endpoint}"]
            words += [f"for {command.reason}"] if command.reason else []
            words += [f"after {command.fallback_from}"] if command.fallback_from else []
            words += [f"until {command.deadline:g}"] if command.deadline is not None else []
            return " ".join(words)
        case Wait(until):
            return f"wait until {until:g}"
        case Queue(_, until):
            return f"stand in line until {until:g}"
        case Drop():
            return "drop"
        case Answer(failure):
            return f"answer {failure.code}"
        case None:
            return ""


def begin(script: Script, now: float) -> Command:
    return script.plan.begin(now)


def late(script: Script, now: float) -> Command:
    return script.plan.late(now)


def late_one(number: int) -> Event:
    """That of two attempts is late."""

    def event(script: Script, now: float) -> Command:
        return script.plan.late(now, number)

    event.__name__ = f"late({number})"
    return event


def slow(script: Script, now: float) -> Command:
    return script.plan.slow(now)


def in_turn(script: Script, now: float) -> Command:
    return script.plan.in_turn(now)


def waited_enough(script: Script, now: float) -> Command:
    return script.plan.waited_enough(now)


def woke(script: Script, now: float) -> Command:
    return script.plan.woke(now)


def out_of_time(script: Script, now: float) -> Command:
    return script.plan.out_of_time()


def committed(script: Script, now: float) -> Command:
    script.plan.committed()
    return None


def failed(
    kind: str, number: int | None = None, *, retry_after: float | None = None, silent: bool = False
) -> Event:
    """The attempt, or that of two, failed: `503` is a status, any other word a kind."""
    failure = (
        Failure(FailureKind.STATUS, int(kind), retry_after)
        if kind.isdigit()
        else Failure(FailureKind(kind), silent=silent)
    )

    def event(script: Script, now: float) -> Command:
        return script.plan.failed(failure, now, number)

    event.__name__ = f"failed({kind})"
    return event


def changed(name: str, **facts: float) -> Event:
    """An endpoint's health or load is another now."""

    def event(script: Script, now: float) -> Command:
        for fact, value in facts.items():
            setattr(script.find(name), fact, value)
        return None

    event.__name__ = f"changed({name}, {facts})"
    return event
