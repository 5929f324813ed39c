"""Which requests leave a trace.

In:      a finished record; the share of plain successes to keep.
Out:     kept or not, the same for every span of the request.
Rule:    kept is whatever had a failure, in an attempt or as a whole, and whatever was slow: a first packet
         later than its timeout that was let through, or later than SLOW after the request began. Of the
         rest, what the app's `traceparent` says; if it says nothing, the ratio by trace id.
"""

from __future__ import annotations

from sidecar.record import RequestRecord
from sidecar.wire import traceparent

SLOW = 30.0  # seconds: the default first-packet timeout, over all attempts


def is_kept(record: RequestRecord, ratio: float) -> bool:
    if record.failure is not None:
        return True
    for attempt in record.attempts:
        if attempt.failure is not None or attempt.late:
            return True
        if attempt.first_packet_at is not None and attempt.first_packet_at - record.started_at > SLOW:
            return True
    return traceparent.is_sampled(record.trace_id, record.sampled, ratio)
