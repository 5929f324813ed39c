"""Rules of one probe, against a real peer."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from sidecar.policy.snapshot import ActiveHealth, Service
from sidecar.probe.http import MAX_HEADS, HttpProbe, ProbeFailed
from sidecar.terms import TcpAddress
from tests.probe.peer import listening, run, service_at


def no_tls(service: Service) -> ssl.SSLContext | None:
    return None


def no_credential(service: Service) -> tuple[str, str] | None:
    return None


PLAIN = HttpProbe(no_tls, no_credential)


def test_a_probe_asks_for_the_path_on_the_endpoint_in_the_name_of_the_service() -> None:
    """The path is absolute: a health page is no part of the API below the url's path."""
    probe = HttpProbe(no_tls, lambda service: ("Authorization", "Bearer s3cret"))

    async def story() -> None:
        async with listening() as peer:
            service = service_at(
                peer.address, check=ActiveHealth(path="/healthz?deep=1"), set_headers=(("x-team", "ml"),)
            )
            assert await probe(service, peer.address) == 200
        lines = peer.heads[0].decode().split("\r\n")
        assert lines[0] == "GET /healthz?deep=1 HTTP/1.1"
        assert lines[-2:] == ["", ""]
        assert sorted(lines[1:-2]) == [
            "accept: */*",
            "authorization: Bearer s3cret",
            "connection: close",
            "host: llm.test:8000",
            "user-agent: llm-ha-sidecar",
            "x-team: ml",
        ]

    run(story)


@pytest.mark.parametrize("status", [204, 301, 404, 503])
def test_the_status_is_handed_on_as_it_came(status: int) -> None:
    """Which ones are good is for the policy to say."""

    async def story() -> None:
        async with listening(b"HTTP/1.0 %d\r\n\r\n" % status) as peer:
            assert await PLAIN(service_at(peer.address), peer.address) == status

    run(story)


def test_interim_answers_are_passed_over() -> None:
    """A 103 is not yet a verdict."""

    async def story() -> None:
        interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        async with listening(interim * 2 + b"HTTP/1.1 500 Oops\r\n\r\n") as peer:
            assert await PLAIN(service_at(peer.address), peer.address) == 500

    run(story)


def test_the_body_is_not_waited_for_and_the_connection_is_closed() -> None:
    """A health page that streams for ever has answered all the same."""

    async def story() -> None:
        async with listening(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome") as peer:
            assert await PLAIN(service_at(peer.address), peer.address) == 200
            await peer.hung_up.wait()

    run(story)


def test_a_probe_goes_to_a_unix_socket(tmp_path: Path) -> None:
    """An endpoint may be one."""

    async def story() -> None:
        async with listening(path=tmp_path / "llm.sock") as peer:
            assert await PLAIN(service_at(peer.address), peer.address) == 200

    run(story)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "reset: closed before the end of the head"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "bad_response: no HTTP/1 status line"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "bad_response: no HTTP/1 status line"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEADS + b"\r\n\r\n", "bad_response: the head is too long"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "bad_response: too many interim answers"),
    ],
)
def test_what_is_no_answer_fails_the_probe_with_its_reason(answer: bytes, why: str) -> None:
    """The reason is what an operator reads in the event."""

    async def story() -> None:
        async with listening(answer) as peer:
            with pytest.raises(ProbeFailed) as failed:
                await PLAIN(service_at(peer.address), peer.address)
        assert str(failed.value) == why

    run(story)


def test_a_refused_connection_fails_the_probe() -> None:
    """Nobody listens there."""

    async def story() -> None:
        with socket.socket() as bound:  # bound but not listening: the port stays refused
            bound.bind(("127.0.0.1", 0))
            address = TcpAddress("127.0.0.1", bound.getsockname()[1])
            with pytest.raises(ProbeFailed, match=r"^connect_failure: "):
                await PLAIN(service_at(address), address)

    run(story)


def test_a_credential_cannot_smuggle_a_header() -> None:
    """It comes from a file or a variable that others may write."""
    probe = HttpProbe(no_tls, lambda service: ("authorization", "Bearer x\r\nhost: evil.test"))

    async def story() -> None:
        async with listening() as peer:
            with pytest.raises(ProbeFailed, match="the value for authorization is no header value"):
                await probe(service_at(peer.address), peer.address)
        assert peer.heads == []

    run(story)


def test_a_peer_that_speaks_no_tls_fails_the_probe() -> None:
    """An https service whose endpoint answers in the clear is not healthy."""
    probe = HttpProbe(lambda service: ssl.create_default_context(), no_credential)

    async def story() -> None:
        async def talk_in_the_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(talk_in_the_clear, "127.0.0.1", 0)
        address = TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(ProbeFailed, match=r"^tls_error: "):
            await probe(service_at(address, scheme="https"), address)
        server.close()

    run(story)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for llm.test, and its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is needed to make a certificate")
    file = tmp_path_factory.mktemp("tls") / "llm.pem"
    made = subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=llm.test", "-addext", "subjectAltName=DNS:llm.test"),
            *("-keyout", str(file), "-out", str(file.with_suffix(".crt"))),
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


@pytest.mark.parametrize(("host", "trusted"), [("llm.test", True), ("other.test", False)])
def test_over_tls_the_certificate_has_to_bear_the_name_of_the_url(
    certificate: Path, host: str, trusted: bool
) -> None:
    """The endpoint is an address; the name to check is the service's."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    probe = HttpProbe(lambda service: ssl.create_default_context(cafile=str(certificate)), no_credential)

    async def story() -> None:
        async with listening(tls=serving) as peer:
            service = service_at(peer.address, scheme="https", host=host)
            if trusted:
                assert await probe(service, peer.address) == 200
                return
            with pytest.raises(ProbeFailed, match=r"^tls_error: "):
                await probe(service, peer.address)

    run(story)
