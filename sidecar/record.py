"""Facts of a finished request and its attempts, and the Sink they go to.

Written by the exchange while it runs, read by sinks after the end. Plain slots, nothing here decides.
Units:   `*_at` are monotonic seconds; `started_wall` is Unix time in nanoseconds at the same moment as
         `started_at`, so that wall time of any other moment is started_wall + (t - started_at) * 1e9.
         `trace`, `span` and `parent_span` are ids as traceparent bears them, in hex; `*_id` the same as whole numbers,
         for those who count with them.
Rule:    no prompt, no answer, no header value of the app and no secret is ever put here.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.failure import Failure
from sidecar.terms import HEDGE


class AttemptRecord:
    """One sending of a request to one endpoint."""

    __slots__ = (
        "bytes_in",
        "connected_at",
        "dropped",
        "ended_at",
        "endpoint",
        "failure",
        "fallback_from",
        "first_byte_at",
        "first_content_at",
        "first_packet_at",
        "late",
        "model",
        "number",
        "reason",
        "reused",
        "service",
        "span",
        "started_at",
        "status",
        "url",
    )

    def __init__(
        self, number: int, service: str, endpoint: str, span: bytes, started_at: float, reason: str | None
    ) -> None:
        self.number = number  # from 1
        self.service = service
        self.endpoint = endpoint  # its address
        self.span = span
        self.started_at = started_at
        self.reason = reason  # why not the first choice: a failure code, `unhealthy`, …; None for the first
        self.fallback_from: str | None = None  # the service it stands in for; None: no fallback
        self.model: str | None = None  # as sent to the service
        self.url = ""  # without a query
        self.reused = False  # went over a connection that had served before
        self.connected_at: float | None = None
        self.first_byte_at: float | None = None
        self.first_packet_at: float | None = None  # what committed, or would have
        self.first_content_at: float | None = None  # first delta with text, a tool call or reasoning
        self.late = False  # first packet later than the timeout, but not cut
        self.ended_at: float | None = None
        self.status: int | None = None  # of the LLM's answer
        self.failure: Failure | None = None  # None: success, or ignorable when `dropped`
        self.dropped = False  # given up for a reason that says nothing about the endpoint (the app hung up)
        self.bytes_in = 0  # of the answer, as received

    @property
    def span_id(self) -> int:
        return int(self.span, 16)

    @property
    def outcome(self) -> str:
        """`success`, `cancelled`, or the failure's code; a label of bounded values."""
        if self.failure is not None:
            return self.failure.code
        return "cancelled" if self.dropped else "success"

    def fell_back(self, request: RequestRecord) -> bool:
        """Whether the request has left the service before for this one. Of a hedge only if it won."""
        return self.fallback_from is not None and (self.reason != HEDGE or request.answered is self)


class RequestRecord:
    """One call of the app, first byte to last."""

    __slots__ = (
        "answered",
        "attempts",
        "body_bytes",
        "bytes_out",
        "completion_tokens",
        "ended_at",
        "failure",
        "generation",
        "method",
        "model",
        "parent_span",
        "path",
        "prompt_tokens",
        "quota_fields",
        "route",
        "sampled",
        "service",
        "shape",
        "span",
        "started_at",
        "started_wall",
        "status",
        "stream",
        "trace",
        "tracestate",
    )

    def __init__(self, trace: bytes, span: bytes, started_at: float, started_wall: int) -> None:
        self.trace = trace
        self.span = span  # the SERVER span
        self.parent_span: bytes | None = None  # from the app's traceparent
        self.sampled = False  # its trace is wanted: by the app's decision, else by the sampler's
        self.tracestate = ""
        self.started_at = started_at
        self.started_wall = started_wall
        self.method = ""
        self.path = ""  # without its query
        self.route = ""  # the route's path prefix and index, `/v1#0`; empty: none matched
        self.shape = "other"  # chat, completions, responses, messages, embeddings, other
        self.model: str | None = None  # as the app asked
        self.stream = False  # the app asked for a stream
        self.generation = 0  # of the policy
        self.attempts: list[AttemptRecord] = []
        self.answered: AttemptRecord | None = None  # the attempt that did; None: none, or with an error
        self.service = ""  # that answered; empty: none did
        self.status = 0  # sent to the app; 0: none was
        self.failure: Failure | None = None  # what the app saw go wrong; None: nothing
        self.body_bytes = 0
        self.bytes_out = 0
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.ended_at: float | None = None
        self.quota_fields = ""  # header lines for the app: how its rate limits stand

    @property
    def request_id(self) -> str:
        """The id of its SERVER span, so that either leads to the other."""
        return self.span.decode("latin-1")

    @property
    def trace_id(self) -> int:
        return int(self.trace, 16)

    @property
    def span_id(self) -> int:
        return int(self.span, 16)


class Sink:
    """Whoever consumes records. Must not raise and must not block; called once a request, on the loop."""

    __slots__ = ()

    def request_finished(self, record: RequestRecord) -> None:
        raise NotImplementedError


class Attempts:
    """Tells of attempts as they end, before the request does, while somebody wants to know. `wanted`: by so many."""

    __slots__ = ("_told", "wanted")

    def __init__(self, told: Callable[[RequestRecord, AttemptRecord], None], wanted: int = 0) -> None:
        self._told = told
        self.wanted = wanted

    def finished(self, request: RequestRecord, attempt: AttemptRecord) -> None:
        if self.wanted:
            self._told(request, attempt)
