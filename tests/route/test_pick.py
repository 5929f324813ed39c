"""Choosing one endpoint of those in rotation."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.route.ask import ANYTHING
from sidecar.route.pick import RoundRobin, least_request
from tests.route.spot import Spot, spot


def tally(endpoints: list[Spot], picks: int = 2000) -> Counter[str]:
    rng = Random(7)
    return Counter(least_request(endpoints, rng, 0.0).key.address for _ in range(picks))


def test_of_two_endpoints_the_less_loaded_is_always_picked() -> None:
    """Both are drawn, whichever comes first."""
    assert tally([spot("own/a", in_flight=3), spot("own/b", in_flight=2)]) == {"b": 2000}


def test_equals_are_picked_equally_often() -> None:
    """With no load at all, nobody may be everybody's favourite."""
    counts = tally([spot(f"own/{name}") for name in "abc"], 3000)
    assert all(900 < counts[name] < 1100 for name in "abc")


def test_of_many_the_most_loaded_is_never_picked() -> None:
    """Whoever is drawn beside it is less loaded."""
    counts = tally([spot(f"own/{load}", in_flight=load) for load in range(5)])
    assert counts["4"] == 0
    assert counts["0"] > counts["1"] > counts["2"] > counts["3"] > 0


def test_a_ramping_endpoint_counts_its_load_by_its_share() -> None:
    """At a tenth of its share an idle one stands like one with nine in flight."""
    assert tally([spot("own/new", weight=0.1), spot("own/old", in_flight=8)]) == {"old": 2000}
    assert tally([spot("own/new", weight=0.1), spot("own/old", in_flight=10)]) == {"new": 2000}


def test_an_endpoint_without_a_share_yields_to_any_other() -> None:
    """No division by its zero."""
    assert tally([spot("own/new", weight=0.0), spot("own/old", in_flight=99)]) == {"old": 2000}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers())
def test_the_choice_is_one_of_those_given(loads: list[int], seed: int) -> None:
    """For every number of endpoints."""
    endpoints = [spot(f"own/{i}", in_flight=load) for i, load in enumerate(loads)]
    assert least_request(endpoints, Random(seed), 0.0) in endpoints


def test_round_robin_gives_each_its_turn() -> None:
    """By address, whatever the order they are given in."""
    turn: RoundRobin[Spot] = RoundRobin()
    endpoints = [spot("own/b"), spot("own/c"), spot("own/a")]
    assert "".join(turn.pick(endpoints, ANYTHING, 0.0).key.address for _ in range(7)) == "abcabca"


def test_whoever_leaves_or_comes_back_shifts_nobodys_turn() -> None:
    """An index into a changing list would serve some twice and skip others; here b, who was away, is next."""
    turn: RoundRobin[Spot] = RoundRobin()
    a, b, c = (spot(f"own/{name}") for name in "abc")
    assert [
        turn.pick(present, ANYTHING, 0.0).key.address
        for present in ([a, b, c], [a, c], [a, b, c], [b, c], [a, b, c])
    ] == [*("a", "c", "b", "c", "a")]


@given(st.lists(st.sets(st.sampled_from("abcde"), min_size=1), min_size=1, max_size=30))
def test_round_robin_always_finds_somebody_present(rounds: list[set[str]]) -> None:
    """Whoever had the last turn may be gone."""
    turn: RoundRobin[Spot] = RoundRobin()
    for names in rounds:
        assert turn.pick([spot(f"own/{name}") for name in sorted(names)], ANYTHING, 0.0).key.address in names


def test_an_endpoint_has_as_many_turns_as_its_weight_says_spread_evenly() -> None:
    """Five turns in a row for the heavy one would be a burst."""
    turn: RoundRobin[Spot] = RoundRobin({"a": 5, "b": 1})
    endpoints = [spot(f"own/{name}") for name in "abc"]
    shown = "".join(turn.pick(endpoints, ANYTHING, 0.0).key.address for _ in range(14))
    assert Counter(shown) == {"a": 10, "b": 2, "c": 2}
    assert "aaaaa" not in shown


def test_least_request_honours_weights_by_load_and_when_idle() -> None:
    """Twice the weight bears twice the load; with no load at all chance keeps to the weights."""
    rng, weights = Random(7), {"big": 3}
    busy = [spot("own/big", in_flight=5), spot("own/small", in_flight=2)]
    assert {least_request(busy, rng, 0.0, weights).key.address for _ in range(100)} == {"big"}
    idle = [spot("own/big"), spot("own/small")]
    counts = Counter(least_request(idle, rng, 0.0, weights).key.address for _ in range(4000))
    assert 2.7 < counts["big"] / counts["small"] < 3.3


def test_round_robin_forgets_addresses_that_are_gone() -> None:
    """Addresses come and go with DNS."""
    turn: RoundRobin[Spot] = RoundRobin()
    for number in range(1000):
        turn.pick([spot(f"own/{number}")], ANYTHING, 0.0)
    assert len(turn._owed) <= 20
