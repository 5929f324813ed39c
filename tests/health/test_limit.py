"""Rules of the adaptive limit, as scripts with invented time, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.health.limit import (
    BETA,
    EARNED,
    FRESH,
    LONGEST_GAP,
    LONGEST_RECOVERY,
    MOST_PRESSURE,
    RECOVERY,
    SHORTEST_RECOVERY,
    START,
    USUAL,
    Limit,
)

TIMEOUT = 0.2
FLAT = RECOVERY * TIMEOUT  # seconds from a cut to the flat stretch


class Fixed(Random):
    """Chance at its mean: gaps have their plain length, and half an attempt is let in half the time."""

    def random(self) -> float:
        return 0.5


@dataclass
class Script:
    """A service with a limit: attempts begin when it allows them."""

    limit: Limit = field(default_factory=lambda: Limit(TIMEOUT, Fixed(), cancels=True))
    in_flight: int = 0
    now: float = 0.0

    def at(self, now: float) -> Self:
        assert now >= self.now
        self.now = now
        return self

    def begins(self, times: int = 1) -> Self:
        for _ in range(times):
            assert self.limit.allows(self.in_flight, self.now), f"refused beside {self.in_flight}"
            self.begins_anyway()
        return self

    def begins_anyway(self) -> Self:
        """Where there is nowhere else to go."""
        self.limit.began(self.now)
        self.in_flight += 1
        return self

    def refuses(self) -> Self:
        assert not self.limit.allows(self.in_flight, self.now), f"allowed beside {self.in_flight}"
        return self

    def packet(self, began: float) -> Self:
        self.limit.on_time(began, self.in_flight)
        return self

    def late(self, began: float) -> Self:
        """Late and given up."""
        self.limit.late(began, self.in_flight, self.now)
        self.limit.gave_up(self.now)
        self.in_flight -= 1
        return self

    def ends(self, times: int = 1) -> Self:
        self.in_flight -= times
        return self

    def holds(self, limit: float) -> Self:
        assert self.limit.at(self.now) == pytest.approx(limit)
        return self


def full(count: int) -> Script:
    """So many in flight on a server that has proven to bear them."""
    script = Script()
    while script.in_flight < count:
        script.begins(min(count - script.in_flight, int(script.limit.at(0.0)) - script.in_flight))
        script.packet(0.0)
    return script


def test_a_cold_start_is_limited_to_what_any_server_bears() -> None:
    """A burst must not kill a server that nobody knows anything about."""
    Script().begins(int(START)).refuses()


def test_what_is_proven_may_be_doubled() -> None:
    """While nothing is late nothing limits for long: the limit doubles with every answer."""
    script = Script().begins(16).packet(0.0).holds(32).begins(16).packet(0.0).holds(64).begins(32)
    script.packet(0.0).holds(128)


def test_whole_answers_without_a_stream_earn_places_slowly() -> None:
    """A batch job of a hundred at a time must not be held at sixteen for ever, and a GPU must not drown unseen."""
    limit, rounds = Limit(TIMEOUT, Fixed(), cancels=True), 0
    while (places := int(limit.at(0.0))) < 100:
        for _ in range(places):
            limit.ended(0.0, places, 2.0, well=True)
        rounds += 1
    assert 10 <= rounds <= 20


def test_answers_that_leave_the_limit_unused_earn_nothing() -> None:
    """What was not in flight has not been borne."""
    limit = Limit(TIMEOUT, Fixed(), cancels=True)
    for _ in range(1000):
        limit.ended(0.0, int(START) // 2, 2.0, well=True)
    assert limit.at(0.0) == START


def test_after_a_cut_only_first_packets_and_time_bring_places_back() -> None:
    """It was a first packet that said that there were too many."""
    script = full(10).at(1.0).late(0.9).holds(8)
    for _ in range(100):
        script.limit.ended(0.0, 10, 2.0, well=True)
    script.holds(8)


def test_what_is_not_used_does_not_grow() -> None:
    """A quiet night proves nothing about the morning's burst."""
    script = Script()
    for second in range(10_000):
        script.at(float(second)).begins().packet(float(second)).ends()
    script.holds(START)


def test_a_late_first_packet_cuts_to_a_share_of_what_was_in_use() -> None:
    """Not of the limit, which may be far above what the server had to bear."""
    full(20).at(0.2).late(0.1).holds(BETA * 20)


