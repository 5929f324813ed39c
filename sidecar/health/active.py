"""Active health: probes in a row that flip the verdict (rise and fall).

In:      probe results in order.
Out:     whether the verdict changed.
Rule:    an endpoint is healthy until `unhealthy_threshold` probes in a row fail, and unhealthy until
         `healthy_threshold` in a row pass. A new one starts healthy, so that a start or a policy change
         never stops traffic for the time of a probe.
"""

from __future__ import annotations

from sidecar.policy.snapshot import ActiveHealth


class ProbeVerdict:
    """What the probes of one endpoint say."""

    __slots__ = ("_run", "healthy", "reason")

    def __init__(self) -> None:
        self.healthy = True
        self.reason = ""  # of the newest verdict
        self._run = 0  # results in a row that contradict the verdict

    def observe(self, policy: ActiveHealth, *, passed: bool, reason: str) -> bool:
        """Counts one probe; returns whether the verdict changed."""
        if passed is self.healthy:
            self._run = 0
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
