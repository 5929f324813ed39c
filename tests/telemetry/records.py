"""Records as the exchange would leave them, in one line each."""

from __future__ import annotations

from sidecar.failure import Failure, FailureKind
from sidecar.record import AttemptRecord, RequestRecord

STARTED = 1000.0
WALL = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z, the moment of STARTED

LATE = Failure(FailureKind.FIRST_PACKET_TIMEOUT)


def attempt(
    number: int = 1,
    service: str = "primary",
    *,
    endpoint: str = "10.0.0.1:8000",
    failure: Failure | None = None,
    fallback_from: str | None = None,
    reason: str | None = None,
    begin: float = 0.0,
    first_packet: float | None = 0.1,
    end: float = 1.0,
) -> AttemptRecord:
    """Times are seconds after the start of the request; first_packet after that of the attempt."""
    made = AttemptRecord(number, service, endpoint, b"%016x" % (0x1000 + number), STARTED + begin, reason)
    made.fallback_from = fallback_from
    made.url = f"https://{service}.example/v1/chat/completions"
    made.failure = failure
    made.ended_at = STARTED + end
    if failure is None and first_packet is not None:
        made.first_packet_at = made.first_content_at = STARTED + begin + first_packet
        made.status = 200
    return made


def request(*attempts: AttemptRecord, trace_id: int = 0xABC, failure: Failure | None = None) -> RequestRecord:
    made = RequestRecord(b"%032x" % trace_id, b"%016x" % 0x77, STARTED, WALL)
    made.method, made.path, made.route, made.shape = "POST", "/v1/chat/completions", "/v1#0", "chat"
    made.model, made.stream = "gpt-4o", True
    made.attempts = list(attempts) or [attempt()]
    made.failure = failure
    made.status = 200 if failure is None else 504
    made.answered = made.attempts[-1] if failure is None else None
    made.service = made.answered.service if made.answered is not None else ""
    made.ended_at = made.attempts[-1].ended_at
    return made


def rescued() -> RequestRecord:
    """The primary was late; the fallback answered."""
    return request(
        attempt(1, failure=LATE, end=0.2),
        attempt(
            2,
            "backup",
            endpoint="10.0.0.2:443",
            fallback_from="primary",
            reason="first_packet_timeout",
            begin=0.2,
        ),
    )