def test_attempts_that_began_before_a_cut_cut_no_further() -> None:
    """They met the same congestion, so a burst of late ones is one cut: at most one a first-packet timeout."""
    script = full(20).at(0.2).late(0.1)
    script.at(0.25).late(0.15).late(0.2)
    assert script.limit.at(0.25) > BETA * 20
    script.at(0.45).late(0.22).holds(BETA * 17)


def test_after_a_cut_it_is_flat_near_the_old_use_and_then_faster() -> None:
    """CUBIC's curve: back soon, careful where it went wrong, then looking for more."""
    script = full(10).at(0.2).late(0.1).holds(8)
    cut = 0.2
    script.at(cut + FLAT / 2).holds(10 - 2 / 8)
    script.at(cut + FLAT).holds(10)
    script.at(cut + FLAT * 1.5).holds(10 + 2 / 8)
    script.at(cut + FLAT * 2).holds(12)
    script.at(cut + 100 * FLAT).holds(START)  # and then no further than what is proven


def test_first_packets_in_time_earn_what_time_alone_would_take_long_to_bring() -> None:
    """With a timeout of 30 s time says nothing for a minute; four answers in time at a limit of two say much."""
    script = full(3)
    script.limit.timeout = 30.0
    script.at(1.0).late(0.5).holds(3 * BETA)
    earned = 3 * BETA
    for second in range(2, 6):
        script.at(float(second)).packet(second - 0.1)
        earned += EARNED / earned
    script.holds(earned)
    assert earned > 3.0


def test_first_packets_of_attempts_from_before_the_cut_earn_nothing() -> None:
    """They were let in by the limit that was too high."""
    script = full(3).at(1.0).late(0.5)
    script.at(1.1).packet(0.6)
    assert script.limit.at(1.1) < 3.0


def test_a_limit_that_has_recovered_begins_to_double_again() -> None:
    """The cut is forgotten, what was borne before it is not."""
    script = full(40).at(0.2).late(0.1).ends(39)
    for number in range(3):
        script.at(10.0 + number).begins().packet(script.now).ends()
    script.at(1000.0).holds(40).begins().holds(40)
    script.begins(39).refuses().packet(1000.0).holds(80)


def test_a_small_limit_grows_by_whole_attempts() -> None:
    """A fifth of one is nothing; one request a second has to have its second place back soon."""
    script = Script().begins().at(0.2).late(0.0).holds(1)
    script.at(0.2 + 2 * FLAT).holds(2)


@pytest.mark.parametrize(
    ("timeout", "recovery"), [(0.01, SHORTEST_RECOVERY), (0.2, FLAT), (30.0, LONGEST_RECOVERY)]
)
def test_recovery_goes_with_the_timeout(timeout: float, recovery: float) -> None:
    """What takes long to be noticed must not be approached fast; what never comes back is no use either."""
    script = full(10)
    script.limit.timeout = timeout
    script.at(timeout).late(0.001).at(timeout + recovery).holds(10)


def test_one_attempt_is_always_within_the_limit() -> None:
    """A limit below 1 would never find out that the server is well again."""
    script = Script()
    for round in range(20):
        began = round * 60.0
        script.at(began).begins().at(began + TIMEOUT).late(began)
    script.at(2000.0).begins()


def test_a_fraction_lets_one_more_in_for_a_part_of_the_time() -> None:
    """7.3 is between 7 and 8."""
    limit = Limit(TIMEOUT, Random(3), cancels=True)
    for _ in range(9):
        limit.began(0.0)
    limit.on_time(0.0, 9)
    limit.late(0.0, 9, 0.2)  # to 7.2
    for _ in range(3):
        limit.on_time(0.3, 1)
    now = 0.7
    assert 7.5 < limit.at(now) < 8.0
    let_in = 0
    for _ in range(10_000):
        limit.began(now)
        assert limit.allows(6, now)
        assert not limit.allows(8, now)
        let_in += limit.allows(7, now)
    assert let_in == pytest.approx(10_000 * (limit.at(now) - 7), rel=0.05)


def test_after_a_cut_attempts_come_at_the_rate_of_the_limit() -> None:
    """Else every sidecar before a shared server would fill up again the moment its late ones are gone."""
    script = full(10).at(0.2).late(0.1)
    gap = USUAL / 8
    script.ends(5).at(0.2 + gap - 0.01).refuses().at(0.2 + gap + 0.01).begins().refuses()


