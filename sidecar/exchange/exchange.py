"""One request in flight: drives its plan, and answers the app exactly once.

In:      a whole request of the app; turning points of its attempts; the app's hang-up and pauses.
Out:     bytes of one attempt, or an error answer; one record at the end.
Rule:    it holds no thresholds: what to try is the plan's, what counts is the gate's, who is ill the ledger's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from sidecar.attempt.plan import Answer, Drop, Plan, Queue, Try, Wait
from sidecar.exchange.attempt import Attempt
from sidecar.exchange.gate import Terms
from sidecar.exchange.guard import guarded
from sidecar.exchange.relay import Relay, StreamRelay
from sidecar.exchange.reply import App, Reply
from sidecar.exchange.runtime import APP_CREDENTIALS, BYTES_PER_TOKEN, no_header, no_uid
from sidecar.failure import Failure, FailureKind
from sidecar.policy.snapshot import HashOn
from sidecar.quota.quota import Taken, Who
from sidecar.record import AttemptRecord, RequestRecord
from sidecar.route.ask import Ask
from sidecar.route.candidates import Candidates
from sidecar.route.match import upstream_target
from sidecar.wire import traceparent
from sidecar.wire.dialect import Shape
from sidecar.wire.framing import Walker
from sidecar.wire.request_body import Peek, prompt_prefix, with_model
from sidecar.wire.stainless import patience

if TYPE_CHECKING:
    from sidecar.exchange.line import Line
    from sidecar.exchange.runtime import RouteRuntime, Runtime, ServiceRuntime, Shared
    from sidecar.health.ledger import EndpointHealth
    from sidecar.wire.heads import RequestHead


log = logging.getLogger(__name__)


class Exchange:
    """One request, from the moment it is whole."""

    __slots__ = (
        "_attempt",
        "_body",
        "_error",
        "_events",
        "_head",
        "_line",
        "_patience",
        "_peek",
        "_plan",
        "_reply",
        "_rival",
        "_route",
        "_shape",
        "_taken",
        "_wait",
        "hedge",
        "record",
        "runtime",
        "shared",
        "stream",
    )

    def __init__(
        self,
        shared: Shared,
        runtime: Runtime,
        route: RouteRuntime,
        app: App,
        record: RequestRecord,
        head: RequestHead,
        body: bytes,
        peek: Peek,
        shape: Shape,
        taken: Taken | None = None,
    ) -> None:
        """`taken`: what it took of the rate limits of its route."""
        self.shared = shared
        self.runtime = runtime  # the generation it began with
        self.record = record
        self.stream = peek.stream
        self._reply = Reply(app, head, record, shape)
        self._route = route
        self._head = head
        self._body = body
        self._peek = peek
        self._shape = shape
        self.hedge = route.hedge
        self._attempt: Attempt | None = None
        self._rival: Attempt | None = None  # while two run: the one that began first
        self._error: Attempt | None = None  # the last one that an endpoint answered with an HTTP error
        self._wait: asyncio.TimerHandle | None = None
        self._taken = taken
        self._events = 0  # of the stream that answered
        self._line: Line | None = None  # that it stands in
        self._patience = _patience_of(head)
        gives_up = None if self._patience is None else record.started_at + self._patience
        self._plan: Plan[EndpointHealth] = Plan(
            route.route,
            Candidates(route.pickers, Ask(peek.model, self._hash_key) if route.hashes else Ask(peek.model)),
            route.budget,
            shared.rng,
            record.started_at,
            deadline=gives_up,
            hedge_budget=route.hedge_budget,
        )

    def begin(self) -> None:
        self.shared.exchanges.add(self)
        now = self.record.started_at
        if self._patience is not None:
            self.shared.clocks.patience.of(self._patience).add(self, now)
        try:
            self._carry_out(self._plan.begin(now), now)
        except Exception as bug:
            self.crashed(bug)

    @guarded
    def app_gone(self) -> None:
        """The app hung up: whatever runs is cancelled."""
        self._abort_attempt()
        self._end(Failure(FailureKind.APP_WENT_AWAY))

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
            self._end(failure)
            self._reply.break_off()
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

    def gate_terms(self, service: ServiceRuntime) -> Terms:
        return self._route.terms(service, self._head.method, self._shape, stream=self.stream)

    def app_has_key(self, service: ServiceRuntime) -> bool:
        """Whether the service sees a key of the app's own, so that what it says of keys is about this app alone."""
        return not service.own_credential and any(self._head.get(name) for name in APP_CREDENTIALS)

    def arm_deadline(self, passed: Callable[[], None]) -> asyncio.TimerHandle | None:
        """The route's deadline for an answer that has begun."""
        deadline = self._route.route.deadline
        if deadline is None:
            return None
        left = self.record.started_at + deadline - monotonic()
        return self.shared.loop.call_later(max(left, 0.0), passed)

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
            self._try(command, now)
            self._rival = first

    def attempt_failed(self, attempt: Attempt, failure: Failure, now: float) -> None:
        if attempt.gate.head is not None and attempt.gate.head.status >= 400:
            self._error = attempt
        self._leave(attempt)
        command = self._plan.failed(failure, now, attempt.record.number)
        if command is not None:
            self._carry_out(command, now)

    def attempt_opens(self, attempt: Attempt, walker: Walker | None) -> Relay | StreamRelay | None:
        """Commits: head and held bytes go to the app. `walker` is None where the answer is here as a whole."""
        self._forget_patience()  # an SDK waits for the answer to begin, then for each packet anew
        if self._rival is not None:
            self._win(attempt)
        self._plan.committed()
        self._body = b""  # no other attempt may answer: the replay buffer is free
        self._error = None
        self.record.service = attempt.service.service.name
        if walker is None:
            self._reply.whole(attempt.gate)
            return None
        return self._reply.begin(attempt.gate, walker)

    def attempt_ended(self, attempt: Attempt) -> None:
        """The committed answer is whole."""
        self._note_usage(attempt)
        if attempt.taken is not None:
            attempt.taken.settle(self._tokens_used(), monotonic())
        self._end(None)
        self._reply.finish()

    def attempt_broke(self, attempt: Attempt, failure: Failure, relay: Relay | StreamRelay) -> None:
        """The committed answer broke: the app is told in its dialect, and the body never ends properly."""
        self._note_usage(attempt)
        self._reply.last_words(attempt.gate, failure, relay)
        self._end(failure)
        self._reply.break_off()

    # -- the plan's commands ------------------------------------------------------------------------------------

    def _carry_out(self, command: Try[EndpointHealth] | Wait | Queue | Drop | Answer, now: float) -> None:
        match command:
            case Try():
                self._try(command, now)
            case Drop():
                pass  # the other attempt goes on
            case Queue(rank=rank, until=until):
                self._line = self._route.services[rank].line
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
        service = self._route.services[command.rank]
        record = self.record
        span_id = self.shared.rng.getrandbits(64) or 1
        tried = AttemptRecord(
            command.number, service.service.name, command.endpoint.key.address, span_id, now, command.reason
        )
        tried.fallback_from = command.fallback_from
        body, model = self._body, service.service.model_for(self._peek.model)
        if model is not None and self._peek.model_span is not None:
            body = with_model(body, self._peek, model)
            tried.model = model
        else:
            tried.model = self._peek.model
        target = upstream_target(self._route.route, service.service, self._head.path, self._head.query)
        sampled = traceparent.is_sampled(record.trace_id, record.sampled, self.shared.sample_ratio)
        trace = b"traceparent: %s\r\n" % traceparent.format(record.trace_id, span_id, sampled)
        if record.tracestate:
            trace += b"tracestate: %s\r\n" % record.tracestate.encode()
        key = service.keys.next(now)
        head = service.request_bytes(self._head, target, body, trace, key)
        record.attempts.append(tried)
        self._attempt = attempt = Attempt(self, service, command.endpoint, tried, key)
        if service.quota is not None:
            who = Who(self._peek.model, no_header, no_uid)
            attempt.taken = service.quota.take(who, record.body_bytes // BYTES_PER_TOKEN, now)
        attempt.begin(head, body, command.deadline, now)

    def _answer(self, failure: Failure) -> None:
        """Nothing is left to try: the last HTTP error as it came, else our own."""
        self._attempt = self._rival = None
        if self._error is not None and failure.kind is not FailureKind.DEADLINE_EXCEEDED:
            self.record.service = self._error.record.service
            self._reply.whole(self._error.gate)
        else:
            self._reply.own(failure)
        self._end(failure)
        self._reply.finish()

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
        if (reader := attempt.gate.reader) is not None:
            self.record.prompt_tokens, self.record.completion_tokens = reader.usage
            self._events = reader.events

    def _hash_key(self, on: HashOn) -> bytes | None:
        """What the request has in common with others that are better answered by the same endpoint."""
        if on.header:
            return self._head.get(on.header.encode())
        return prompt_prefix(self._body, on.prompt_prefix)

    def _tokens_used(self) -> int:
        """As the service counted them, else estimated: the prompt by its bytes, the answer by the events of its stream.

        A request that nobody answered used none."""
        record = self.record
        if not 0 < record.status < 400:
            return 0
        prompt, completion = record.prompt_tokens, record.completion_tokens
        estimate = record.body_bytes // BYTES_PER_TOKEN
        return (estimate if prompt is None else prompt) + (self._events if completion is None else completion)

    def _forget_patience(self) -> None:
        if self._patience is not None:
            self.shared.clocks.patience.of(self._patience).discard(self)
            self._patience = None

    def _end(self, failure: Failure | None) -> None:
        self._attempt = self._rival = self._error = None
        self._forget_patience()
        self._plan.ended()
        self.shared.exchanges.discard(self)
        record = self.record
        record.failure = failure
        record.ended_at = monotonic()
        if self._taken is not None:
            self._taken.settle(self._tokens_used(), record.ended_at)
        self.shared.request_finished(record)


def _patience_of(head: RequestHead) -> float | None:
    """What the app's SDK says of its patience; the same for every request with this head."""
    if patience not in head.memo:
        head.memo[patience] = patience(head.fields)
    seconds: float | None = head.memo[patience]
    return seconds
