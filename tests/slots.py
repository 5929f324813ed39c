"""The names of what an object keeps, be its class compiled or not."""

from __future__ import annotations


def slots_of(thing: object) -> tuple[str, ...]:
    kind = type(thing)
    names: tuple[str, ...] = getattr(kind, "__mypyc_attrs__", None) or kind.__slots__  # type: ignore[attr-defined]
    return names
