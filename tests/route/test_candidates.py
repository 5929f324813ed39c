"""What a request may be sent to."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.choice import Chooser, Skipped
from sidecar.health.ledger import EndpointHealth, Ledger
from sidecar.policy.snapshot import Route
from sidecar.route.candidates import Candidates, ServicePicker
from sidecar.terms import parse_address
from tests.route.spot import Spot, candidates, giving, service, spot


def picker(endpoints: list[Spot], **fields: object) -> ServicePicker[Spot]:
    return ServicePicker(service("own", **fields), giving(endpoints), Random(1))


def test_only_endpoints_in_rotation_are_picked() -> None:
    """Nothing goes to an ejected endpoint while another is available."""
    out, usable = spot("own/a", until=30.0), spot("own/b", in_flight=50)
    assert all(picker([out, usable]).pick((), 0.0) is usable for _ in range(20))


def test_endpoints_to_avoid_are_not_picked() -> None:
    """They have failed this very request."""
    tried, other = spot("own/a"), spot("own/b", in_flight=50)
    assert picker([tried, other]).pick({tried.key}, 0.0) is other


def test_a_service_out_of_rotation_says_when_it_is_due_back() -> None:
    """The soonest of its endpoints, in the order of time and not of the list."""
    out = [spot("own/a", until=30.0), spot("own/b", until=20.0)]
    assert picker(out).pick((), 1.0) == Skipped("unhealthy", 20.0)
    assert picker(out).pick({out[1].key}, 1.0) == Skipped("unhealthy", 30.0)


def test_a_service_whose_every_endpoint_is_avoided_is_never_due() -> None:
    """Time does not make them any better for this request."""
    tried = spot("own/a")
    assert picker([tried]).pick({tried.key}, 1.0) == Skipped("unhealthy", inf)


def test_an_endpoint_at_its_adaptive_limit_is_left_to_the_others() -> None:
    """And when they are all at theirs, or out, the service is overloaded, not ill."""
    limited, free = spot("own/a", limited=True), spot("own/b", in_flight=50)
    assert picker([limited, free]).pick((), 1.0) is free
    assert picker([limited, free]).pick({free.key}, 1.0) == Skipped("overloaded", 1.0)
    assert picker([limited, spot("own/b", until=30.0)]).pick((), 1.0) == Skipped("overloaded", 1.0)
    assert picker([limited, free]).pick({limited.key, free.key}, 1.0) == Skipped("unhealthy", inf)


def test_an_adaptive_limit_gives_way_where_max_concurrency_does_not() -> None:
    """One is learned and may be wrong, the other is written."""
    limited = spot("own/a", limited=True, in_flight=4)
    assert picker([limited]).due_first((), 1.0) is limited
    assert picker([limited], max_concurrency=4).due_first((), 1.0) is None


def test_a_service_without_endpoints_says_so() -> None:
    """Its name has not been resolved yet, or resolves to nothing."""
    assert picker([]).pick((), 0.0) == Skipped("no_endpoint", inf)
    assert picker([], max_concurrency=1).pick((), 0.0) == Skipped("no_endpoint", inf)


@pytest.mark.parametrize(("loads", "full"), [((2, 1), False), ((2, 2), True), ((4, 0), True), ((9, 9), True)])
def test_max_concurrency_counts_over_all_endpoints_of_the_service(loads: tuple[int, int], full: bool) -> None:
    """It is the service's limit, wherever its requests are."""
    endpoints = [spot(f"own/{i}", in_flight=load) for i, load in enumerate(loads)]
    limited = picker(endpoints, max_concurrency=4)
    assert limited.usable(1.0) is not full
    assert (limited.pick((), 1.0) == Skipped("overloaded", 1.0)) is full
    assert (limited.due_first((), 1.0) is None) is full


def test_nobody_overtakes_those_who_wait_and_nobody_joins_them_for_what_is_out() -> None:
    """A place that nobody can have is not worth waiting for."""
    own = picker([spot("own/a")])
    own.waiting = 2
    assert own.pick((), 0.0) == Skipped("overloaded", 0.0)
    assert isinstance(own.pick_in_turn((), 0.0), Spot)
    out = picker([spot("own/a", until=30.0, in_flight=1)], max_concurrency=1)
    out.waiting = 2
    assert out.pick((), 0.0) == Skipped("unhealthy", 30.0)


def test_without_max_concurrency_nothing_is_ever_full() -> None:
    """Absent and 0 mean no limit."""
    for limit in (None, 0):
        assert picker([spot("own/a", in_flight=10**6)], max_concurrency=limit).usable(0.0)


def test_round_robin_is_used_where_the_policy_says_so() -> None:
    """And asking whether a service is usable takes nobody's turn."""
    turns = picker([spot("own/a", in_flight=9), spot("own/b")], load_balancing="round_robin")
    seen = []
    for _ in range(4):
        assert turns.usable(0.0)
        picked = turns.pick((), 0.0)
        assert isinstance(picked, Spot)
        seen.append(picked.key.address)
    assert seen == ["a", "b", "a", "b"]


