"""Bounded memory for what can be found out again at any time: what is full forgets everything and begins anew.

Why:     to forget the oldest one by one costs at every look; these are filled once and then only looked at, or are
         filled by an app that invents what it asks for, and then nothing in them is worth more than the rest.
"""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def remember(known: dict[K, V], key: K, value: V, most: int) -> None:
    """`most`: values at a time."""
    if len(known) >= most:
        known.clear()
    known[key] = value
