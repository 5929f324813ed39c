"""The admin API on its addresses.

In:      addresses, the services' parts, and the files of mutual TLS if TCP may be called from elsewhere.
Out:     start() gives the bound addresses, with port 0 resolved; drain() and stop() end it.
Access:  a Unix socket by its mode, 0600, plain; TCP on loopback, or with a client certificate. Certificates are
         read once, at the start.
Limits:  requests of 4 MiB, 1024 calls at a time; silent connections are asked for a sign of life every minute.
Errors:  OSError for an address that cannot be had, and then none of the others is held.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from llmsidecar.v1 import health_pb2_grpc as our_health_grpc
from llmsidecar.v1 import policy_pb2_grpc

from sidecar.admin.answers import Context
from sidecar.admin.facts import Clock
from sidecar.admin.hub import EventHub
from sidecar.admin.policies import PolicyManager
from sidecar.admin.reflection import add_reflection
from sidecar.admin.services import HealthService, Overrides, PolicyService
from sidecar.health.events import HealthEvent
from sidecar.sockets import claim, owner_only, seal
from sidecar.terms import Address, TcpAddress, UnixAddress, is_loopback

OURS = ("llmsidecar.v1.PolicyService", "llmsidecar.v1.HealthService")
LISTED = ("", *OURS)  # by grpc.health.v1; the empty name is the whole server
LARGEST_MESSAGE = 4 * 1024 * 1024
MOST_CALLS = 1024
OPTIONS = (
    ("grpc.so_reuseport", 0),  # or a second daemon would share the port and get half of the calls
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class AdminServer:
    """gRPC on Unix sockets and TCP; `tls` is the paths of certificate, key and the callers' authority."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        policies: PolicyManager,
        hub: EventHub,
        ledger: Overrides,
        health_events: Callable[[Sequence[HealthEvent]], None],
        tls: tuple[str, str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._addresses = tuple(addresses)
        self._policies = policies
        self._hub = hub
        self._ledger = ledger
        self._health_events = health_events
        self._tls = tls
        self._clock = clock or Clock()
        self._health = _Health()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> list[str]:
        """Binds every address and serves; call it on the loop that is to run the services."""
        server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MOST_CALLS)
        self._add_services(server)
        for name in LISTED:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        try:
            bound = [str(self._bind(server, address)) for address in self._addresses]
        except OSError:
            await server.start()  # gRPC lets go of what was bound only when a server that ran stops
            await server.stop(None)
            raise
        await server.start()
        self._server = server
        return bound

    async def drain(self) -> None:
        """grpc.health.v1 says NOT_SERVING from now on; everything else goes on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float | None = None) -> None:
        """Ends the watches, gives other calls `grace` seconds, and closes."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await self.drain()
        self._hub.close()
        await server.stop(grace)

    def _add_services(self, server: grpc.aio.Server) -> None:
        health_service = HealthService(self._hub, self._ledger, self._health_events, self._clock)
        policy_service = PolicyService(self._policies)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(policy_service, server)  # type: ignore[no-untyped-call]
        our_health_grpc.add_HealthServiceServicer_to_server(health_service, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(server, (*OURS, health.SERVICE_NAME))

    def _bind(self, server: grpc.aio.Server, address: Address) -> Address:
        if isinstance(address, UnixAddress):
            return _bind_unix(server, address)
        if self._tls is not None:
            return _bind_tcp(server, address, _credentials(*self._tls))
        if not is_loopback(address):
            raise OSError(
                errno.EACCES, f"{address} can be reached from elsewhere; expected loopback or mutual TLS"
            )
        return _bind_tcp(server, address, None)


class _Health(health.aio.HealthServicer):  # type: ignore[misc]  # grpc_health has no types
    """The library's, with the method that reflection tells of and that it leaves out."""

    async def List(
        self, request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        requests = {name: health_pb2.HealthCheckRequest(service=name) for name in LISTED}
        return health_pb2.HealthListResponse(
            statuses={name: await self.Check(asked, context) for name, asked in requests.items()}
        )


def _bind_unix(server: grpc.aio.Server, address: UnixAddress) -> UnixAddress:
    claim(address.path)
    with owner_only():
        _bound(address, lambda: server.add_insecure_port(str(address)))
    seal(address.path)
    return address


def _bind_tcp(
    server: grpc.aio.Server, address: TcpAddress, credentials: grpc.ServerCredentials | None
) -> TcpAddress:
    if credentials is None:
        port = _bound(address, lambda: server.add_insecure_port(str(address)))
    else:
        port = _bound(address, lambda: server.add_secure_port(str(address), credentials))
    return address._replace(port=port)


def _bound(address: Address, bind: Callable[[], int]) -> int:
    try:
        return bind()
    except RuntimeError as error:  # gRPC's only word for it
        raise OSError(errno.EADDRINUSE, f"{address} cannot be bound; it may be in use") from error


def _credentials(cert_file: str, key_file: str, client_ca_file: str) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(Path(key_file).read_bytes(), Path(cert_file).read_bytes())],
        root_certificates=Path(client_ca_file).read_bytes(),
        require_client_auth=True,
    )
