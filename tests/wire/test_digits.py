"""Digits, read where they stand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.digits import MOST, MOST_HEX, decimal, hexadecimal


@given(
    st.binary(max_size=4),
    st.text("0123456789", max_size=MOST),
    st.sampled_from([b"", b"\r\n", b"/", b":", b" 1"]),
)
def test_a_number_is_what_int_makes_of_it(before: bytes, digits: str, behind: bytes) -> None:
    expected = int(digits) if digits else 0
    assert decimal(before + digits.encode() + behind, len(before)) == (expected, len(before) + len(digits))


@given(
    st.binary(max_size=4),
    st.text("0123456789abcdefABCDEF", max_size=MOST_HEX),
    st.sampled_from([b"", b"\r\n", b"g", b"@", b"`", b";a", b" 1"]),
)
def test_a_chunk_size_is_what_int_makes_of_it(before: bytes, digits: str, behind: bytes) -> None:
    expected = int(digits, 16) if digits else 0
    assert hexadecimal(before + digits.encode() + behind, len(before)) == (
        expected,
        len(before) + len(digits),
    )


@pytest.mark.parametrize("data", [b"", b"g1", b"-1", b"+1", b" 1", b"\xff", b"f" * (MOST_HEX + 1)])
def test_what_is_no_chunk_size_is_none(data: bytes) -> None:
    assert hexadecimal(data, 0) == (0, 0)


def test_no_number_is_beyond_what_c_can_hold() -> None:
    for number, end in (decimal(b"9" * MOST, 0), hexadecimal(b"f" * MOST_HEX, 0)):
        assert end
        assert number < 2**63


@pytest.mark.parametrize("data", [b"", b"x1", b"-1", b"+1", b" 1", b"1" * (MOST + 1), "١".encode()])
def test_what_is_no_number_is_none(data: bytes) -> None:
    assert decimal(data, 0) == (0, 0)


@given(st.binary(max_size=40))
def test_it_ends_where_the_digits_end(data: bytes) -> None:
    found = re.match(rb"[0-9]*", data)
    assert found is not None
    if found.end() <= MOST:
        assert decimal(data, 0)[1] == found.end()