def test_the_endpoint_due_back_first_stands_in() -> None:
    """In rotation or not, but for those to avoid."""
    late, soon, probed = spot("own/a", until=30.0), spot("own/b", until=20.0), spot("own/c", until=inf)
    own = picker([probed, late, soon])
    assert own.due_first((), 0.0) is soon
    assert own.due_first({soon.key}, 0.0) is late
    assert own.due_first({soon.key, late.key}, 0.0) is probed
    assert own.due_first({soon.key, late.key, probed.key}, 0.0) is None


def test_of_those_who_are_due_at_one_moment_the_less_loaded_stands_in_and_chance_decides_between_equals() -> (
    None
):
    """All of a service that are out by their probes, or at their limits: the first of the list must not get it all."""
    out = [spot("own/a", until=inf), spot("own/b", until=inf), spot("own/c", until=inf)]
    own = picker(out)
    stood_in = [own.due_first((), 0.0) for _ in range(300)]
    assert all(80 <= stood_in.count(one) <= 120 for one in out)
    busy, free = spot("own/a", limited=True, in_flight=4), spot("own/b", limited=True, in_flight=3)
    assert picker([busy, free]).due_first((), 0.0) is free


def of_two_services(own: list[Spot], vendor: list[Spot], *, limit_of_own: int = 0) -> Candidates[Spot]:
    endpoints = {"own": own, "vendor": vendor}
    return candidates(Route("r", ("own", "vendor")), endpoints, Random(1), {"own": limit_of_own})


def test_candidates_are_the_routes_services_in_order() -> None:
    """Rank 0 is the primary."""
    own, vendor = spot("own/a"), spot("vendor/v")
    both = of_two_services([own], [vendor])
    assert [both.service_name(rank) for rank in range(both.count)] == ["own", "vendor"]
    assert [both.pick(rank, (), 0.0) for rank in range(both.count)] == [own, vendor]
    assert both.usable(0, 0.0)


def test_the_last_resort_is_due_first_over_all_services() -> None:
    """Ejection never leaves a route with nothing to try."""
    own, vendor = spot("own/a", until=30.0), spot("vendor/v", until=20.0)
    assert of_two_services([own], [vendor]).last_resort(0.0) == (1, vendor)
    assert of_two_services([own], []).last_resort(0.0) == (0, own)


def test_of_equals_the_last_resort_is_of_the_better_rank() -> None:
    """Nothing else speaks against the primary."""
    own, vendor = spot("own/a", until=inf), spot("vendor/v", until=inf)
    assert of_two_services([own], [vendor]).last_resort(0.0) == (0, own)


def test_a_full_service_is_no_last_resort() -> None:
    """Nothing lifts max_concurrency."""
    own, vendor = spot("own/a", until=10.0, in_flight=1), spot("vendor/v", until=20.0)
    assert of_two_services([own], [vendor], limit_of_own=1).last_resort(0.0) == (1, vendor)
    assert of_two_services([own], [], limit_of_own=1).last_resort(0.0) is None


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 5.0, 9.0]), st.integers(0, 2), st.booleans()), max_size=4),
    st.sampled_from([None, 1, 3]),
    st.sampled_from(["least_request", "round_robin"]),
)
def test_a_pick_is_in_rotation_allowed_and_under_the_limit(
    facts: list[tuple[float, int, bool]], limit: int | None, balancing: str
) -> None:
    """And there is one whenever there could be one."""
    endpoints = [spot(f"own/{i}", until=until, in_flight=busy) for i, (until, busy, _) in enumerate(facts)]
    avoid = {one.key for one, (_, _, avoided) in zip(endpoints, facts, strict=True) if avoided}
    usable = [one for one in endpoints if one.until <= 5.0 and one.key not in avoid]
    full = limit is not None and sum(one.in_flight for one in endpoints) >= limit
    picked = picker(endpoints, max_concurrency=limit, load_balancing=balancing).pick(avoid, 5.0)
    if usable and not full:
        assert picked in usable
    else:
        assert isinstance(picked, Skipped)


def test_the_ledgers_endpoints_are_what_a_route_picks_from_and_a_plan_asks_for() -> None:
    """Three rooms that do not know each other fit together; the types say so too."""
    own = service("own", endpoints=(parse_address("a:1"), parse_address("b:1")))
    ledger = Ledger(Random(1))
    ledger.configure({"own": own}, 0.0)
    of_own = ServicePicker(own, lambda: ledger.endpoints("own"), Random(1))
    chooser: Chooser[EndpointHealth] = Candidates([of_own])
    first, second = ledger.endpoints("own")
    ledger.eject(first.key, 60.0, 0.0)
    assert chooser.pick(0, (), 0.0) is second
    ledger.eject(second.key, 30.0, 0.0)
    assert chooser.last_resort(0.0) == (0, second)
