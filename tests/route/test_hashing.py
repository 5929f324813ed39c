"""Consistent hash: alike requests go to the same endpoint, and little moves when endpoints come and go."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.snapshot import HashOn
from sidecar.route.ask import ANYTHING, Ask
from sidecar.route.hashing import FEW, OVERLOAD, ConsistentHash
from tests.route.spot import Spot, spot


def ask(key: str | None) -> Ask:
    return Ask("m", lambda on: None if key is None else key.encode())


def place(endpoints: list[Spot], key: str, weights: dict[str, int] | None = None) -> str:
    strategy: ConsistentHash[Spot] = ConsistentHash(HashOn(), weights, Random(7))
    return strategy.pick(endpoints, ask(key), 0.0).key.address


KEYS = [f"session-{number}" for number in range(2000)]


def test_the_same_key_goes_to_the_same_endpoint_in_every_sidecar() -> None:
    """Nothing of one process is in it, nor the order in which addresses came."""
    names = "abcd"
    forwards, backwards = ([spot(f"own/{n}") for n in order] for order in (names, reversed(names)))
    assert all(place(forwards, key) == place(backwards, key) for key in KEYS[:200])


def test_keys_are_spread_evenly_and_by_weight() -> None:
    endpoints = [spot(f"own/{name}") for name in "abcd"]
    counts = Counter(place(endpoints, key) for key in KEYS)
    assert all(400 < counts[name] < 600 for name in "abcd")
    weighted = Counter(place(endpoints, key, {"a": 3}) for key in KEYS)
    assert 900 < weighted["a"] < 1100


def test_when_an_endpoint_leaves_only_its_own_keys_move() -> None:
    """The others' caches stay warm."""
    endpoints = [spot(f"own/{name}") for name in "abcd"]
    before = {key: place(endpoints, key) for key in KEYS[:500]}
    after = {key: place(endpoints[:3], key) for key in KEYS[:500]}
    assert all(after[key] == before[key] for key in before if before[key] != "d")
    assert set(after.values()) == set("abc")


def test_long_keys_that_differ_late_are_different() -> None:
    """A prompt's prefix is a kilobyte."""
    endpoints = [spot(f"own/{name}") for name in "abcdefgh"]
    assert len({place(endpoints, "x" * 1000 + key) for key in KEYS[:100]}) > 4


def test_a_key_that_everybody_asks_for_does_not_drown_its_endpoint() -> None:
    """Beyond its room the next in the key's own order helps, always the same."""
    endpoints = {name: spot(f"own/{name}") for name in "abcd"}
    picked = []
    for _ in range(100):
        name = place(list(endpoints.values()), "hot")
        endpoints[name].in_flight += 1
        picked.append(name)
    assert max(Counter(picked).values()) <= OVERLOAD * 100 / 4 + 1
    assert picked[0] == picked[1]


def test_without_a_key_the_least_loaded_is_picked() -> None:
    strategy: ConsistentHash[Spot] = ConsistentHash(HashOn(), None, Random(7))
    endpoints = [spot("own/a", in_flight=5), spot("own/b")]
    for asks in (ANYTHING, ask(None)):
        assert {strategy.pick(endpoints, asks, 0.0).key.address for _ in range(50)} == {"b"}


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.text(max_size=80))
def test_there_is_always_somebody_with_room(loads: list[int], key: str) -> None:
    """Not everybody can have more than the mean."""
    endpoints = [spot(f"own/{place}", in_flight=load) for place, load in enumerate(loads)]
    strategy: ConsistentHash[Spot] = ConsistentHash(HashOn(), None, Random(7))
    chosen = strategy.pick(endpoints, ask(key), 0.0)
    assert len(loads) == 1 or chosen.in_flight < max(FEW, OVERLOAD * (sum(loads) + 1) / len(loads))
