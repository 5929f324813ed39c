"""Which requests leave a trace.

In:      finished records; `sampled` says what the app's `traceparent`, else the ratio, has decided (telemetry.sampler).
Out:     kept or not, the same for every span of the request.
Rule:    kept is whatever had a failure, in an attempt or as a whole, and whatever was slow: a first packet
         later than its timeout that was let through, or later than SLOW after the request began. No sampler
         changes that.
"""

from __future__ import annotations

from typing import Final

from sidecar.record import RequestRecord

SLOW: Final = 30.0  # seconds: the default first-packet timeout, over all attempts


def is_kept(record: RequestRecord) -> bool:
    if record.failure is not None:
        return True
    for attempt in record.attempts:
        if attempt.failure is not None or attempt.late:
            return True
        if attempt.first_packet_at is not None and attempt.first_packet_at - record.started_at > SLOW:
            return True
    return record.sampled
