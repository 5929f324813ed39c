"""Words found in bytes of any size as bytes.find finds them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.search import find

WORD = '"error"'
PIECES = st.sampled_from([WORD.encode(), WORD.encode()[:-1], b"x" * 200, b"x" * 1023, b"\x00", "é".encode()])


@given(st.lists(st.binary(max_size=9) | PIECES, max_size=6).map(b"".join), st.integers(0, 1100))
def test_short_or_long_the_first_one_is_found(data: bytes, start: int) -> None:
    """Any byte may stand around it: what is searched is no text but is read as one."""
    assert find(data, WORD) == data.find(WORD.encode())
    assert find(data, WORD, start) == data.find(WORD.encode(), start)
