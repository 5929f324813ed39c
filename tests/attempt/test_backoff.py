"""How long the same endpoint is left alone."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.attempt.backoff import CAP, SHORTEST, backoff, pushback


@pytest.mark.parametrize(
    ("retry", "ceiling"), [(1, 0.05), (2, 0.1), (3, 0.2), (4, 0.4), (5, 0.5), (1000, 0.5)]
)
def test_the_wait_is_spread_evenly_up_to_a_ceiling_that_doubles(retry: int, ceiling: float) -> None:
    """Requests that failed together must not come back together."""
    rng = Random(1)
    waits = sorted(backoff(retry, rng) for _ in range(2000))
    assert waits[0] >= SHORTEST
    assert waits[-1] <= ceiling <= CAP
    middle = (SHORTEST + ceiling) / 2
    assert abs(waits[1000] - middle) < 0.1 * ceiling


@given(st.floats(0.0, 600.0), st.floats(0.0, 600.0), st.integers())
def test_a_pushback_is_kept_to_but_not_beyond_the_limit(asked: float, more: float, seed: int) -> None:
    """Coming back early would earn another 429, coming back late cost the app its patience."""
    limit = asked + more
    assert asked <= pushback(asked, limit, Random(seed)) <= min(limit, asked * 1.1 + 1e-9)
