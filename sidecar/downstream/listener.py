"""Listeners, and what all connections of the app share.

In:      bound addresses, limits, the running policy.
Out:     an Exchange for each whole request; an answer and a record for each that never becomes one.
Limits:  max_connections over all listeners; each deadline of the app's side is one DeadlineQueue.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from sidecar.downstream.admission import Refused, admit
from sidecar.downstream.connection import AppConnection
from sidecar.exchange.answers import own_response
from sidecar.exchange.clocks import wall_ns
from sidecar.exchange.exchange import Exchange
from sidecar.exchange.lane import lane_of
from sidecar.exchange.quota_fields import quota_fields
from sidecar.exchange.runtime import Shared
from sidecar.exchange.timers import DeadlineQueue
from sidecar.exchange.tokens import of_prompt
from sidecar.policy.snapshot import Limits
from sidecar.quota.quota import Wait, Who
from sidecar.record import RequestRecord
from sidecar.wire import traceparent
from sidecar.wire.dialect import Shape, shape_of
from sidecar.wire.head_cache import RequestHeads
from sidecar.wire.heads import RequestHead
from sidecar.wire.request_body import NOTHING, peek

monotonic: Final = time.monotonic

LEAVING_SECONDS = 2.0  # for the app to read the last answer and close


class AppSide:
    """Shared by the listeners: limits, deadlines, connections, and the policy of the moment."""

    def __init__(self, shared: Shared, limits: Limits) -> None:
        loop = shared.loop
        self.shared = shared
        self.limits = limits
        self.draining = False
        self.connections: set[AppConnection] = set()
        self.heads = RequestHeads()
        self.turn = shared.turn
        self.idle = DeadlineQueue[AppConnection](loop, limits.keepalive_timeout, AppConnection.idle_due)
        self.head_due = DeadlineQueue[AppConnection](loop, limits.head_timeout, AppConnection.head_due)
        self.body_due = DeadlineQueue[AppConnection](loop, limits.body_idle_timeout, AppConnection.head_due)
        self.leaving = DeadlineQueue[AppConnection](loop, LEAVING_SECONDS, AppConnection.leaving_due)
        self.unsent = DeadlineQueue[AppConnection](loop, limits.write_timeout, AppConnection.write_due)

    def drain(self) -> None:
        """Nothing new: idle connections end now, the others after their answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.close_if_idle()


class Listener:
    """One address; `over_tcp` decides about the checks of Host and Origin."""

    __slots__ = (
        "_side",
        "body_due",
        "head_due",
        "heads",
        "hosts",
        "idle",
        "leaving",
        "limits",
        "loop",
        "max_header",
        "max_request_body",
        "origins",
        "over_tcp",
        "turn",
        "unsent",
    )

    def __init__(
        self, side: AppSide, *, over_tcp: bool, hosts: frozenset[str], origins: frozenset[str]
    ) -> None:
        self._side = side
        self.loop: asyncio.AbstractEventLoop = side.shared.loop
        self.over_tcp = over_tcp
        self.hosts = hosts
        self.origins = origins
        self.limits = side.limits
        self.max_header = side.limits.max_header
        self.max_request_body = side.limits.max_request_body
        self.heads = side.heads
        self.idle = side.idle
        self.head_due = side.head_due
        self.body_due = side.body_due
        self.leaving = side.leaving
        self.unsent = side.unsent
        self.turn = side.turn

    @property
    def draining(self) -> bool:
        return self._side.draining

    def admit(self, head: RequestHead) -> Refused | None:
        """Whether requests with this head may come in; asked once for each head that is remembered."""
        if self not in head.memo:
            head.memo[self] = admit(head, self)
        refused: Refused | None = head.memo[self]
        return refused

    def add(self, connection: AppConnection) -> bool:
        """False: there are too many. It is counted all the same until it has gone."""
        self._side.connections.add(connection)
        return len(self._side.connections) <= self.limits.max_connections

    def forget(self, connection: AppConnection) -> None:
        self._side.connections.discard(connection)

    def exchange_for(
        self, app: AppConnection, head: RequestHead, trace: bytes | None, body: bytes
    ) -> Exchange | Refused:
        """Finds the route and makes the exchange; the policy it begins with stays with it."""
        side = self._side
        if side.draining:
            return Refused(503, "draining", "The sidecar is shutting down")
        model, stream, model_span, _ = peek(body) if body else NOTHING
        lane = lane_of(side.shared.in_force(), head, model, stream=stream)
        if lane is None:
            why = "No route of the policy matches this path and model"
            return Refused(404, "no_route", why, model=model, stream=stream, body_bytes=len(body))
        route, taken = lane.route, None
        if route.quota is not None:
            who = Who(model, head.get, app.uid)
            answer = route.quota.ask(who, of_prompt(len(body)), monotonic())
            if isinstance(answer, Wait):
                return Refused(
                    429,
                    "rate_limited",
                    "The rate limit of this route is reached",
                    retry_after=answer.seconds,
                    route=route.name,
                    quota_fields=quota_fields(answer),
                    model=model,
                    stream=stream,
                    body_bytes=len(body),
                )
            taken = answer
        record = self._record(head, trace)
        if taken is not None:
            record.quota_fields = quota_fields(taken)
        record.route = route.name
        record.shape = lane.shape_name
        record.model = model
        record.stream = stream
        record.generation = lane.runtime.generation
        record.body_bytes = len(body)
        return Exchange(side.shared, lane, app, record, head, body, model_span, taken)

    def refuse(
        self, app: AppConnection, head: RequestHead | None, trace: bytes | None, refused: Refused
    ) -> None:
        """Answers a request that becomes no exchange."""
        record = self._record(head, trace)
        record.status = refused.status
        record.route, record.quota_fields = refused.route, refused.quota_fields
        record.model, record.stream, record.body_bytes = refused.model, refused.stream, refused.body_bytes
        record.generation = self._side.shared.in_force().generation
        data = own_response(
            refused.status,
            Shape.OTHER if head is None else shape_of(head.path),
            refused.code,
            refused.why,
            record,
            keep_alive=app.keep_alive,
            retry_after=refused.retry_after,
        )
        record.bytes_out = len(data)
        app.send(data)
        now = record.ended_at = monotonic()
        self._side.shared.sink.request_finished(record)
        app.answered(now, keep_alive=app.keep_alive)

    def _record(self, head: RequestHead | None, trace: bytes | None) -> RequestRecord:
        """`head`: None where it could not be read. `trace`: its traceparent."""
        shared = self._side.shared
        parent = None
        if head is not None and trace is not None:
            parent = traceparent.parse(trace)
        ids = shared.ids
        trace_id = parent[0] if parent else ids.trace()
        record = RequestRecord(trace_id, ids.span(), monotonic(), wall_ns())
        wanted = parent[2] if parent and shared.app_samples else None
        record.sampled = traceparent.is_sampled(trace_id, wanted, shared.sampling_bound)
        if head is not None:
            record.method, record.path = head.method, head.path
            if parent is not None:
                record.parent_span = parent[1]
                if (state := head.get(b"tracestate")) is not None and len(state) <= 512:
                    record.tracestate = state.decode("latin-1")
        return record
