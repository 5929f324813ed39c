"""Stands between the loop's callbacks and the requests: a bug ends one request, loudly, and not the others.

Why:     an exception that went back to the loop would be logged, and its request would wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Guarded(Protocol):
    """What is called by the loop, and can end if that fails."""

    def crashed(self, bug: Exception) -> None: ...


G = TypeVar("G", bound=Guarded)
P = ParamSpec("P")


def guarded(entry: Callable[Concatenate[G, P], None]) -> Callable[Concatenate[G, P], None]:
    """For a method that the loop calls; hot ones catch by themselves and save the call."""

    def call(self: G, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            entry(self, *args, **kwargs)
        except Exception as bug:
            self.crashed(bug)

    update_wrapper(call, entry)
    return call
