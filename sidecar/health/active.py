"""Active health: probes in a row that flip the verdict (rise and fall).

In:      probe results in order.
Out:     whether the verdict changed.
Rules:   an endpoint is healthy until `unhealthy_threshold` probes in a row fail, and unhealthy until
         `healthy_threshold` in a row pass. A new one starts healthy, so that a start or a policy change
         never stops traffic for the time of a probe.
         A server that says it is loading is not in doubt: it is out at once. While it is out, whether it is loading
         or does not answer at all is told apart, and each change of that is news. Of one that did not answer, a 503 is
         taken for loading whatever its words: it is alive again.
"""

from __future__ import annotations

from sidecar.policy.snapshot import ActiveHealth

LOADING = "loading"
STARTING = "status 503"


class ProbeVerdict:
    """What the probes of one endpoint say."""

    __slots__ = ("_run", "healthy", "reason")

    def __init__(self) -> None:
        self.healthy = True
        self.reason = ""  # of the newest verdict
        self._run = 0  # results in a row that contradict the verdict

    def observe(self, policy: ActiveHealth, *, passed: bool, reason: str) -> bool:
        """Counts one probe; returns whether the verdict or the news of it changed."""
        if not passed:
            reason = self._loading_or(reason)
            if reason == LOADING and (self.healthy or self.reason != LOADING):
                self.healthy, self.reason, self._run = False, LOADING, 0
                return True
        if passed is self.healthy:
            self._run = 0
            if self.reason == LOADING and not passed and reason != LOADING:
                self.reason = reason
                return True
            return False
        self._run += 1
        if self._run < (policy.healthy_threshold if passed else policy.unhealthy_threshold):
            return False
        self.healthy, self.reason, self._run = passed, reason, 0
        return True

    def reset(self) -> bool:
        """Healthy until proven otherwise, again; returns whether the verdict changed."""
        changed = not self.healthy
        self.healthy, self.reason, self._run = True, "", 0
        return changed

    def _loading_or(self, reason: str) -> str:
        was_away = not self.healthy and self.reason != STARTING
        return LOADING if reason == STARTING and was_away else reason
