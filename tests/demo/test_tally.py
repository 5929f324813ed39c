"""Counts of answers."""

from __future__ import annotations

from sidecar.demo.app import Answer
from sidecar.demo.tally import Tally


def tally(*answers: Answer) -> Tally:
    counted = Tally()
    for answer in answers:
        counted.add(answer)
    return counted


def whole(service: str, first_packet: float) -> Answer:
    return Answer(0.0, service, 1, first_packet, "")


def test_shares_are_those_of_whole_answers() -> None:
    """A failed request was served by nobody."""
    counted = tally(whole("a", 0.1), whole("b", 0.1), whole("b", 0.1), Answer(0.0, "a", 1, None, "cut"))
    assert (counted.whole, counted.failed, counted.share("b")) == (3, 1, 2 / 3)
    assert counted.problems == {"cut": 1}


def test_without_answers_there_is_no_share_and_no_time() -> None:
    """A second in which nobody was served shows dashes, not zeros."""
    assert (tally().share("a"), tally().quantile(0.5)) == (None, None)


def test_quantiles_are_times_that_were_measured() -> None:
    """Nearest rank: of a hundred, the 99th."""
    counted = tally(*(whole("a", n / 1000) for n in range(100, 0, -1)))
    assert (counted.quantile(0.5), counted.quantile(0.99)) == (0.05, 0.099)
    assert tally(whole("a", 0.2)).quantile(0.99) == 0.2
