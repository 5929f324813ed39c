"""Whatever goes wrong, in whatever order: what holds for every plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.plan import Answer, Plan, State, Try, Wait
from sidecar.failure import Failure, FailureKind
from sidecar.policy.snapshot import RetryBudget as BudgetPolicy
from sidecar.policy.snapshot import Route
from tests.attempt.script import DEFAULT_FALLBACK_ON, Command
from tests.route.spot import Spot, candidates, spot

SERVICES = ("own", "vendor", "other")

kinds = st.sampled_from([kind for kind in FailureKind if kind is not FailureKind.STATUS])
statuses = st.sampled_from([400, 401, 404, 429, 500, 503, 529])
waits = st.none() | st.floats(0.0, 10.0)
failures = st.builds(Failure, kinds) | st.builds(Failure, st.just(FailureKind.STATUS), statuses, waits)
words = st.frozensets(st.sampled_from(sorted(DEFAULT_FALLBACK_ON | {"404", "content_filter"})))

routes = st.builds(
    Route,
    name=st.just("/v1#0"),
    services=st.integers(1, 3).map(lambda count: SERVICES[:count]),
    fallback_on=st.just(DEFAULT_FALLBACK_ON) | words,
    max_attempts=st.integers(1, 6),
    retries_per_service=st.integers(0, 3),
    deadline=st.none() | st.floats(0.01, 20.0),
    wait_for_retry_after=st.just(0.0) | st.floats(0.0, 10.0),
    retry_budget=st.builds(BudgetPolicy, st.just(20.0), st.integers(0, 3)),
    cut_last=st.booleans(),
)
places = st.lists(
    st.builds(lambda until, busy: (until, busy), st.sampled_from([0.0, 0.0, 5.0]), st.integers(0, 3)),
    max_size=3,
)
# What happens next: how much later, which endpoint has a new `until`, and which failure comes; None: lateness.
steps = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.integers(0, 8), st.floats(0.0, 30.0), st.none() | failures), max_size=12
)


@dataclass
class Story:
    """One request driven to its end, and every attempt of it."""

    route: Route
    endpoints: dict[str, list[Spot]]
    seed: int
    now: float = 0.0
    attempts: list[Try[Spot]] = field(default_factory=list)
    late: list[Spot] = field(default_factory=list)
    answer: Answer | None = None

    def __post_init__(self) -> None:
        rng = Random(self.seed)
        self.budget = RetryBudget(self.route.retry_budget)
        self.plan = Plan(self.route, candidates(self.route, self.endpoints, rng), self.budget, rng, self.now)

    def run(self, happenings: list[tuple[float, int, float, Failure | None]]) -> None:
        self.take(self.plan.begin(self.now))
        for passed, which, until, failure in happenings:
            if self.plan.state is not State.TRYING:
                break
            self.now += passed
            self.turn_health(which, until)
            if failure is None:
                self.late.append(self.attempts[-1].endpoint)
                self.take(self.plan.late(self.now))
            else:
                self.take(self.plan.failed(failure, self.now))

    def turn_health(self, which: int, until: float) -> None:
        everyone = [one for name in self.route.services for one in self.endpoints[name]]
        if everyone:
            everyone[which % len(everyone)].until = until

    def take(self, command: Command) -> None:
        match command:
            case Try():
                assert command.endpoint not in self.late, "a late endpoint is never tried again"
                self.attempts.append(command)
            case Wait(until):
                assert until >= self.now
                assert self.route.deadline is None or until < self.route.deadline
                self.now = until
                self.take(self.plan.woke(self.now))
            case Answer():
                assert self.answer is None
                self.answer = command
            case None:
                assert not self.route.cut_last, "with cut_last there is no carrying on"


@st.composite
def stories(draw: st.DrawFn) -> Story:
    route = draw(routes)
    endpoints = {
        name: [
            spot(f"{name}/{i}", until=until, in_flight=busy) for i, (until, busy) in enumerate(draw(places))
        ]
        for name in route.services
    }
    story = Story(route, endpoints, draw(st.integers(0, 2**32)))
    story.run(draw(steps))
    return story


@given(stories())
def test_attempts_are_numbered_from_one_and_never_exceed_max_attempts(story: Story) -> None:
    """Numbers are what spans and records are told apart by."""
    numbers = [attempt.number for attempt in story.attempts]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= story.route.max_attempts


@given(stories())
def test_ranks_never_go_back_and_a_step_down_is_told_as_a_fallback(story: Story) -> None:
    """The order of services is the order of preference; every move shows in events and metrics."""
    before = 0
    for attempt in story.attempts:
        assert attempt.rank >= before
        left = story.route.services[before] if attempt.rank > before else None
        assert attempt.fallback_from == left
        assert (attempt.reason is None) == (attempt.number == 1 and attempt.rank == 0)
        assert attempt.endpoint.key.service == story.route.services[attempt.rank]
        before = attempt.rank


@given(stories())
def test_no_service_gets_more_than_its_retries(story: Story) -> None:
    """One more may come from a 429 that was waited for."""
    waited = 1 if story.route.wait_for_retry_after > 0 else 0
    for rank in range(len(story.route.services)):
        attempts = [attempt for attempt in story.attempts if attempt.rank == rank]
        assert len(attempts) <= 1 + story.route.retries_per_service + waited


@given(stories())
def test_no_attempt_begins_after_the_deadline_or_may_pass_it(story: Story) -> None:
    """The app's patience is one for all attempts."""
    for attempt in story.attempts:
        if story.route.deadline is None:
            assert attempt.deadline is None
        else:
            assert attempt.deadline is not None
            assert 0.0 < attempt.deadline <= story.route.deadline


@given(stories())
def test_a_plan_asks_at_least_once_where_an_endpoint_is_free(story: Story) -> None:
    """Ejection alone never refuses a request."""
    if any(story.endpoints[name] for name in story.route.services) and "unhealthy" in story.route.fallback_on:
        assert story.attempts


@given(stories(), failures)
def test_every_plan_ends_and_gives_back_what_it_took(story: Story, last: Failure) -> None:
    """Whatever fails for ever, attempts run out."""
    for _ in range(story.route.max_attempts + 1):
        if story.plan.state is State.TRYING:
            story.take(story.plan.failed(last, story.now))
    assert story.plan.state is State.ANSWERED
    assert story.answer is not None
    assert story.budget.retries == 0
    story.plan.ended()
    story.plan.ended()
    assert (story.budget.active, story.budget.retries) == (0, 0)


@given(stories())
def test_a_request_that_is_left_in_the_middle_gives_back_what_it_took(story: Story) -> None:
    """The app may hang up at any moment."""
    story.plan.ended()
    assert (story.budget.active, story.budget.retries) == (0, 0)
