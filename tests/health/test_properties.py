"""What holds on every timeline: random traffic, probes, hands and policies under invented time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.health.events import (
    Ejected,
    EndpointAdded,
    EndpointRemoved,
    HealthEvent,
    Probation,
    ProbeChanged,
    Returned,
    ServiceRecovered,
    ServiceUnavailable,
)
from sidecar.health.ledger import EndpointHealth, Ledger
from sidecar.policy.snapshot import ActiveHealth, PassiveHealth
from sidecar.terms import EndpointKey
from tests.health.script import SERVICE, key, service_of

NAMES = "abcde"
BY_RULES = ("consecutive_failures", "failure_percentage", "probation_failed")

# Quarters of a second and powers of two are exact in floats, so the slow model may count in whole steps.
policies = st.builds(
    PassiveHealth,
    failure_percentage_threshold=st.sampled_from((0.0, 50.0, 100.0)),
    interval=st.sampled_from((0.5, 1.0, 4.0)),
    minimum_requests=st.integers(1, 4),
    window=st.sampled_from((2.5, 10.0)),
    consecutive_failures=st.integers(0, 3),
    base_ejection_time=st.sampled_from((0.5, 3.0)),
    max_ejection_time=st.sampled_from((3.0, 8.0)),
    ejection_jitter=st.just(0.0),
    max_ejection_percent=st.sampled_from((0.0, 20.0, 50.0, 100.0)),
    probation_requests=st.integers(0, 2),
    ramp=st.sampled_from((0.0, 4.0)),
    enforce=st.just(True),
)
names = st.sampled_from(NAMES)
verdicts = st.sampled_from((Verdict.FAILURE, Verdict.FAILURE, Verdict.SUCCESS, Verdict.IGNORABLE))
steps = st.one_of(
    st.tuples(st.just("start"), names),
    st.tuples(st.just("start"), names),
    st.tuples(
        st.just("finish"), st.integers(0, 9), verdicts, st.sampled_from((None, None, None, 0.0, 2.0, 60.0))
    ),
    st.tuples(st.just("finish"), st.integers(0, 9), verdicts, st.none()),
    st.tuples(st.just("packet"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("probe"), names, st.booleans()),
    st.tuples(st.just("eject"), names, st.sampled_from((None, 1.0))),
    st.tuples(st.just("restore"), names),
    st.tuples(st.just("list"), st.lists(names, max_size=5)),
)
timelines = st.lists(st.tuples(st.integers(0, 8), steps), max_size=80)


@dataclass
class Told:
    """One endpoint as somebody knows it who has only heard events, plus k by counting intervals one by one."""

    ejected: bool = False
    ejected_until: float | None = None
    cooling_until: float | None = None
    probation: bool = False
    probes_pass: bool = True
    k: int = 0
    good_until: float | None = None  # end of the present interval of good health
    changes: int = 0  # of passive health's mind

    @property
    def out(self) -> bool:
        return self.ejected or self.cooling_until is not None or not self.probes_pass or self.probation

    def state(self) -> str:
        if self.ejected:
            return "ejected"
        if self.cooling_until is not None:
            return "cooling"
        if not self.probes_pass:
            return "probe_failed"
        return "probation" if self.probation else "available"


@dataclass
class World:
    """A ledger, and beside it what its events alone tell."""

    passive: PassiveHealth
    listed: str
    now: float = 0.0
    told: dict[EndpointKey, Told] = field(default_factory=dict)
    service_up: bool = True
    flying: list[tuple[EndpointHealth, int, int, Told, float]] = field(default_factory=list)
    answering: set[float] = field(
        default_factory=set
    )  # when those began whose first packet was there, or late

    def __post_init__(self) -> None:
        self.ledger = Ledger(Random(3))
        active = ActiveHealth(unhealthy_threshold=1, healthy_threshold=1)
        self.service = replace(service_of("", self.passive), active_health=active)
        self.hear(self.ledger.configure({SERVICE: self.service}, 0.0))
        self.relist(self.listed)

    def relist(self, listed: str) -> None:
        self.hear(self.ledger.set_endpoints(SERVICE, [key(name).address for name in listed], self.now))

    def play(self, seconds: float, step: tuple[object, ...]) -> None:
        self.pass_time(self.now + seconds)
        match step:
            case "start", str(name) if key(name) in self.told:
                endpoint = next(e for e in self.ledger.endpoints(SERVICE) if e.key == key(name))
                told = self.told[key(name)]
                self.pass_time(self.now + 2.0**-20)  # no two attempts begin at one moment
                era = self.ledger.started(endpoint, self.now)
                self.flying.append((endpoint, era, told.changes, told, self.now))
            case "packet", int(place), bool(in_time) if self.flying:
                self.packet(place, in_time=in_time)
            case "finish", int(place), Verdict() as verdict, (None | float()) as retry_after if self.flying:
                self.finish(place, verdict, retry_after)
            case "probe", str(name), bool(passed):
                self.hear(self.ledger.probed(key(name), passed, "…", self.now))
            case "eject", str(name), (None | float()) as duration if key(name) in self.told:
                self.hear(self.ledger.eject(key(name), duration, self.now))
            case "restore", str(name) if key(name) in self.told:
                self.hear(self.ledger.restore(key(name), self.now))
                told = self.told[key(name)]
                told.k, told.good_until, told.changes = 0, self.now + self.passive.interval, told.changes + 1
            case "list", list(listed):
                self.relist("".join(str(name) for name in listed))
        self.check()

    def packet(self, place: int, *, in_time: bool) -> None:
        endpoint, _, _, _, began = self.flying[place % len(self.flying)]
        if began in self.answering:
            return
        self.answering.add(began)
        if in_time:
            self.hear(self.ledger.on_time(endpoint, began, self.now))
        else:
            self.ledger.late(endpoint, began, self.now)

    def finish(self, place: int, verdict: Verdict, retry_after: float | None) -> None:
        endpoint, era, changes, told, began = self.flying.pop(place % len(self.flying))
        speaks = changes == told.changes and not told.ejected and not told.probation
        if speaks and verdict is Verdict.FAILURE and told.good_until is not None:
            self.count_good_intervals(told)
            told.good_until = self.now + self.passive.interval
        self.hear(self.ledger.finished(endpoint, verdict, self.now, retry_after, era, began=began))

    def pass_time(self, until: float) -> None:
        """Wakes the ledger at each of its deadlines, as the waker does."""
        while (deadline := self.ledger.next_deadline()) is not None and deadline <= until:
            assert deadline >= self.now
            self.now = deadline
            self.hear(self.ledger.advance(deadline))
            after = self.ledger.next_deadline()
            assert after is None or after > deadline, "the waker would spin"
        self.now = until
        assert self.ledger.advance(until) == []

    def hear(self, events: Sequence[HealthEvent]) -> None:
        for told in self.told.values():
            self.count_good_intervals(told)
        for event in events:
            match event:
                case EndpointAdded(who):
                    self.told[who] = Told(good_until=self.now + self.passive.interval)
                case EndpointRemoved(who):
                    del self.told[who]
                case ServiceUnavailable():
                    assert self.service_up, "told twice"
                    self.service_up = False
                case ServiceRecovered():
                    assert not self.service_up, "told twice"
                    self.service_up = True
                case Ejected(who):
                    self.hear_ejection(self.told[who], event)
                case Probation(who):
                    told = self.told[who]
                    told.ejected, told.probation, told.changes = False, True, told.changes + 1
                case Returned(who, reason):
                    self.hear_return(self.told[who], reason)
                case ProbeChanged(who, healthy):
                    self.hear_probe(self.told[who], healthy=healthy)

    def hear_ejection(self, told: Told, event: Ejected) -> None:
        assert event.enforced
        if event.reason == "retry_after":
            told.cooling_until = event.until
            assert event.until is not None
            assert event.until - self.now <= self.passive.max_ejection_time
            return
        assert event.reason == "manual" or not told.ejected, "ejected twice"
        if event.reason in BY_RULES:
            self.check_share_limit(told)
        if event.reason != "manual":
            told.k += 1
            length = min(self.passive.base_ejection_time * told.k, self.passive.max_ejection_time)
            assert event.until == self.now + length
        assert event.multiplier == told.k
        told.ejected, told.ejected_until, told.probation, told.good_until = True, event.until, False, None
        told.changes += 1

    def hear_return(self, told: Told, reason: str) -> None:
        if reason in ("retry_after_ended", "manual"):
            told.cooling_until = None
        if reason != "retry_after_ended":
            told.ejected = told.probation = False
            told.good_until = self.now + self.passive.interval if told.probes_pass else None
            told.changes += reason != "probation_passed"

    def hear_probe(self, told: Told, *, healthy: bool) -> None:
        told.probes_pass = healthy
        if not healthy:
            told.good_until = None
        elif not told.ejected and not told.probation:
            told.good_until, told.changes = self.now + self.passive.interval, told.changes + 1

    def count_good_intervals(self, told: Told) -> None:
        while told.good_until is not None and told.good_until <= self.now:
            told.k, told.good_until = max(0, told.k - 1), told.good_until + self.passive.interval

    def check_share_limit(self, leaving: Told) -> None:
        others = sum(told.out for told in self.told.values() if told is not leaving)
        assert self.passive.max_ejection_percent > 0
        assert others == 0 or (others + 1) * 100 <= self.passive.max_ejection_percent * len(self.told)

    def check(self) -> None:
        """Statuses say what the events said, and what the attempts in flight add up to."""
        statuses = self.ledger.statuses(self.now)
        assert {EndpointKey(s.service, s.endpoint) for s in statuses} == self.told.keys()
        for status in statuses:
            who = EndpointKey(status.service, status.endpoint)
            told = self.told[who]
            self.count_good_intervals(told)
            assert status.state.replace("ramp", "available") == told.state()
            assert status.ejection_multiplier == told.k
            assert status.in_flight == sum(
                endpoint.key == who and seen is told for endpoint, _, _, seen, _ in self.flying
            )
            assert status.since <= self.now
            if status.state == "ejected":
                assert status.until == told.ejected_until
            if status.state == "cooling":
                assert status.until == told.cooling_until
        up = any(not told.out for told in self.told.values())
        assert self.ledger.service_available(SERVICE, self.now) is up
        assert self.service_up is up or (self.service_up and not self.told)


@settings(max_examples=300, deadline=None)
@given(policies, st.sampled_from((NAMES[:1], NAMES[:2], NAMES)), timelines)
def test_events_alone_tell_the_whole_state(
    passive: PassiveHealth, listed: str, timeline: list[tuple[int, tuple[object, ...]]]
) -> None:
    """A watcher who has heard every event knows what the ledger knows: state, ends, k, limits."""
    world = World(passive, listed)
    for quarters, step in timeline:
        world.play(quarters / 4, step)


@pytest.mark.parametrize("seed", range(40))
def test_events_alone_tell_the_whole_state_after_an_hour_of_faults(seed: int) -> None:
    """Long stories reach what short ones do not: high k, several facts at once, old streams."""
    rng = Random(seed)
    passive = PassiveHealth(
        interval=rng.choice((0.5, 4.0)),
        consecutive_failures=rng.choice((0, 1, 3)),
        base_ejection_time=3.0,
        max_ejection_time=16.0,
        ejection_jitter=0.0,
        max_ejection_percent=rng.choice((50.0, 100.0)),
        probation_requests=rng.choice((0, 1, 2)),
        ramp=4.0,
    )
    world = World(passive, NAMES[: rng.choice((1, 2, 5))])
    for _ in range(500):
        world.play(rng.randrange(60) / 4, random_step(rng))
        if len(world.flying) > 30:
            world.finish(0, Verdict.FAILURE, None)
    assert world.now > 3000.0


def random_step(rng: Random) -> tuple[object, ...]:
    verdict = rng.choice((Verdict.FAILURE, Verdict.FAILURE, Verdict.SUCCESS, Verdict.IGNORABLE))
    finish = ("finish", rng.randrange(10), verdict, rng.choice((None,) * 9 + (2.0, 60.0)))
    kinds: list[tuple[object, ...]] = [
        ("start", rng.choice(NAMES)),
        finish,
        ("packet", rng.randrange(10), rng.random() < 0.7),
        ("probe", rng.choice(NAMES), rng.random() < 0.6),
        ("eject", rng.choice(NAMES), rng.choice((None, 5.0))),
        ("restore", rng.choice(NAMES)),
        ("list", rng.sample(NAMES, rng.randrange(1, 6))),
    ]
    return rng.choices(kinds, weights=(40, 40, 20, 12, 2, 4, 2))[0]


@settings(max_examples=100, deadline=None)
@given(policies, st.sampled_from((NAMES[:1], NAMES[:2], NAMES)), timelines)
def test_every_ejection_ends_once_time_and_a_good_request_have_passed(
    passive: PassiveHealth, listed: str, timeline: list[tuple[int, tuple[object, ...]]]
) -> None:
    """Only failing probes and an operator without a time limit may keep an endpoint out for ever."""
    world = World(passive, listed)
    for quarters, step in timeline:
        if step[0] != "eject" or step[2] is not None:
            world.play(quarters / 4, step)
    while world.flying:
        world.finish(0, Verdict.IGNORABLE, None)
    for name in NAMES:
        world.play(0.0, ("probe", name, True))
    world.pass_time(world.now + 100.0)
    for _ in range(2):
        for name in NAMES:
            world.play(0.0, ("start", name))
            if world.flying:
                world.finish(0, Verdict.SUCCESS, None)
    world.pass_time(world.now + 100.0)
    world.check()
    assert {status.state for status in world.ledger.statuses(world.now)} <= {"available"}
    assert world.ledger.next_deadline() is None


@settings(max_examples=100, deadline=None)
@given(policies, timelines)
def test_without_enforcement_every_endpoint_stays_in_rotation(
    passive: PassiveHealth, timeline: list[tuple[int, tuple[object, ...]]]
) -> None:
    """Whatever traffic says, passive health only talks."""
    ledger = Ledger(Random(3))
    ledger.configure({SERVICE: service_of(NAMES, replace(passive, enforce=False))}, 0.0)
    flying: list[tuple[EndpointHealth, int]] = []
    now = 0.0
    for quarters, step in timeline:
        now += quarters / 4
        events = ledger.advance(now)
        match step:
            case "start", str(name):
                endpoint = ledger.endpoints(SERVICE)[NAMES.index(name)]
                flying.append((endpoint, ledger.started(endpoint, now)))
            case "finish", int(place), Verdict() as verdict, (None | float()) as retry_after if flying:
                endpoint, era = flying.pop(place % len(flying))
                events += ledger.finished(endpoint, verdict, now, retry_after, era)
        assert all(isinstance(event, Ejected) and not event.enforced for event in events)
        assert all(endpoint.available(now) for endpoint in ledger.endpoints(SERVICE))
