"""Where an event stream stands and what to do when it breaks. Pure: no clock, no socket.

In:      the events that arrived and the errors that ended a connection.
Out:     `after`, the sequence to resume from, and the seconds to wait before the next try.
Rules:   a `gap` moves the position past what was missed: it has been told, so it is not asked for again.
         `attempt_finished` never moves it: attempts are told live and are not kept by the daemon.
Errors:  an error that no patience can heal is raised again.
"""

from __future__ import annotations

from random import Random

from llmsidecar.v1.health_pb2 import HealthEvent

from sidecar_client.errors import AccessDenied, AdminError, InvalidArgument, NotFound, Unreachable

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
_HOPELESS = (AccessDenied, InvalidArgument, NotFound)


class Resume:
    """One event stream over as many connections as it takes."""

    __slots__ = ("_connected_once", "_failures", "_rng", "after")

    def __init__(self, after: int, rng: Random, *, wait_for_daemon: bool) -> None:
        self.after = after
        self._rng = rng
        self._connected_once = wait_for_daemon
        self._failures = 0

    def saw(self, event: HealthEvent) -> None:
        """Takes note of an event that was delivered."""
        self._connected_once = True
        self._failures = 0
        match event.WhichOneof("event"):
            case "attempt_finished":
                return
            case "gap":
                self.after = max(event.sequence, event.gap.last_missed)
            case _:
                self.after = event.sequence

    def delay_after(self, error: AdminError) -> float:
        """Seconds until the next try; half of it is random, so that many watchers do not come at once."""
        if isinstance(error, _HOPELESS) or error.code == "UNIMPLEMENTED":
            raise error
        if isinstance(error, Unreachable) and not self._connected_once:
            raise error
        full = min(LONGEST_DELAY, FIRST_DELAY * (1 << min(self._failures, 10)))
        self._failures += 1
        return full * (0.5 + 0.5 * self._rng.random())


def ended() -> AdminError:
    """The daemon ended the stream in good order, as it does when it stops."""
    return Unreachable("the daemon ended the event stream", "UNAVAILABLE")
