"""Shared by the tests of this room: the same bytes, cut in every way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import strategies as st


def bytewise(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces; places beyond its end cut nothing."""
    edges = [0, *sorted({place for place in places if place < len(data)}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


PLACES = st.lists(st.integers(min_value=0, max_value=400), max_size=12)
