"""What an attempt says of its endpoint: late or on time while it runs, one verdict at its end.

In:      an attempt's record, whole at its end; its endpoint and the era it began in.
Out:     words to the ledger; what it makes of them to whoever listens to health.
Rule:    the verdict comes once an attempt, synchronously at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.failure import FailureKind, Verdict, verdict
from sidecar.health.scopes import blame_of

if TYPE_CHECKING:
    from sidecar.exchange.keys import Field, Key
    from sidecar.exchange.runtime import Shared
    from sidecar.health.ledger import EndpointHealth
    from sidecar.record import AttemptRecord

SUCCESS: Final = Verdict.SUCCESS


class Judged(Protocol):
    """An attempt; at its end its record is complete."""

    shared: Shared
    endpoint: EndpointHealth
    era: int  # that it began in
    record: AttemptRecord
    key: Key | None  # of the sidecar's
    sent: Field | None  # as which it was sent

    @property
    def is_excused(self) -> bool:
        """Late or not says nothing about health, so long is the prompt."""

    @property
    def is_about_app(self) -> bool:
        """Its failure says something about the app's own key, and nothing to others."""


def judge_on_time(shared: Shared, endpoint: EndpointHealth, record: AttemptRecord, now: float) -> None:
    """Its first packet has come. After its time that says nothing, and an error that came in time proves nothing."""
    if not record.late and record.status is not None and record.status < 400:
        events = shared.ledger.on_time(endpoint, record.started_at, now)
        if events:
            shared.health_events(events)


def judge_late(attempt: Judged, now: float) -> None:
    """Its first packet has not come in time; that is said once."""
    record = attempt.record
    if not record.late:
        record.late = True
        if not attempt.is_excused:
            attempt.shared.ledger.late(attempt.endpoint, record.started_at, now)


def judge_success(
    shared: Shared, endpoint: EndpointHealth, era: int, record: AttemptRecord, key: Key | None, now: float
) -> None:
    """Instead of `judge`, for an attempt that neither failed nor was late nor dropped: nothing has to be weighed."""
    ledger = shared.ledger
    if scopes := ledger.scopes(record.service):
        scopes.succeeded(None if key is None else key.name)
    if events := ledger.finished(endpoint, SUCCESS, now, None, era, began=record.started_at):
        shared.health_events(events)


def judge(attempt: Judged, now: float) -> None:
    """Once, at its end."""
    shared, endpoint, record, key = attempt.shared, attempt.endpoint, attempt.record, attempt.key
    failure = record.failure
    ledger, service = shared.ledger, record.service
    blame, about_app = None, False
    if failure is not None:
        blame = blame_of(failure, service, None if key is None else key.name, record.model)
        about_app = attempt.is_about_app
    elif not record.dropped and (scopes := ledger.scopes(service)):
        scopes.succeeded(None if key is None else key.name)
    asked = None
    if failure is not None and failure.kind is FailureKind.STATUS and blame is None and not about_app:
        asked = failure.retry_after
    cut = failure is not None and failure.kind is FailureKind.FIRST_PACKET_TIMEOUT
    if cut:
        record.late = True
    said = verdict(
        failure,
        late=record.late,
        dropped=record.dropped,
        lateness_counts=endpoint.limit is None and not attempt.is_excused,
    )
    events = ledger.finished(
        endpoint,
        Verdict.IGNORABLE if blame is not None or about_app else said,
        now,
        asked,
        attempt.era,
        began=record.started_at,
        # An LLM server that does not cancel goes on with what a hedge has lost or an app has left, too, if it saw it.
        cut=(cut or (record.dropped and record.first_packet_at is None)) and _reached_it(record),
    )
    if blame is not None and (key is None or blame.scope != key.scope):
        events += ledger.blame(service, blame, now)
    elif blame is not None and key is not None and key.field() == attempt.sent:
        key.blamed = attempt.sent  # with another value by now, the key has done nothing
        events += ledger.blame(service, blame, now)
    if events:
        shared.health_events(events)


def _reached_it(record: AttemptRecord) -> bool:
    return record.reused or record.connected_at is not None
