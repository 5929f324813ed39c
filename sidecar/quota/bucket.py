"""A token bucket: holds as much as one period allows and is refilled evenly.

In:      amounts to take or to give back, each with `now`.
Out:     what is left, how long until so much is there.
Units:   seconds, monotonic; amounts are numbers of requests or of LLM tokens.
Rules:   what is used may turn out to be more than was asked for, so the level may be below zero: later requests wait.
         An amount larger than the bucket passes when the bucket is full, or it would never pass.
"""

from __future__ import annotations


class Bucket:
    """One count of one consumer."""

    __slots__ = ("_at", "_level", "rate", "size")

    def __init__(self, size: float, per: float, now: float) -> None:
        self.size = size
        self.rate = size / per
        self._level = size
        self._at = now

    def level(self, now: float) -> float:
        if now > self._at:
            self._level = min(self.size, self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much is there; 0: it is."""
        missing = min(amount, self.size) - self.level(now)
        return missing / self.rate if missing > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> None:
        """A negative amount is given back."""
        self._level = min(self.size, self.level(now) - amount)

    def is_full(self, now: float) -> bool:
        return self.level(now) >= self.size

    def reset(self, now: float) -> float:
        """Seconds until it is full."""
        return (self.size - self.level(now)) / self.rate
