"""The names of what an object keeps, be its class compiled or not."""

from __future__ import annotations


def slots_of(thing: object) -> tuple[str, ...]:
    kind = type(thing)
    compiled: tuple[str, ...] = getattr(kind, "__mypyc_attrs__", ())
    return compiled or tuple(name for base in kind.__mro__ for name in getattr(base, "__slots__", ()))
