"""Peak EWMA: whoever is likely to begin its answer first."""

from __future__ import annotations

from collections import Counter
from random import Random

from sidecar.route.ask import ANYTHING
from sidecar.route.latency import PeakEwma
from tests.route.spot import Spot, spot


def tally(endpoints: list[Spot], weights: dict[str, int] | None = None) -> Counter[str]:
    strategy: PeakEwma[Spot] = PeakEwma(weights, Random(7))
    return Counter(strategy.pick(endpoints, ANYTHING, 0.0).key.address for _ in range(1000))


def test_the_faster_of_two_is_picked() -> None:
    assert tally([spot("own/slow", pace=0.5), spot("own/fast", pace=0.1)]) == {"fast": 1000}


def test_what_stands_before_it_counts() -> None:
    """Five times as fast is no help behind nine others."""
    assert tally([spot("own/slow", pace=0.5), spot("own/fast", pace=0.1, in_flight=9)]) == {"slow": 1000}


def test_one_that_nothing_is_known_of_is_tried_by_one_request_at_a_time() -> None:
    """It may be fast; or it may be a server that is still warming up."""
    assert tally([spot("own/new"), spot("own/old", pace=0.1)]) == {"new": 1000}
    assert tally([spot("own/new", in_flight=1), spot("own/old", pace=9.0)]) == {"old": 1000}


def test_a_weight_and_a_ramp_divide_the_cost() -> None:
    assert tally([spot("own/a", pace=0.2), spot("own/b", pace=0.1)], {"a": 3}) == {"a": 1000}
    assert tally([spot("own/a", pace=0.1, weight=0.1), spot("own/b", pace=0.2)]) == {"b": 1000}
    assert tally([spot("own/a", pace=0.1, weight=0.0), spot("own/b", pace=9.0)]) == {"b": 1000}
