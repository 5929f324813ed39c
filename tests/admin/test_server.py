"""Addresses, access, and the end."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from llmsidecar.v1.policy_pb2 import GetPolicyRequest
from llmsidecar.v1.policy_pb2_grpc import PolicyServiceStub

from sidecar.admin.server import OURS, AdminServer
from sidecar.terms import Address, TcpAddress, UnixAddress
from tests.admin.parts import Served, a_policy, build, run, served

LOOPBACK = TcpAddress("127.0.0.1", 0)


async def a_server(*addresses: Address, tls: tuple[str, str, str] | None = None) -> AdminServer:
    parts = build()
    await parts.policies.start(a_policy())
    return AdminServer(
        addresses,
        policies=parts.policies,
        hub=parts.hub,
        ledger=parts.ledger,
        health_events=parts.hub.publish_health,
        tls=tls,
    )


async def health_of(api: Served, service: str) -> int:
    return int((await HealthStub(api.channel).Check(HealthCheckRequest(service=service))).status)


async def health_of_all(api: Served) -> dict[str, int]:
    listed = (await HealthStub(api.channel).List(HealthListRequest())).statuses
    return {name: answer.status for name, answer in listed.items()}


def test_the_bound_addresses_are_told_and_only_the_owner_may_open_the_socket(folder: Path) -> None:
    """Port 0 is resolved; the mode holds although the folder is open to everybody."""
    unix = UnixAddress(str(folder / "deep" / "admin.sock"))

    async def story() -> None:
        async with served(folder, addresses=[unix, LOOPBACK]) as api:
            assert api.bound[0] == str(unix)
            host, _, port = api.bound[1].rpartition(":")
            assert (host, int(port) > 0) == ("127.0.0.1", True)
            assert stat.S_IMODE(os.stat(unix.path).st_mode) == 0o600
            for address in api.bound:
                async with grpc.aio.insecure_channel(address) as channel:
                    stub = PolicyServiceStub(channel)  # type: ignore[no-untyped-call]
                    assert (await stub.GetPolicy(GetPolicyRequest())).generation == 1
        assert not os.path.exists(unix.path)

    run(story())


def test_binding_leaves_the_process_its_umask(folder: Path) -> None:
    """It is the process's: whoever creates a file later must find it as it was."""
    before = os.umask(0o022)

    async def story() -> None:
        async with served(folder):
            pass

    try:
        run(story())
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    """A killed process leaves its socket; the next one must start all the same."""
    path = folder / "admin.sock"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))

    async def story() -> int:
        async with served(folder) as api:
            return int((await api.policy_api.GetPolicy(GetPolicyRequest())).generation)

    assert run(story()) == 1


def test_a_live_socket_is_never_taken_over(folder: Path) -> None:
    """gRPC itself would unlink it, and two daemons would believe to be the one."""

    async def story() -> None:
        async with served(folder) as api:
            second = await a_server(UnixAddress(str(folder / "admin.sock")))
            with pytest.raises(OSError, match="address in use by a live process"):
                await second.start()
            assert (await api.policy_api.GetPolicy(GetPolicyRequest())).generation == 1

    run(story())


def test_a_file_that_is_no_socket_is_left_alone(folder: Path) -> None:
    """A mistyped path must not cost anybody a file."""
    (folder / "precious").write_text("keep")

    async def story() -> None:
        server = await a_server(UnixAddress(str(folder / "precious")))
        with pytest.raises(OSError, match="no socket"):
            await server.start()

    run(story())
    assert (folder / "precious").read_text() == "keep"


def test_a_taken_port_is_an_error_and_frees_what_was_bound_before(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No half-started API, and no second daemon that shares the port."""

    async def story() -> None:
        async with served(folder, addresses=[LOOPBACK]) as api:
            port = int(api.bound[0].rpartition(":")[2])
            unix = UnixAddress(str(folder / "second.sock"))
            second = await a_server(unix, TcpAddress("127.0.0.1", port))
            with pytest.raises(OSError, match=f"127.0.0.1:{port} cannot be bound"):
                await second.start()
            assert not os.path.exists(unix.path)

    run(story())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_tcp_beyond_loopback_needs_mutual_tls(host: str) -> None:
    """Whoever reaches the API rules the app's LLM traffic."""

    async def story() -> None:
        server = await a_server(TcpAddress(host, 0))
        with pytest.raises(OSError, match="expected loopback or mutual TLS"):
            await server.start()

    run(story())


def test_health_tells_serving_until_the_drain(folder: Path) -> None:
    """An orchestrator asks for the whole and for each service."""

    async def story() -> None:
        async with served(folder) as api:
            for name in ("", *OURS):
                assert await health_of(api, name) == HealthCheckResponse.SERVING
            assert await health_of_all(api) == dict.fromkeys(("", *OURS), HealthCheckResponse.SERVING)
            await api.server.drain()
            for name in ("", *OURS):
                assert await health_of(api, name) == HealthCheckResponse.NOT_SERVING
            assert await health_of_all(api) == dict.fromkeys(("", *OURS), HealthCheckResponse.NOT_SERVING)
            assert (await api.policy_api.GetPolicy(GetPolicyRequest())).generation == 1

    run(story())


def test_a_stopped_server_leaves_its_address_to_the_next(folder: Path) -> None:
    """Also within one process, where the first one's clean-up could hit the second."""

    async def story() -> None:
        for _ in range(3):
            async with served(folder) as api:
                assert (await api.policy_api.GetPolicy(GetPolicyRequest())).generation == 1

    run(story())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, a server's and a caller's certificate, made by openssl."""
    folder = tmp_path_factory.mktemp("authority")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "caller"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out",
                f"{name}.pem", "-copy_extensions", "copy", "-days", "2")  # fmt: skip
    return folder


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command for certificates")
def test_with_mutual_tls_only_a_caller_with_a_certificate_is_let_in(authority: Path) -> None:
    """TLS without a client certificate would only hide the intruder's words from others."""
    tls = tuple(str(authority / name) for name in ("server.pem", "server.key", "ca.pem"))
    ca = (authority / "ca.pem").read_bytes()
    known = grpc.ssl_channel_credentials(
        ca, (authority / "caller.key").read_bytes(), (authority / "caller.pem").read_bytes()
    )

    async def generation(address: str, credentials: grpc.ChannelCredentials) -> int:
        async with grpc.aio.secure_channel(address, credentials) as channel:
            stub = PolicyServiceStub(channel)  # type: ignore[no-untyped-call]
            return int((await stub.GetPolicy(GetPolicyRequest())).generation)

    async def story() -> None:
        server = await a_server(LOOPBACK, tls=(tls[0], tls[1], tls[2]))
        (address,) = await server.start()
        assert await generation(address, known) == 1
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await generation(address, grpc.ssl_channel_credentials(ca))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await server.stop(0)

    run(story())
