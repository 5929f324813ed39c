"""A gRPC server with the admin API that does what a test wrote down: the far side of the clients.

It is a real server on a real Unix socket, built on the generated base classes; what it says to a watcher is a
script for each connection, so that breaks, resumption and gaps come exactly when the test wants them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from llmsidecar.v1 import health_pb2, health_pb2_grpc, policy_pb2, policy_pb2_grpc

HOLD = "hold"  # the connection stays, without a word
END = "end"  # the stream ends in good order


@dataclass
class Script:
    """What one connection of a watcher sees, and how it ends: HOLD, END or a status."""

    events: list[health_pb2.HealthEvent]
    ending: str | grpc.StatusCode = HOLD


@dataclass
class Daemon:
    """What the server answers, and what it was asked."""

    address: str = ""
    policy: policy_pb2.Policy = field(default_factory=policy_pb2.Policy)
    generation: int = 1
    comment: str = ""
    endpoints: list[health_pb2.Endpoint] = field(default_factory=list)
    cooling: list[health_pb2.ScopeCooled] = field(default_factory=list)
    violations: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def etag(self) -> str:
        return f"etag-{self.generation}"

    def asked_last(self) -> Any:
        return self.asked[-1]


class _Policies(policy_pb2_grpc.PolicyServiceServicer):
    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def GetPolicy(self, request: Any, context: Any) -> policy_pb2.GetPolicyResponse:
        daemon = self.daemon
        answer = policy_pb2.GetPolicyResponse(
            policy=daemon.policy, etag=daemon.etag, generation=daemon.generation, source="file"
        )
        answer.applied_at.FromSeconds(1_700_000_000)
        return answer

    def UpdatePolicy(self, request: Any, context: Any) -> policy_pb2.UpdatePolicyResponse:
        daemon = self.daemon
        daemon.asked.append(request)
        if request.etag and request.etag != daemon.etag:
            context.abort(grpc.StatusCode.ABORTED, f"etag {request.etag} is stale: {daemon.etag} runs")
        if daemon.violations:
            _reject(context, daemon.violations)
        if not request.validate_only:
            daemon.policy, daemon.comment = request.policy, request.comment
            daemon.generation += 1
        answer = policy_pb2.UpdatePolicyResponse(
            policy=request.policy, etag=daemon.etag, generation=daemon.generation, warnings=daemon.warnings
        )
        if request.HasField("revert_after"):
            answer.reverts_at.FromSeconds(1_700_000_060)
        return answer

    def ConfirmPolicy(self, request: Any, context: Any) -> policy_pb2.ConfirmPolicyResponse:
        self.daemon.asked.append(request)
        if self.daemon.generation == 1:
            context.abort(grpc.StatusCode.NOT_FOUND, "no update waits for confirmation")
        return policy_pb2.ConfirmPolicyResponse(etag=self.daemon.etag, generation=self.daemon.generation)

    def ListPolicyRevisions(self, request: Any, context: Any) -> policy_pb2.ListPolicyRevisionsResponse:
        daemon = self.daemon
        revision = policy_pb2.PolicyRevision(
            generation=daemon.generation,
            etag=daemon.etag,
            source="api",
            comment=daemon.comment,
            policy=daemon.policy,
        )
        revision.applied_at.FromSeconds(1_700_000_000)
        return policy_pb2.ListPolicyRevisionsResponse(revisions=[revision])

    def RollbackPolicy(self, request: Any, context: Any) -> policy_pb2.RollbackPolicyResponse:
        self.daemon.asked.append(request)
        self.daemon.generation += 1
        return policy_pb2.RollbackPolicyResponse(
            policy=self.daemon.policy, etag=self.daemon.etag, generation=self.daemon.generation
        )


class _Health(health_pb2_grpc.HealthServiceServicer):
    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def ListEndpoints(self, request: Any, context: Any) -> health_pb2.ListEndpointsResponse:
        wanted = [e for e in self.daemon.endpoints if not request.services or e.service in request.services]
        return health_pb2.ListEndpointsResponse(endpoints=wanted, sequence=1, cooling=self.daemon.cooling)

    def WatchHealthEvents(self, request: Any, context: Any) -> Iterator[health_pb2.HealthEvent]:
        self.daemon.asked.append(request)
        script = self.daemon.scripts.pop(0) if self.daemon.scripts else Script([])
        yield from script.events
        if isinstance(script.ending, grpc.StatusCode):
            context.abort(script.ending, "so the script says")
        if script.ending == HOLD:
            self.daemon.stopped.wait()

    def EjectEndpoint(self, request: Any, context: Any) -> health_pb2.EjectEndpointResponse:
        self.daemon.asked.append(request)
        endpoint = self._find(request, context)
        if request.HasField("duration") and request.duration.ToNanoseconds() <= 0:
            _reject(context, [("duration", "is 0s; expected more")])
        endpoint.state, endpoint.available = health_pb2.ENDPOINT_STATE_EJECTED, False
        if request.HasField("duration"):
            endpoint.until.FromSeconds(1_700_000_000 + request.duration.seconds)
        return health_pb2.EjectEndpointResponse(endpoint=endpoint)

    def RestoreEndpoint(self, request: Any, context: Any) -> health_pb2.RestoreEndpointResponse:
        self.daemon.asked.append(request)
        endpoint = self._find(request, context)
        endpoint.state, endpoint.available = health_pb2.ENDPOINT_STATE_AVAILABLE, True
        return health_pb2.RestoreEndpointResponse(endpoint=endpoint)

    def _find(self, request: Any, context: Any) -> health_pb2.Endpoint:
        for endpoint in self.daemon.endpoints:
            if (endpoint.service, endpoint.endpoint) == (request.service, request.endpoint):
                return endpoint
        context.abort(grpc.StatusCode.NOT_FOUND, f"no endpoint {request.endpoint} in {request.service}")
        raise AssertionError("abort raises")


@contextmanager
def running(daemon: Daemon, folder: Path, tls: grpc.ServerCredentials | None = None) -> Iterator[Daemon]:
    """Serves `daemon` on a socket in `folder`, or over TLS on a free port, for as long as the context lasts."""
    daemon.address = f"unix:{folder}/admin.sock"
    server = grpc.server(ThreadPoolExecutor(8))
    policy_pb2_grpc.add_PolicyServiceServicer_to_server(_Policies(daemon), server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServiceServicer_to_server(_Health(daemon), server)  # type: ignore[no-untyped-call]
    if tls is None:
        server.add_insecure_port(daemon.address)
    else:
        daemon.address = f"localhost:{server.add_secure_port('localhost:0', tls)}"
    server.start()
    try:
        yield daemon
    finally:
        daemon.stopped.set()
        server.stop(grace=None).wait()


def _reject(context: Any, violations: list[tuple[str, str]]) -> NoReturn:
    bad = error_details_pb2.BadRequest()
    for where, what in violations:
        bad.field_violations.add(field=where, description=what)
    detail = AnyMessage()
    detail.Pack(bad)
    words = "; ".join(f"{where}: {what}" for where, what in violations)
    status = status_pb2.Status(
        code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=words, details=[detail]
    )
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort raises")
