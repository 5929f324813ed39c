"""Until when a request may take: the route's deadline, shared by its candidates, and the app's patience.

Units:   monotonic seconds; None: no such moment.
Rules:   an operator's deadline asks for haste and is shared; the app's own timeout is there for answers that take
         long and is not. Nothing begins after either.
"""

from __future__ import annotations


class TimeLeft:
    """Of one request."""

    __slots__ = ("deadline", "end")

    def __init__(self, deadline: float | None, patience: float | None) -> None:
        self.deadline = deadline
        if deadline is None or patience is None:
            self.end = patience if deadline is None else deadline
        else:
            self.end = min(deadline, patience)

    def allows(self, moment: float) -> bool:
        return self.end is None or moment < self.end

    def share(self, candidates: int, now: float) -> float | None:
        """Until when one of so many candidates may use the time that is left."""
        if self.deadline is None:
            return None
        return min(now + (self.deadline - now) / candidates, self.deadline)