def test_cuts_in_a_row_shut_it_for_longer_each_time() -> None:
    """Twice as long and a bit, up to the longest gap: who shares a server with many has to wait his turn."""
    script, gaps = Script(), list[float]()
    for _ in range(6):
        began = script.now
        script.begins().at(began + TIMEOUT).late(began)
        gaps.append(USUAL * (2.0 ** min(len(gaps) + 1, MOST_PRESSURE) - 1))
        shut = min(gaps[-1], LONGEST_GAP)
        script.at(script.now + shut - 0.01).refuses().at(script.now + 0.02)
    assert gaps[:3] == [USUAL, 3 * USUAL, 7 * USUAL]


def test_on_time_packets_take_the_pressure_off() -> None:
    """Three in time for one that was late, and there are no gaps any more."""
    script = full(10).at(0.2).late(0.1)
    for now in (1.0, 2.0, 3.0):
        script.at(now).ends().begins().packet(now)
    script.at(4.0).ends(5).begins(3)


def test_packets_of_attempts_from_before_the_cut_take_nothing_off() -> None:
    """They had their place in the queue before it was too long."""
    script = full(10).at(0.2).late(0.1)
    for _ in range(5):
        script.packet(0.1)
    script.ends(5).refuses()


def test_under_pressure_one_attempt_waits_for_the_first_packet_of_the_other() -> None:
    """After an outage: one probe at a time, and with the first answer the next at once."""
    script = Script(Limit(30.0, Fixed(), cancels=True))
    for _ in range(300):
        script.limit.ended(0.0, 1, 0.0, well=True)  # so short that gaps have no part in it
    script.begins().at(30.0).late(0.0).at(40.0).begins().at(70.0).late(40.0)
    script.at(300.0)  # the limit has recovered, the pressure has not
    assert script.limit.at(300.0) > 5
    script.begins().at(329.0).refuses().at(331.0).begins().refuses().packet(331.0).begins()


@pytest.mark.parametrize("well", [True, False])
def test_an_attempt_that_ended_without_a_first_packet_keeps_nobody_waiting_for_it(well: bool) -> None:
    """It asked for no stream, or was reset, or its app hung up; with a timeout of 30 s that would be long."""
    script = Script(Limit(30.0, Fixed(), cancels=True))
    for _ in range(300):
        script.limit.ended(0.0, 1, 0.0, well=True)
    script.begins().at(30.0).late(0.0).at(40.0).begins().at(70.0).late(40.0)
    script.at(300.0).begins().at(301.0).refuses()
    script.limit.ended(300.0, 1, 301.0, well=well)
    script.ends().begins()


def test_a_server_that_computes_on_is_as_full_as_before() -> None:
    """What was given up counts on for as long as an attempt usually lasts: a ghost."""
    limit = Limit(TIMEOUT, Fixed(), cancels=False)
    script = Script(limit).begins(10).packet(0.0).at(0.2).late(0.1).late(0.1)
    assert limit.ghosts(0.2) == 2
    script.at(1.9).refuses()  # eight in flight and two ghosts
    script.at(2.3).begins()
    assert limit.ghosts(2.3) == 0


def test_a_cut_while_ghosts_are_about_is_one_of_the_limit_and_not_of_what_it_has_left_in_use() -> None:
    """The server still computes for those who were given up; that hardly anybody is in flight is our own doing."""
    limit = Limit(TIMEOUT, Fixed(), cancels=False)
    script = Script(limit).begins(16).packet(0.0).at(0.2)
    for _ in range(8):
        script.late(0.1)
    script.ends(7).at(1.5).begins().at(1.8)
    before = limit.at(1.8)
    assert script.in_flight + limit.ghosts(1.8) < before
    script.late(1.5)
    assert limit.at(1.8) == pytest.approx(BETA * BETA * before)


def test_a_ghost_lasts_as_long_as_attempts_do() -> None:
    """An average that a change of the model's answers moves within some tens of them."""
    limit = Limit(TIMEOUT, Fixed(), cancels=False)
    for _ in range(100):
        limit.ended(0.0, 1, 7.0, well=True)
    limit.gave_up(0.0)
    assert (limit.ghosts(6.9), limit.ghosts(7.1)) == (1, 0)


