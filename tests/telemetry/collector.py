"""An OTLP/gRPC receiver that keeps what it is sent."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


class Collector(TraceServiceServicer):
    def __init__(self, port: int = 0) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.refuse = False
        self._refusals = 0
        self._arrived = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def Export(
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        if self.refuse:
            with self._arrived:
                self._refusals += 1
                self._arrived.notify_all()
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not today")
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        return ExportTraceServiceResponse()

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
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._refusals >= count, timeout=30)

    def stop(self) -> None:
        self._server.stop(None).wait()
