"""What the adaptive limit has to reach in the simulated surge; the seeds are not chosen, they are the first."""

from __future__ import annotations

import pytest

from bench.sim.__main__ import PROBED, REFERENCE
from bench.sim.surge import Case, run

SEEDS = range(1, 4)
SERVERS = pytest.mark.parametrize("cancels", [True, False], ids=["cancels", "computes-on"])


@SERVERS
@pytest.mark.parametrize("sidecars", [1, 5, 20, 50])
def test_a_surge_kills_nothing_and_loses_nothing(sidecars: int, cancels: bool) -> None:
    """However many share the server, and although none of them knows of the others."""
    for seed in SEEDS:
        figures = run(Case(sidecars, cancels, seed=seed))
        assert (figures.success, figures.crashes) == (1.0, 0)
        assert figures.first_packet_p99 <= 0.30


def test_one_sidecar_keeps_its_primary_busy_and_hardly_ever_late() -> None:
    """Ejection alone leaves it idle: see the last test."""
    for seed in SEEDS:
        figures = run(Case(seed=seed))
        assert figures.used >= 0.88
        assert figures.late <= 0.03
        assert figures.back_after is not None
        assert figures.back_after <= 3.0


def test_a_server_that_computes_on_is_kept_busy_too() -> None:
    """What is late there costs it twice, and what was given up is counted until it must be done."""
    runs = [run(Case(cancels=False, seed=seed)) for seed in range(1, 9)]
    assert sum(figures.used for figures in runs) / len(runs) >= 0.82
    assert sum(figures.late for figures in runs) / len(runs) <= 0.03


def test_twenty_sidecars_share_a_primary_without_a_word() -> None:
    """Each finds its share by being late once in a while."""
    for seed in SEEDS:
        figures = run(Case(20, seed=seed))
        assert figures.used >= 0.85
        assert figures.late <= 0.15


@pytest.mark.parametrize("sidecars", [1, 20])
def test_a_primary_that_was_killed_is_back_soon_after_its_return(sidecars: int) -> None:
    """With an ejection as short as suits a server of one's own; what was cut in mid-answer is lost."""
    for seed in SEEDS:
        figures = run(Case(sidecars, killed=True, passive=PROBED, seed=seed))
        assert figures.success >= 0.99
        assert figures.crashes == 0
        assert figures.back_after is not None
        assert figures.back_after <= 15.0


def test_without_it_lateness_ejects_as_in_the_reference_scenario() -> None:
    """Within two seconds, judged over an interval of one; and then the primary idles."""
    for seed in SEEDS:
        figures = run(Case(adaptive=False, passive=REFERENCE, seed=seed))
        assert (figures.success, figures.crashes) == (1.0, 0)
        assert figures.first_ejection is not None
        assert figures.first_ejection <= 2.0
        assert figures.used <= 0.3


def test_a_seed_tells_the_same_story_twice() -> None:
    """Else no failing run could be looked at again."""
    assert run(Case(5, seed=7)) == run(Case(5, seed=7))
    assert run(Case(5, seed=7)) != run(Case(5, seed=8))