def test_a_server_that_is_known_to_cancel_has_no_ghosts() -> None:
    """It is free the moment we hang up."""
    script = full(4).at(0.2).late(0.1)
    assert script.limit.ghosts(0.2) == 0


@pytest.mark.parametrize("timeout", [0.2, 1.0, 5.0, 30.0])
def test_one_late_packet_in_low_traffic_costs_a_few_requests_at_most(timeout: float) -> None:
    """One request a second, each of two seconds: a single slow one must not send the app elsewhere for long."""
    aways = [_sent_elsewhere(timeout, Random(seed)) for seed in range(20)]
    assert 0 < sum(aways) <= 8 * len(aways)
    assert max(aways) <= 20


def _sent_elsewhere(timeout: float, rng: Random) -> int:
    """Of 200 requests, at random times about a second apart, one of which is late."""
    limit = Limit(timeout, rng, cancels=False)
    running: list[float] = []
    now, late_from, away = 0.0, None, 0
    for number in range(200):
        now += rng.expovariate(1.0)
        if late_from is not None and late_from + timeout <= now:
            running = [end for end in running if end > late_from + timeout]
            limit.late(late_from, len(running) + 1, late_from + timeout)
            limit.gave_up(late_from + timeout)
            late_from = None
        running = [end for end in running if end > now]
        if not limit.allows(len(running) + (late_from is not None), now):
            away += 1
            continue
        limit.began(now)
        if number == 100:
            late_from = now
            continue
        running.append(now + 2.0)
        limit.on_time(now, len(running))
        limit.ended(now, len(running), now + 2.0, well=True)
    return away


moves = st.lists(
    st.tuples(st.sampled_from(["ask", "packet", "late", "end"]), st.floats(0.0, 3.0)), max_size=200
)


def test_while_requests_stand_in_the_servers_queue_nothing_is_sent() -> None:
    """The first one would be late; the queue is known before that."""
    limit = Limit(TIMEOUT, Fixed(), cancels=True)
    limit.waiting(3, 0.0)
    assert not limit.allows(0, 0.1)
    limit.waiting(0, 0.5)
    assert limit.allows(0, 0.5)


def test_an_empty_queue_lifts_no_other_rule() -> None:
    """All who read it come at once."""
    limit = Limit(TIMEOUT, Fixed(), cancels=True)
    limit.late(0.1, 10, 0.3)
    assert not limit.allows(9, 0.3)
    limit.waiting(0, 0.4)
    assert not limit.allows(9, 0.4)


def test_a_reading_that_is_old_is_not_believed() -> None:
    """The server, or the way to it, may be gone; a queue of the past must not keep it closed."""
    limit = Limit(TIMEOUT, Fixed(), cancels=True)
    limit.waiting(3, 0.0)
    assert not limit.allows(0, FRESH - 0.01)
    assert limit.allows(0, FRESH)


@given(moves, st.integers(0, 2**32), st.booleans())
def test_whatever_happens_the_limit_keeps_its_bounds(
    script: list[tuple[str, float]], seed: int, cancels: bool
) -> None:
    """At least 1, never more than twice what is proven or was in use; and idle, it opens within a known time."""
    limit = Limit(TIMEOUT, Random(seed), cancels=cancels)
    now, streaming, most = 0.0, 0, START / 2
    waiting: list[float] = []
    for move, passed in script:
        now += passed
        in_flight = len(waiting) + streaming
        if move == "ask" and limit.allows(in_flight, now):
            limit.began(now)
            waiting.append(now)
            most = max(most, in_flight + 1)
        elif move == "packet" and waiting:
            limit.on_time(waiting.pop(0), in_flight)
            streaming += 1
        elif move == "late" and waiting:
            limit.late(waiting.pop(0), in_flight, now)
            limit.gave_up(now)
        elif move == "end" and streaming:
            streaming -= 1
            limit.ended(now - passed, in_flight, now, well=True)
        ghosts = limit.ghosts(now)
        assert 1.0 <= limit.at(now) <= 2.0 * (most + ghosts)
        assert in_flight <= 2.0 * most + 1.0
    assert limit.allows(0, now + max(1.5 * LONGEST_GAP, 3.0 + USUAL) + TIMEOUT)
