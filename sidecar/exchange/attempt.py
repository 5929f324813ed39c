"""One sending of a request to one endpoint: dial or reuse, send, hold back, relay, and end in exactly one way.

In:      bytes and ends of an upstream connection, deadlines, the app's pauses.
Out:     to its Exchange: `attempt_opens` at most once, then `attempt_ended` or `attempt_broke`; before that
         `attempt_failed` or `attempt_late`. To the ledger: one verdict, synchronously, at its end.
Rule:    after the end nothing of it is heard any more: the connection has no user, the deadlines are gone.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from typing import TYPE_CHECKING, Final

from sidecar.exchange.gate import OPEN, Gate
from sidecar.exchange.guard import guarded
from sidecar.exchange.judge import judge, judge_success
from sidecar.exchange.relay import WHOLE, End, Relay, StreamRelay
from sidecar.exchange.silence import Silence
from sidecar.failure import Failure, FailureKind
from sidecar.record import AttemptRecord
from sidecar.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from sidecar.exchange.clocks import Waiter
    from sidecar.exchange.exchange import Exchange
    from sidecar.exchange.gate import Verdict
    from sidecar.exchange.keys import Field, Key
    from sidecar.exchange.lane import Leg
    from sidecar.exchange.timers import Deadline
    from sidecar.health.ledger import EndpointHealth
    from sidecar.quota.quota import Taken
    from sidecar.upstream.dial import Dial

monotonic: Final = time.monotonic

ERROR_BODY_GRACE: Final = 1.0  # for the rest of an error's body; then it counts without it


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
NOTHING_TO_SEND: Final = (b"", b"")
IN_ONE_WRITE: Final = 65536  # of a larger body no copy is made to send it behind its head


class Attempt:
    """Driven by its connection and its clocks; tells its exchange the turning points."""

    __slots__ = (
        "_connection",
        "_deadline",
        "_dial",
        "_first_packet",
        "_grace",
        "_hedge",
        "_phase",
        "_relay",
        "_request",
        "_silence",
        "_soft",
        "_total",
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

    def __init__(
        self,
        exchange: Exchange,
        leg: Leg,
        endpoint: EndpointHealth,
        record: AttemptRecord,
        key: Key | None,
        sent: Field | None,
    ) -> None:
        """`sent`: what the key is, or was when it was sent."""
        self.exchange = exchange
        self.shared = exchange.shared
        self.key = key
        self.sent = sent
        self.service = leg.service
        self.endpoint = endpoint
        self.record = record
        self.gate = Gate(leg.terms)
        self.taken: Taken | None = None  # of the service's rate limits
        self._phase = DIALING
        self.era = 0
        self._total: Deadline[Waiter] | None = None
        # Of the whole answer, where no stream is asked for.
        self._first_packet: Deadline[Waiter] | None = None
        self._soft: Deadline[Waiter] | None = None
        self._hedge: Deadline[Waiter] | None = None
        self._silence: Silence | None = None
        self._connection: UpstreamConnection | None = None
        self._dial: Dial | None = None
        self._request: tuple[bytes, bytes] = NOTHING_TO_SEND
        self._relay: Relay | StreamRelay | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None

    def begin(self, head: bytes, body: bytes, deadline: float | None, now: float) -> None:
        """Starts the clocks and sends, over a connection used before if there is one."""
        exchange, service = self.exchange, self.service
        shared = exchange.shared
        self._request = (head, body)
        self.era = shared.ledger.started(self.endpoint, now)
        self._total = service.total.add(self, now)
        if exchange.stream:
            self._first_packet = service.first_packet(len(body)).add(self, now)
            if (soft := service.soft(len(body))) is not None:
                self._soft = soft.add(self, now)
            if exchange.hedge is not None:
                self._hedge = exchange.hedge.add(self, now)
        else:
            self._first_packet = service.whole_answer.add(self, now)
        if deadline is not None:
            self._deadline = shared.loop.call_later(max(deadline - now, 0.0), self._share_used)
        connection = service.pool(self.record.endpoint).acquire(now)
        if connection is not None:
            self.record.reused = True
            self._send(connection)
        else:
            self._dial_anew()

    def _stop_waiting(self) -> None:
        """Its first packet is here, or it has none to wait for any more."""
        if self._first_packet is not None:
            self._first_packet.clear()
        if self._soft is not None:
            self._soft.clear()
        if self._hedge is not None:
            self._hedge.clear()
        self._first_packet = self._soft = self._hedge = None

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

    def pause(self) -> None:
        """The app does not keep up: read no more, and do not take the silence for the endpoint's."""
        if self._phase is RELAYING and self._connection is not None:
            assert self._silence is not None
            self._silence.stop()  # TLS still hands on what it has decrypted
            self._connection.pause()

    def resume(self) -> None:
        if self._phase is RELAYING and self._connection is not None:
            assert self._silence is not None
            self._silence.go_on(monotonic())
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
        head, body = self._request
        if len(body) < IN_ONE_WRITE:
            connection.send(head + body)
        else:
            connection.send(head)
            connection.send(body)

    def received(self, data: bytes) -> None:
        record = self.record
        record.bytes_in += len(data)
        try:  # as @guarded does, at no cost
            if (relay := self._relay) is not None:
                assert self._silence is not None
                self._silence.heard_at = monotonic()
                result = relay.received(data)
                if result is not None:
                    self._relay_result(result)
                return
            now = monotonic()
            if record.first_byte_at is None:
                record.first_byte_at = now
            elif self._silence is not None:
                self._silence.heard_at = now
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
        if gate.head is not None:
            self.record.status = gate.head.status
        if result is OPEN:
            self._open(now)
        elif result is None:
            if gate.progress and self.record.first_packet_at is None:
                self._note_first_packet(now)
            if gate.awaits_error_body and self._grace is None:
                loop = self.shared.loop
                self._grace = loop.call_later(ERROR_BODY_GRACE, self._grace_over)
        else:
            assert isinstance(result, Failure)
            self._fail(result)

    def _note_first_packet(self, now: float) -> None:
        """The first packet is there but the gate stays shut: from now on it is idle's turn.

        What is no stream has to be whole by `response`, which goes on.
        """
        self.record.first_packet_at = now
        if self.exchange.stream:
            self._stop_waiting()
            self._tell_on_time(now)
        self._listen(now)

    def _listen(self, now: float) -> None:
        if self._silence is None:
            length = self.service.service.timeouts.idle
            self._silence = Silence(self.shared.loop, length, self._fell_silent, now)

    def _tell_on_time(self, now: float) -> None:
        """An error that came in time proves nothing."""
        head = self.gate.head
        if not self.record.late and head is not None and head.status < 400:
            shared = self.shared
            events = shared.ledger.on_time(self.endpoint, self.record.started_at, now)
            if events:
                shared.health_events(events)

    def _open(self, now: float) -> None:
        record, gate, exchange = self.record, self.gate, self.exchange
        if record.first_packet_at is None:
            record.first_packet_at = now
            if exchange.stream:
                self._tell_on_time(now)
        if gate.reader is not None and gate.reader.content:
            record.first_content_at = now
        if exchange.is_outdone(self):
            return
        self._stop_waiting()
        self._cancel_handles()
        if gate.is_complete or self._connection is None:  # the answer is here as a whole
            exchange.attempt_opens(self, None)
            self._end(None, now, reusable=True)
            exchange.attempt_ended(self, now)
            return
        self._request = NOTHING_TO_SEND  # nobody else will be asked; a long stream need not hold it
        self._phase = RELAYING
        self._listen(now)
        self._deadline = exchange.arm_deadline(self._request_deadline_passed)
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
            self._note_late(now)
            self.exchange.attempt_late(self, now)

    @guarded
    def soft_due(self, now: float) -> None:
        if not self.gate.awaits_error_body:
            self._note_late(now)

    @guarded
    def hedge_due(self, now: float) -> None:
        if not self.gate.awaits_error_body:
            self.exchange.attempt_slow(now)

    def _note_late(self, now: float) -> None:
        if not self.record.late:
            self.record.late = True
            if not self.is_excused:
                self.shared.ledger.late(self.endpoint, self.record.started_at, now)

    @property
    def is_about_app(self) -> bool:
        """Its failure says something about the app's own key, and nothing to others."""
        failure = self.record.failure
        return failure is not None and failure.status == 429 and self.service.sees_key_of(self.exchange.head)

    @property
    def is_excused(self) -> bool:
        """Late or not says nothing about health."""
        return self.exchange.stream and self.service.excuses(self.exchange.record.body_bytes)

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
        exchange, service, record = self.exchange, self.service, self.record
        was_committed = self._phase is RELAYING
        self._phase = ENDED
        self._cancel_handles()
        self._stop_waiting()
        if self._total is not None:
            self._total.clear()
            self._total = None
        if self._silence is not None:
            self._silence.stop()
            self._silence = None  # it knows us: no cycle is left to the garbage collector
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
        self.shared.attempts.finished(exchange.record, record)

    def _cancel_handles(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
