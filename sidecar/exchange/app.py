"""The app's connection, as an exchange sees it.

Out:     bytes to the app, in order; the end of its answer, told exactly once by `answered` or `broken`.
Why:     a class and no Protocol, because the compiled form calls its methods without looking them up.
"""

from __future__ import annotations

from collections.abc import Callable


class App:
    """`keep_alive`: the connection may carry another request after this one. `choked`: the app does not keep up with
    what is written."""

    __slots__ = ("choked", "keep_alive")

    def __init__(self) -> None:
        self.choked = False
        self.keep_alive = True

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    @property
    def pass_on(self) -> Callable[[bytes], None]:
        """Sends a piece of a stream under way, for which the app can wait some hundred microseconds."""
        raise NotImplementedError

    def answered(self, now: float, *, keep_alive: bool) -> None:
        """The answer has ended as it should."""
        raise NotImplementedError

    def broken(self) -> None:
        """The answer cannot be ended as it should: what was sent goes out, then the connection ends."""
        raise NotImplementedError
