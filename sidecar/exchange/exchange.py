"""One request in flight: drives its plan, and answers the app exactly once.

In:      a whole request of the app; turning points of its attempts; the app's hang-up and pauses.
Out:     bytes of one attempt, or an error answer; one record at the end.
Rule:    it holds no thresholds: what to try is the plan's, what counts is the gate's, who is ill the ledger's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from sidecar.attempt.plan import Answer, Drop, Plan, Queue, Try, Wait
from sidecar.exchange import reply, tokens
from sidecar.exchange.alike import Alike
from sidecar.exchange.attempt import Attempt
from sidecar.exchange.guard import guarded
from sidecar.exchange.relay import Relay, StreamRelay
from sidecar.exchange.runtime import by_model
from sidecar.failure import Failure, FailureKind
from sidecar.record import AttemptRecord, RequestRecord
from sidecar.route.ask import Ask
from sidecar.route.candidates import Candidates

if TYPE_CHECKING:
    from sidecar.exchange.app import App
    from sidecar.exchange.clocks import Asker
    from sidecar.exchange.lane import Lane
    from sidecar.exchange.line import Line
    from sidecar.exchange.runtime import Shared
    from sidecar.exchange.timers import Deadline
    from sidecar.health.ledger import EndpointHealth
    from sidecar.quota.quota import Taken
    from sidecar.wire.framing import Walker
    from sidecar.wire.heads import RequestHead


log: Final = logging.getLogger(__name__)
monotonic: Final = time.monotonic


class Exchange:
    """One request, from the moment it is whole."""

    __slots__ = (
        "_alike",
        "_attempt",
        "_error",
        "_events",
        "_gives_up",
        "_line",
        "_plan",
        "_rival",
        "_taken",
        "_until_close",
        "_wait",
        "app",
        "body",
        "head",
        "lane",
        "model_span",
        "record",
        "shared",
    )

    def __init__(
        self,
        shared: Shared,
        lane: Lane,
        app: App,
        record: RequestRecord,
        head: RequestHead,
        body: bytes,
        model_span: tuple[int, int] | None,
        taken: Taken | None,
    ) -> None:
        """`model_span`: where the model's name stands in the body. `taken`: of the rate limits of its route."""
        self.shared = shared
        self.lane = lane  # of the generation it began with
        self.app = app
        self.head = head
        self.record = record
        self.body = body
        self.model_span = model_span
        self._attempt: Attempt | None = None
        self._rival: Attempt | None = None  # while two run: the one that began first
        self._error: Attempt | None = None  # the last one that an endpoint answered with an HTTP error
        self._wait: asyncio.TimerHandle | None = None
        self._taken = taken
        self._events = 0  # of the stream that answered
        self._line: Line | None = None  # that it stands in
        self._until_close = False  # the answer ends with the connection (HTTP/1.0)
        self._gives_up: Deadline[Asker] | None = None  # the app
        self._alike: Alike | None = None  # where an endpoint is chosen by a hash
        route, candidates = lane.route, lane.candidates
        if candidates is None:
            self._alike = Alike(head, body)
            candidates = Candidates(route.pickers, Ask(lane.model, self._alike.key))
        self._plan: Plan[EndpointHealth] = Plan(
            route.route,
            candidates,
            route.budget,
            shared.rng,
            record.started_at,
            deadline=None if lane.patience is None else record.started_at + lane.patience,
            hedge_budget=route.hedge_budget,
        )

    def begin(self) -> None:
        self.shared.exchanges.add(self)
        now = self.record.started_at
        patience = self.lane.patience
        if patience is not None:
            self._gives_up = self.shared.clocks.patience.of(patience).add(self, now)
        try:
            command = self._plan.begin(now)
            if isinstance(command, Try):
                self._try(command, now)
            else:
                self._carry_out(command, now)
        except Exception as bug:
            self.crashed(bug)

    @guarded
    def app_gone(self) -> None:
        """The app hung up: whatever runs is cancelled."""
        if (attempt := self._attempt) is not None and attempt.is_committed:
            self._note_usage(attempt)  # what it has read counts
        self._abort_attempt()
        self._end(Failure(FailureKind.APP_WENT_AWAY), monotonic())

    def stop(self) -> None:
        """The sidecar ends before the request does: the app is told as far as it still can be."""
        failure = Failure(FailureKind.DRAINING)
        if self._attempt is not None and self.record.bytes_out:
            self._attempt.cut_short(failure)
        else:
            self._abort_attempt()
            self._answer(failure)

    def crashed(self, bug: Exception) -> None:
        """A bug of ours: the request ends all the same, and everybody can see it."""
        log.error("request %s met a bug", self.record.request_id, exc_info=bug)
        if self.record.ended_at is not None:
            return
        failure = Failure(FailureKind.INTERNAL_ERROR, detail=type(bug).__name__)
        try:
            self._abort_attempt()
        except Exception:
            log.exception("request %s met another bug", self.record.request_id)
        if self.record.bytes_out:
            self._end(failure, monotonic())
            self.app.broken()
        else:
            self._error = None
            self._answer(failure)

    def pause(self) -> None:
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        if self._attempt is not None:
            self._attempt.resume()

    # -- what attempts ask and tell -----------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """By when, as its route has it, the answer must be whole."""
        length = self.lane.route.route.deadline
        return None if length is None else self.record.started_at + length

    @guarded
    def patience_due(self, now: float) -> None:
        """The app is about to give up: an error that says why is better than none."""
        self._cancel_wait()
        for attempt in (self._attempt, self._rival):
            if attempt is not None:
                attempt.out_of_time()
        self._carry_out(self._plan.out_of_time(), now)

    def attempt_late(self, attempt: Attempt, now: float) -> None:
        """Its first packet is late: go on elsewhere if there is anywhere, else go on waiting."""
        command = self._plan.late(now, attempt.record.number)
        if command is not None:
            attempt.drop_late(now)
            self._leave(attempt)
            self._carry_out(command, now)

    def attempt_slow(self, now: float) -> None:
        """It has not begun to answer for as long as the route hedges."""
        first, command = self._attempt, self._plan.slow(now)
        if command is not None:
            self._rival = first  # before anything can go wrong, or it would be left behind
            self._try(command, now)

    def attempt_failed(self, attempt: Attempt, failure: Failure, now: float) -> None:
        head = attempt.gate.head
        if head is not None and head.status >= 400:
            self._error = attempt
        self._leave(attempt)
        command = self._plan.failed(failure, now, attempt.record.number)
        if command is not None:
            self._carry_out(command, now)

    def is_outdone(self, attempt: Attempt) -> bool:
        """While two run, what is no answer does not commit: the other one may still do better."""
        head = attempt.gate.head
        if self._rival is None or head is None or head.status < 300:
            return False
        now = monotonic()
        attempt.give_way(now)
        self._error = attempt
        self._leave(attempt)
        self._plan.failed(Failure(FailureKind.STATUS, head.status), now, attempt.record.number)
        return True

    def attempt_opens(self, attempt: Attempt, walker: Walker | None) -> Relay | StreamRelay | None:
        """Commits: head and held bytes go to the app. `walker` is None where the answer is here as a whole."""
        if self._gives_up is not None:
            self._forget_patience()  # an SDK waits for the answer to begin, then for each packet anew
        if self._rival is not None:
            self._win(attempt)
        self._plan.committed()
        self.body = b""  # no other attempt may answer: the replay buffer is free
        if self._alike is not None:
            self._alike.body = b""
        self._error = None
        record = self.record
        record.service, record.answered = attempt.record.service, attempt.record
        if walker is None:
            reply.whole(self, attempt.gate)
            return None
        relay, self._until_close = reply.begin(self, attempt.gate, walker)
        return relay

    def attempt_ended(self, attempt: Attempt, now: float) -> None:
        """The committed answer is whole."""
        self._note_usage(attempt)
        self._end(None, now)
        app = self.app
        app.answered(now, keep_alive=app.keep_alive and not self._until_close)

    def attempt_broke(self, attempt: Attempt, failure: Failure, relay: Relay | StreamRelay) -> None:
        """The committed answer broke: the app is told in its dialect, and the body never ends properly."""
        self._note_usage(attempt)
        reply.last_words(self, attempt.gate, failure, relay)
        self._end(failure, monotonic())
        self.app.broken()

    # -- the plan's commands ------------------------------------------------------------------------------------

    def _carry_out(self, command: Try[EndpointHealth] | Wait | Queue | Drop | Answer, now: float) -> None:
        match command:
            case Try():
                self._try(command, now)
            case Drop():
                pass  # the other attempt goes on
            case Queue(rank=rank, until=until):
                self._line = self.lane.route.services[rank].line
                self._line.enter(self, until)
            case Wait(until=until):
                self._wait = self.shared.loop.call_later(max(until - now, 0.0), self._woke)
            case Answer(failure=failure):
                self._answer(failure)

    @guarded
    def _woke(self) -> None:
        self._wait = None
        now = monotonic()
        self._carry_out(self._plan.woke(now), now)

    def in_turn(self, now: float) -> bool:
        """It stands first in the line. Whether there was a place for it."""
        try:
            command = self._plan.in_turn(now)
            if command is None:
                return False
            self._line = None
            self._carry_out(command, now)
        except Exception as bug:
            self.crashed(bug)
        return True

    @guarded
    def waited_enough(self, now: float) -> None:
        self._line = None
        self._carry_out(self._plan.waited_enough(now), now)

    def _leave(self, attempt: Attempt) -> None:
        """It has ended; of two the other one stays."""
        if attempt is self._attempt:
            self._attempt = self._rival
        self._rival = None

    def _win(self, winner: Attempt) -> None:
        """Of two attempts: never both to the app."""
        loser = self._rival if winner is self._attempt else self._attempt
        self._attempt, self._rival = winner, None
        assert loser is not None
        loser.abort()

    def _try(self, command: Try[EndpointHealth], now: float) -> None:
        record, endpoint, key = self.record, command.endpoint, command.endpoint.key
        leg = self.lane.legs[command.rank]
        service = leg.service
        span = self.shared.ids.span()
        tried = AttemptRecord(command.number, key.service, key.address, span, now, command.reason)
        tried.fallback_from = command.fallback_from
        tried.model, tried.url = leg.model, leg.url
        secret = service.keys.next(now) if service.own_credential else None
        sent = None if secret is None else secret.field()
        record.attempts.append(tried)
        taken = None
        if service.quota is not None:
            taken = service.quota.take(by_model(self.lane.model), tokens.of_prompt(record.body_bytes), now)
        self._attempt = attempt = Attempt(self, leg, endpoint, tried, secret, sent, taken)
        attempt.begin(command.deadline, now)

    def _answer(self, failure: Failure) -> None:
        """Nothing is left to try: the last HTTP error as it came, else our own."""
        self._attempt = self._rival = None
        if self._error is not None and failure.kind is not FailureKind.DEADLINE_EXCEEDED:
            self.record.service = self._error.record.service
            reply.whole(self, self._error.gate)
        else:
            reply.own(self, failure)
        now = monotonic()
        self._end(failure, now)
        self.app.answered(now, keep_alive=self.app.keep_alive)

    # -- the end ------------------------------------------------------------------------------------------------

    def _abort_attempt(self) -> None:
        self._cancel_wait()
        attempts = self._attempt, self._rival
        self._attempt = self._rival = None
        for attempt in attempts:
            if attempt is not None:
                attempt.abort()

    def _cancel_wait(self) -> None:
        if self._line is not None:
            self._line.leave(self)
            self._line = None
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None

    def _note_usage(self, attempt: Attempt) -> None:
        """What the answer has cost, whole or as far as it came."""
        if (reader := attempt.gate.reader) is not None:
            self.record.prompt_tokens, self.record.completion_tokens = reader.usage
            self._events = reader.events
        if attempt.taken is not None:
            attempt.taken.settle(tokens.used(self.record, self._events), monotonic())

    def _forget_patience(self) -> None:
        if self._gives_up is not None:
            self._gives_up.clear()
            self._gives_up = None

    def _end(self, failure: Failure | None, now: float) -> None:
        """The record is whole."""
        self._attempt = self._rival = self._error = None
        if self._gives_up is not None:
            self._forget_patience()
        self._plan.ended()
        shared, record = self.shared, self.record
        shared.exchanges.discard(self)
        record.failure = failure
        record.ended_at = now
        if self._taken is not None:
            self._taken.settle(tokens.used(self.record, self._events), now)
        shared.sink.request_finished(record)
