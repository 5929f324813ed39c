"""An OTLP/gRPC receiver that keeps what it is sent, and refuses or hangs by a script.

In:      one Answer for each call, the last of them for all that come after; credentials for TLS.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


@dataclass(frozen=True)
class Answer:
    """How one call ends."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    wait_ms: int | None = None  # before another try
    hangs: bool = False  # until the collector stops
    garbled: bool = False  # the details of its status cannot be read
    rejected: int = 0  # spans, though the batch is taken


REFUSAL = Answer(grpc.StatusCode.INVALID_ARGUMENT)


class Collector(TraceServiceServicer):
    def __init__(
        self, *answers: Answer, port: int = 0, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.requests: list[ExportTraceServiceRequest] = []  # that were taken
        self.metadata: list[dict[str, str]] = []  # of every call
        self.refuse = False
        self._answers = list(answers) or [Answer()]
        self._refusals = 0
        self._arrived = threading.Condition()
        self._ended = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self.endpoint = f"{'http' if credentials is None else 'https'}://127.0.0.1:{self.port}"
        self._server.start()

    def Export(
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        with self._arrived:
            answer = self._answers[min(len(self.metadata), len(self._answers) - 1)]
            self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
            if self.refuse:
                answer = REFUSAL
            if answer.code is grpc.StatusCode.OK and not answer.hangs:
                self.requests.append(request)
            else:
                self._refusals += 1
            self._arrived.notify_all()
        if answer.hangs:
            self._ended.wait(30)
        if answer.garbled:
            context.set_trailing_metadata((("grpc-status-details-bin", b"\xff"),))
            context.abort(answer.code, "not today")
        if answer.code is not grpc.StatusCode.OK:
            context.abort_with_status(rpc_status.to_status(_status(answer)))
        return taken_but_for(answer.rejected) if answer.rejected else ExportTraceServiceResponse()

    def resources(self) -> list[ResourceSpans]:
        return [resource for request in self.requests for resource in request.resource_spans]

    def spans(self) -> list[Span]:
        return [
            span for resource in self.resources() for scope in resource.scope_spans for span in scope.spans
        ]

    def wait_for_spans(self, count: int) -> list[Span]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.spans()) >= count, timeout=30)
            return self.spans()

    def wait_for_refusals(self, count: int) -> None:
        """Calls that hang are among them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._refusals >= count, timeout=30)

    def stop(self) -> None:
        self._ended.set()
        self._server.stop(None).wait()


def taken_but_for(rejected: int) -> ExportTraceServiceResponse:
    """Some spans are rejected, in many words."""
    partly = ExportTracePartialSuccess(rejected_spans=rejected, error_message="too old" + "!" * 1000)
    return ExportTraceServiceResponse(partial_success=partly)


def _status(answer: Answer) -> Status:
    number, _ = answer.code.value
    status = Status(code=number, message="not today")
    if answer.wait_ms is not None:
        wish, detail = RetryInfo(retry_delay=Duration(nanos=answer.wait_ms * 1_000_000)), Any()
        detail.Pack(wish)
        status.details.append(detail)
    return status
