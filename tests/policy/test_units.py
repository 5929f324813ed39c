"""Durations, sizes, percentages and numbers: exact, bounded, and nothing that only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.units import (
    MAX_NANOSECONDS,
    BadValue,
    duration_of,
    nanoseconds_of,
    read_duration,
    read_number,
    read_percent,
    read_size,
    read_whole,
    read_whole_percent,
    write_duration,
    write_size,
)

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("200ms", 200_000_000),
        ("1s", SECOND),
        ("5m", 300 * SECOND),
        ("0.2s", 200_000_000),
        ("1h", 3600 * SECOND),
        ("1m30s", 90 * SECOND),
        ("1.5h", 5400 * SECOND),
        ("10us", 10_000),
        ("1ns", 1),
        ("0", 0),
        ("0s", 0),
        ("0.000000001s", 1),
        ("0.0005us0.5ns", 1),
        ("010s", 10 * SECOND),
    ],
)
def test_a_duration_is_read_exactly(text: str, nanoseconds: int) -> None:
    """0.2s has no exact float; a policy that is written, stored and shown must not drift."""
    assert read_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "s",
            "5",
            "-1s",
            "+1s",
            "1 s",
            "1S",
            "1d",
            "1sm",
            "30s1m",
            "1s1s",
            "1e3s",
            "nan",
            "inf",
            "1.s",
            ".5s",
        ),
        *("0.1ns", "٣s", "1s\n", "1" * 70 + "s", "400000000000s"),
    ],
)
def test_what_only_looks_like_a_duration_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="; expected"):
        read_duration(text)


@given(st.integers(0, MAX_NANOSECONDS))
def test_durations_survive_writing_and_reading(nanoseconds: int) -> None:
    """`policy get` prints what `policy apply` must read as the same policy."""
    assert read_duration(write_duration(nanoseconds)) == nanoseconds
    assert nanoseconds_of(duration_of(nanoseconds)) == nanoseconds


def test_durations_are_written_in_one_unit_as_short_as_can_be() -> None:
    lengths = (0, 200_000_000, 90 * SECOND, 300 * SECOND, 7200 * SECOND, 1)
    assert [write_duration(n) for n in lengths] == ["0s", "200ms", "90s", "5m", "2h", "1ns"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64KiB", 65536),
        ("8 MiB", 8 << 20),
        ("1.5MiB", 3 << 19),
        ("1GiB", 1 << 30),
        ("7B", 7),
    ],
)
def test_a_size_is_read_in_whole_bytes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1KB", "1K", "-1", "0.3B", "1kib", "1  KiB", "1e3", "9" * 65])
def test_what_only_looks_like_a_size_is_refused(text: str) -> None:
    """KB may mean 1000 or 1024: we do not guess."""
    with pytest.raises(BadValue, match="; expected"):
        read_size(text)


@given(st.integers(0, 1 << 64))
def test_sizes_survive_writing_and_reading(size: int) -> None:
    assert read_size(write_size(size)) == size


@pytest.mark.parametrize(("text", "percent"), [("10", 10), ("10%", 10), ("10 %", 10), ("2.5%", 2.5)])
def test_a_percentage_may_bear_its_sign(text: str, percent: float) -> None:
    assert read_percent(text) == percent


@pytest.mark.parametrize("text", ["2.5%", "10.00000000000000000001"])
def test_a_whole_percentage_is_whole_to_the_last_digit(text: str) -> None:
    assert read_whole_percent("10.0 %") == 10
    with pytest.raises(BadValue, match="has a fraction"):
        read_whole_percent(text)


@pytest.mark.parametrize("text", ["", "%", "-1%", "1%%", "nan", "1e1", "ten"])
def test_what_only_looks_like_a_percentage_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="; expected"):
        read_percent(text)


def test_numbers_are_finite_decimals() -> None:
    assert [read_number(text) for text in ("0.01", "1", "-2", "1e-3", ".5")] == [0.01, 1.0, -2.0, 0.001, 0.5]
    assert [read_whole(text) for text in ("0", "42", "-1", "010")] == [0, 42, -1, 10]


@pytest.mark.parametrize("text", ["", "nan", ".nan", "inf", "-.inf", "1e999", "1_000", "0x10", "one", " 1"])
def test_nan_infinities_and_other_bases_are_no_numbers(text: str) -> None:
    with pytest.raises(BadValue, match="; expected"):
        read_number(text)
    with pytest.raises(BadValue, match="; expected"):
        read_whole(text)
