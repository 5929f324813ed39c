"""Passive health: the rules that single an endpoint out by the app's own traffic.

In:      one outcome per finished attempt that says something, with the time it finished.
Out:     the name of the rule that asks for an ejection, the multiplier k, how long an ejection lasts.
Rules:   `consecutive_failures` in a row; or a failure percentage at or above its threshold over `window`,
         from `minimum_requests` on. Each is judged at every finished attempt: a sweep once an interval,
         as Envoy has it, would let a burst of failures through first. 0 switches a rule off.
         The ejection takes min(base * k, max) seconds and then up to `ejection_jitter` per cent more: on
         top, as in Envoy, so that endpoints which left together do not come back together at the cap.
         k is 1 at the first ejection and one more at each further one. A whole `interval` in good health
         takes one off, down to 0: in rotation, probes (if any) content, no failure since it began. An
         interval without traffic is a good one. The count begins at the return and again at each failure.
Policy:  a change keeps k and the run of failures; the window is kept unless its length changes.
Source:  Envoy's outlier detection, for one to five endpoints and thin traffic.
"""

from __future__ import annotations

from random import Random

from sidecar.health.window import Window
from sidecar.policy.snapshot import PassiveHealth


class Outlier:
    """What one endpoint's traffic says about it."""

    __slots__ = ("_good_since", "_k", "policy", "run", "window")

    def __init__(self, policy: PassiveHealth, now: float) -> None:
        self.policy = policy
        self.window = Window(policy.window)
        self.run = 0  # failures since the last success
        self._k = 0  # as of _good_since
        self._good_since: float | None = now  # None: not in good health

    def observe(self, *, failed: bool, now: float) -> str | None:
        """Counts one outcome; returns the rule that now asks for an ejection, if one does."""
        policy, window = self.policy, self.window
        window.add(failed=failed, now=now)
        if failed:
            self.run += 1
            self._restart_good_health(now)
            if 0 < policy.consecutive_failures <= self.run:
                return "consecutive_failures"
        else:
            self.run = 0
        if not window.failures or window.requests < policy.minimum_requests:
            return None
        threshold = policy.failure_percentage_threshold
        if threshold > 0 and window.failures * 100 >= threshold * window.requests:
            return "failure_percentage"
        return None

    def has_failed(self, now: float) -> bool:
        """Within the window, or since the last success."""
        self.window.roll(now)
        return self.run > 0 or self.window.failures > 0

    def multiplier(self, now: float) -> int:
        """k at present."""
        if self._good_since is None or not self._k:
            return self._k
        return max(0, self._k - int((now - self._good_since) / self.policy.interval))

    def eject(self, rng: Random, now: float) -> tuple[int, float]:
        """Raises k for an ejection that begins now; returns it and the time the ejection ends."""
        self.hold(now)
        self._k += 1
        length = min(self.policy.base_ejection_time * self._k, self.policy.max_ejection_time)
        return self._k, now + length * (1.0 + self.policy.ejection_jitter / 100.0 * rng.random())

    def hold(self, now: float) -> None:
        """From now on it is not in good health: k stays as it is."""
        self._k = self.multiplier(now)
        self._good_since = None

    def clear(self) -> None:
        """Forgets what was counted; k stays."""
        self.window.clear()
        self.run = 0

    def start_anew(self, now: float) -> None:
        """Back in rotation: what was counted before says nothing about it any more; k is kept."""
        self.clear()
        self._k = self.multiplier(now)
        self._good_since = now

    def forget(self, now: float) -> None:
        """As if it were new: k too."""
        self._k = 0
        self.start_anew(now)

    def adopt(self, policy: PassiveHealth, now: float) -> None:
        """Goes on under another policy."""
        if self._good_since is not None:  # intervals passed so far were those of the old policy
            self._restart_good_health(now)
        if policy.window != self.policy.window:
            self.window = Window(policy.window)
        self.policy = policy

    def _restart_good_health(self, now: float) -> None:
        self._k = self.multiplier(now)
        if self._good_since is not None:
            self._good_since = now


def may_eject(out: int, total: int, percent: float) -> bool:
    """Whether one more of a service's endpoints may leave when `out` of `total` are out already.

    The share is that after the ejection. One may always leave, or 10 % of one to five endpoints would
    mean never; only 0 % means never.
    """
    return percent > 0 and (out == 0 or (out + 1) * 100 <= percent * total)
