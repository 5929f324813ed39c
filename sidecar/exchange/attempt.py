"""One sending of a request to one endpoint: dial or reuse, send, hold back, relay, and end in exactly one way.

In:      bytes and ends of an upstream connection, what its Watch finds due, the app's pauses.
Out:     to its Exchange: `attempt_opens` at most once, then `attempt_ended` or `attempt_broke`; before that
         `attempt_failed` or `attempt_late`. To the ledger, by way of judge: one verdict, synchronously, at its end.
Rule:    after the end nothing of it is heard any more: the connection has no user, the watch is over.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Final

from sidecar.exchange.gate import OPEN, Gate
from sidecar.exchange.guard import guarded
from sidecar.exchange.judge import judge, judge_late, judge_on_time, judge_success
from sidecar.exchange.relay import WHOLE, End, Relay, StreamRelay
from sidecar.exchange.sending import written
from sidecar.exchange.watch import Watch
from sidecar.failure import Failure, FailureKind
from sidecar.record import AttemptRecord
from sidecar.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from sidecar.exchange.exchange import Exchange
    from sidecar.exchange.gate import Verdict
    from sidecar.exchange.keys import Field, Key
    from sidecar.exchange.lane import Leg
    from sidecar.health.ledger import EndpointHealth
    from sidecar.quota.quota import Taken
    from sidecar.upstream.dial import Dial

monotonic: Final = time.monotonic


class Phase(Enum):
    DIALING = "dialing"
    GATED = "gated"
    RELAYING = "relaying"
    ENDED = "ended"


# Looked up by name all the time: of an Enum's class each look costs ten times as much.
DIALING: Final = Phase.DIALING
GATED: Final = Phase.GATED
RELAYING: Final = Phase.RELAYING
ENDED: Final = Phase.ENDED


class Attempt:
    """Driven by its connection and its clocks; tells its exchange the turning points."""

    __slots__ = (
        "_connection",
        "_dial",
        "_leg",
        "_phase",
        "_relay",
        "_watch",
        "endpoint",
        "era",
        "exchange",
        "gate",
        "key",
        "record",
        "sent",
        "service",
        "shared",
        "taken",
    )

    _watch: Watch  # from `begin` on

    def __init__(
        self,
        exchange: Exchange,
        leg: Leg,
        endpoint: EndpointHealth,
        record: AttemptRecord,
        key: Key | None,
        sent: Field | None,
        taken: Taken | None,
    ) -> None:
        """`sent`: what the key is, or was when it was sent. `taken`: of the service's rate limits."""
        self.exchange = exchange
        self.shared = exchange.shared
        self.key = key
        self.sent = sent
        self._leg = leg
        self.service = leg.service
        self.endpoint = endpoint
        self.record = record
        self.gate = Gate(leg.terms)
        self.taken = taken
        self._phase = DIALING
        self.era = 0
        self._connection: UpstreamConnection | None = None
        self._dial: Dial | None = None
        self._relay: Relay | StreamRelay | None = None

    def begin(self, deadline: float | None, now: float) -> None:
        """Starts the clocks and sends, over a connection used before if there is one."""
        exchange, shared, service = self.exchange, self.shared, self.service
        lane = exchange.lane
        self._watch = Watch(
            shared.loop, self, service, lane.route.hedge, exchange.record.body_bytes, now, stream=lane.stream
        )
        self.era = shared.ledger.started(self.endpoint, now)
        if deadline is not None:
            self._watch.set_deadline(deadline, now, self._share_used)
        connection = service.pool(self.record.endpoint).acquire(now)
        if connection is not None:
            self.record.reused = True
            self._send(connection)
        else:
            self._dial_anew()

    def abort(self) -> None:
        """The app is gone, or another attempt has won: the LLM stops computing, nobody is blamed."""
        if self._phase is not ENDED:
            self.record.dropped = True
            self._end(None, monotonic(), reusable=False)

    def drop_late(self, now: float) -> None:
        """Given up because its first packet is late."""
        self._end(Failure(FailureKind.FIRST_PACKET_TIMEOUT), now, reusable=False)

    def out_of_time(self) -> None:
        """Given up because the app is about to."""
        self._end(Failure(FailureKind.DEADLINE_EXCEEDED), monotonic(), reusable=False)

    def cut_short(self, failure: Failure) -> None:
        """The sidecar ends in the middle of the answer: the app is told, nobody is blamed."""
        assert self._relay is not None
        relay = self._relay
        self.abort()
        self.exchange.attempt_broke(self, failure, relay)

    def crashed(self, bug: Exception) -> None:
        self.exchange.crashed(bug)

    def give_way(self, now: float) -> None:
        """It answered, with an error that is the app's own fault, while another attempt may still do better."""
        self.record.dropped = True
        self._end(None, now, reusable=True)

    @property
    def is_committed(self) -> bool:
        return self._phase is RELAYING

    @property
    def is_about_app(self) -> bool:
        """Its failure says something about the app's own key, and nothing to others."""
        failure = self.record.failure
        return failure is not None and failure.status == 429 and self.service.sees_key_of(self.exchange.head)

    @property
    def is_excused(self) -> bool:
        """Late or not says nothing about health."""
        return self.exchange.lane.stream and self.service.excuses(self.exchange.record.body_bytes)

    def pause(self) -> None:
        """The app does not keep up: read no more, and do not take the silence for the endpoint's."""
        if self._phase is RELAYING and self._connection is not None:
            silence = self._watch.silence
            assert silence is not None
            silence.stop()  # TLS still hands on what it has decrypted
            self._connection.pause()

    def resume(self) -> None:
        if self._phase is RELAYING and self._connection is not None:
            silence = self._watch.silence
            assert silence is not None
            silence.go_on(monotonic())
            self._connection.resume()

    # -- the connection ------------------------------------------------------------------------------------

    def _dial_anew(self) -> None:
        pool = self.service.pool(self.record.endpoint)
        self._dial = pool.dial(self.service.service.timeouts.connect, self._dialled)

    @guarded
    def _dialled(self, result: UpstreamConnection | Failure) -> None:
        self._dial = None
        if isinstance(result, Failure):
            self._fail(result)
        else:
            self.record.connected_at = monotonic()
            self._send(result)

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.user = self
        self._phase = GATED
        first, rest = written(self.exchange, self._leg, self.record.span, self.key, self.sent)
        connection.send(first)
        if len(rest) > 0:
            connection.send(rest)

    def received(self, data: bytes) -> None:
        record = self.record
        record.bytes_in += len(data)
        try:  # as @guarded does, at no cost
            if (relay := self._relay) is not None:
                silence = self._watch.silence
                assert silence is not None
                silence.heard_at = monotonic()
                result = relay.received(data)
                if result is not None:
                    self._relay_result(result)
                return
            now = monotonic()
            if record.first_byte_at is None:
                record.first_byte_at = now
            elif (silence := self._watch.silence) is not None:
                silence.heard_at = now
            self._gate_result(self.gate.feed(data), now)
        except Exception as bug:
            self.crashed(bug)

    @guarded
    def lost(self, error: Exception | None) -> None:
        connection, self._connection = self._connection, None
        if self._phase is RELAYING:
            assert self._relay is not None
            if error is None:
                self._relay_result(self._relay.ended())
            else:
                self._relay_result(self._relay.cut(str(error)))
            return
        nothing_yet = self.record.first_byte_at is None
        if nothing_yet and connection is not None and connection.served:
            self.record.reused = False  # closed while it was idle: a race, nobody's fault
            self._phase = DIALING
            self._dial_anew()
        elif error is None:
            self._gate_result(self.gate.ended(), monotonic())
        else:
            self._fail(self.gate.cut(Failure(FailureKind.RESET, detail=str(error) or "connection reset")))

    # -- decisions of gate and relay -------------------------------------------------------------------------

    def _gate_result(self, result: Verdict | Failure | None, now: float) -> None:
        gate = self.gate
        if (head := gate.head) is not None:
            self.record.status = head.status
        if result is OPEN:
            self._open(now)
        elif result is None:
            if gate.progress and self.record.first_packet_at is None:
                self._note_first_packet(now)
            if gate.awaits_error_body:
                self._watch.await_error_body(self._grace_over)
        else:
            assert isinstance(result, Failure)
            self._fail(result)

    def _note_first_packet(self, now: float) -> None:
        """The first packet is there but the gate stays shut: from now on it is idle's turn.

        What is no stream has to be whole by `response`, which goes on.
        """
        self.record.first_packet_at = now
        if self.exchange.lane.stream:
            self._watch.stop_waiting()
            judge_on_time(self.shared, self.endpoint, self.record, now)
        self._listen(now)

    def _listen(self, now: float) -> None:
        self._watch.listen(self.service.service.timeouts.idle, self._fell_silent, now)

    def _open(self, now: float) -> None:
        record, gate, exchange = self.record, self.gate, self.exchange
        if record.first_packet_at is None:
            record.first_packet_at = now
            if exchange.lane.stream:
                judge_on_time(self.shared, self.endpoint, record, now)
        if gate.reader is not None and gate.reader.content:
            record.first_content_at = now
        if exchange.is_outdone(self):
            return
        if gate.is_complete or self._connection is None:  # the answer is here as a whole
            exchange.attempt_opens(self, None)
            self._end(None, now, reusable=True)
            exchange.attempt_ended(self, now)
            return
        self._watch.commit()
        self._phase = RELAYING
        self._listen(now)
        if (deadline := exchange.deadline) is not None:
            self._watch.set_deadline(deadline, now, self._request_deadline_passed)
        self._relay = exchange.attempt_opens(self, gate.walker)
        if exchange.app.choked:  # by what came before this answer, when there was nothing yet to pause
            self.pause()

    def _relay_result(self, result: End | Failure) -> None:
        if result is WHOLE:
            now = monotonic()
            self._end(None, now, reusable=True)
            self.exchange.attempt_ended(self, now)
        else:
            assert isinstance(result, Failure)
            self._break(result)

    # -- clocks ----------------------------------------------------------------------------------------------

    @guarded
    def first_packet_due(self, now: float) -> None:
        if self.gate.awaits_error_body:
            self._gate_result(self.gate.error(), now)  # a failing status says more than its lateness
        else:
            judge_late(self, now)
            self.exchange.attempt_late(self, now)

    @guarded
    def soft_due(self, now: float) -> None:
        if not self.gate.awaits_error_body:
            judge_late(self, now)

    @guarded
    def hedge_due(self, now: float) -> None:
        if not self.gate.awaits_error_body:
            self.exchange.attempt_slow(now)

    @guarded
    def response_due(self, now: float) -> None:
        self._time_up(Failure(FailureKind.RESPONSE_TIMEOUT))

    @guarded
    def _fell_silent(self) -> None:
        self._time_up(Failure(FailureKind.IDLE_TIMEOUT))

    @guarded
    def total_due(self, now: float) -> None:
        self._time_up(Failure(FailureKind.TOTAL_TIMEOUT))

    @guarded
    def _share_used(self) -> None:
        self._time_up(
            Failure(FailureKind.DEADLINE_EXCEEDED, detail="its share of the route's deadline is used up")
        )

    @guarded
    def _request_deadline_passed(self) -> None:
        self._time_up(Failure(FailureKind.DEADLINE_EXCEEDED))

    @guarded
    def _grace_over(self) -> None:
        self._gate_result(self.gate.error(), monotonic())

    def _time_up(self, failure: Failure) -> None:
        if self._phase is RELAYING:
            self._break(failure)
        else:
            self._fail(self.gate.cut(failure))

    # -- ends ------------------------------------------------------------------------------------------------

    def _fail(self, failure: Failure) -> None:
        """Failed before its commit."""
        now = monotonic()
        whole_error = self.gate.awaits_error_body and self.gate.is_complete
        self._end(failure, now, reusable=whole_error)
        self.exchange.attempt_failed(self, failure, now)

    def _break(self, failure: Failure) -> None:
        """Broke after its commit."""
        assert self._relay is not None
        relay = self._relay
        self._end(failure, monotonic(), reusable=False)
        self.exchange.attempt_broke(self, failure, relay)

    def _end(self, failure: Failure | None, now: float, *, reusable: bool) -> None:
        assert self._phase is not ENDED
        service, record = self.service, self.record
        was_committed = self._phase is RELAYING
        self._phase = ENDED
        self._watch.end()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        connection, self._connection = self._connection, None
        if connection is not None:
            if reusable and self.gate.exactly_framed:
                connection.release(now)
            else:
                connection.abort()
        record.ended_at = now
        record.failure = failure
        if failure is None and not record.late and not record.dropped:
            judge_success(self.shared, self.endpoint, self.era, record, self.key, now)
        else:
            judge(self, now)
        if service.picker.waiting:
            service.line.place_given_back()
        if self.taken is not None and not was_committed and (failure is not None or record.dropped):
            self.taken.settle(0, now)
        self.shared.attempts.finished(self.exchange.record, record)
