"""Plain and compiled, the data path does the same: byte for byte, record for record, exception for exception."""

from __future__ import annotations

import pytest

from tests.compiled import libraries
from tests.forms.both import ROOMS, compare

EVERY_CUT = 1350  # as `plays.places` counts them


@pytest.mark.parametrize(
    ("plays", "seeds"),
    [(("connections",), 120), (("cuts",), EVERY_CUT), (ROOMS, 25)],
    ids=["connections", "every cut", "rooms"],
)
def test_both_forms_do_the_same(plays: tuple[str, ...], seeds: int) -> None:
    if not libraries():
        pytest.skip("the data path is not compiled here")
    assert compare(0, seeds, plays) == seeds * len(plays)


def test_every_place_is_cut() -> None:
    from tests.forms import plays

    assert plays.places() == EVERY_CUT
