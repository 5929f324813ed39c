"""Every way to an LLM service: over TLS with all that can be wrong with it, over a Unix socket, by a host's name."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from sidecar.record import RequestRecord
from sidecar.upstream import tls as tls_module
from tests.upstream.authority import Authority, Pair, server_context

from .llm import CHAT, SSE_HEAD, Llm, chat_chunk, framed, json_answer, silence, stream, then_silence
from .loop import run
from .peers import SecureLlm, UnixLlm
from .sidecar import App, ask, chat, config, service, sidecar


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def localhost(authority: Authority) -> Pair:
    return authority.issue("localhost", "DNS:localhost")


def secure(name: str, llm: Llm, authority: Authority, **tls: str) -> dict[str, Any]:
    return service(name, llm, tls={"ca_file": str(authority.ca), **tls})


def test_requests_and_streams_pass_over_tls_on_one_connection(authority: Authority, localhost: Pair) -> None:
    async def test() -> None:
        async with SecureLlm(
            server_context(localhost), json_answer(CHAT), stream("hi"), json_answer(CHAT)
        ) as llm:
            async with sidecar(config(secure("a", llm, authority))) as daemon:
                assert (await ask(daemon, chat(stream=False))).json == CHAT
                assert (await ask(daemon, chat(stream=True))).ended
                assert (await ask(daemon, chat(stream=False))).json == CHAT
            assert [r.connection for r in llm.received] == [0, 0, 0]
            assert llm.received[0].get("host") == [llm.url.split("/")[2]]

    run(test())


@pytest.mark.parametrize("wrong", ["authority", "server_name"])
def test_an_upstream_that_cannot_be_trusted_gets_nothing_and_the_fallback_answers(
    wrong: str, authority: Authority, localhost: Pair
) -> None:
    async def test() -> None:
        records: list[RequestRecord] = []
        async with (
            SecureLlm(server_context(localhost), json_answer(CHAT)) as bad,
            Llm(json_answer(CHAT)) as good,
        ):
            first = (
                service("a", bad)
                if wrong == "authority"
                else secure("a", bad, authority, server_name="x.test")
            )
            async with sidecar(config(first, service("b", good)), sinks=[records.append]) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert (reply.status, reply.fields["x-sidecar-service"]) == (200, "b")
            assert bad.received == []
            refused = records[0].attempts[0].failure
            assert refused is not None
            assert refused.code == "tls_error"
            assert refused.detail.startswith("certificate refused: ")
            assert len(records[0].attempts) == 2  # trying again would change nothing

    run(test())


def test_without_a_fallback_the_app_is_told_of_the_tls_error(localhost: Pair) -> None:
    async def test() -> None:
        async with (
            SecureLlm(server_context(localhost), json_answer(CHAT)) as llm,
            sidecar(config(service("a", llm))) as daemon,
        ):
            reply = await ask(daemon, chat(stream=False))
            assert (reply.status, reply.json["error"]["code"]) == (502, "tls_error")

    run(test())


def test_an_endpoint_that_does_not_complete_a_dial_in_time_is_dialled_once() -> None:
    """It is silent, and refuses nothing: a second dial would be waited for as long."""

    async def test() -> None:
        async with Llm(silence) as mute, Llm(json_answer(CHAT)) as other:
            written = config(
                service("a", f"https://{mute.address}/v1", timeouts={"connect": "50ms"}), service("b", other)
            )
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert (reply.fields["x-sidecar-service"], reply.fields["x-sidecar-attempts"]) == ("b", "2")
            assert mute.connections == 1

    run(test())


def test_server_name_decides_whose_certificate_is_wanted(authority: Authority) -> None:
    async def test() -> None:
        pair = authority.issue("inner", "DNS:llm.internal")
        async with (
            SecureLlm(server_context(pair), json_answer(CHAT)) as llm,
            sidecar(config(secure("a", llm, authority, server_name="llm.internal"))) as daemon,
        ):
            assert (await ask(daemon, chat(stream=False))).status == 200

    run(test())


def test_a_service_may_ask_for_the_sidecar_s_own_certificate(authority: Authority, localhost: Pair) -> None:
    async def test() -> None:
        own = authority.issue("sidecar", "DNS:sidecar")
        context = server_context(localhost, callers=authority.ca)
        files = {"client_cert_file": str(own.cert), "client_key_file": str(own.key)}
        async with SecureLlm(context, json_answer(CHAT)) as llm, Llm(json_answer(CHAT)) as other:
            async with sidecar(config(secure("a", llm, authority, **files))) as daemon:
                assert (await ask(daemon, chat(stream=False))).status == 200
            async with sidecar(config(secure("a", llm, authority), service("b", other))) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert (reply.status, reply.fields["x-sidecar-service"]) == (200, "b")
            assert len(llm.received) == 1

    run(test())


def test_a_certificate_that_changes_on_disk_counts_for_the_next_connection(
    authority: Authority, localhost: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "RECHECK", 0.0)

    async def test() -> None:
        trusted = tmp_path / "ca.pem"
        shutil.copy(Authority(tmp_path / "other", "other authority").ca, trusted)
        async with (
            SecureLlm(server_context(localhost), json_answer(CHAT)) as llm,
            sidecar(config(service("a", llm, tls={"ca_file": str(trusted)}))) as daemon,
        ):
            assert (await ask(daemon, chat(stream=False))).status == 502
            shutil.copy(authority.ca, trusted)
            assert (await ask(daemon, chat(stream=False))).status == 200

    run(test())


def test_over_tls_too_an_llm_hears_at_once_that_the_app_has_hung_up(
    authority: Authority, localhost: Pair
) -> None:
    """A polite end of TLS would wait for the other side and let it compute on."""

    async def test() -> None:
        answer = then_silence(SSE_HEAD, framed(chat_chunk("x")))
        async with (
            SecureLlm(server_context(localhost), answer) as llm,
            sidecar(config(secure("a", llm, authority))) as daemon,
        ):
            app = await App.over_unix(daemon)
            app.send(chat(stream=True))
            await app.reader.readuntil(b"\n\n")
            app.close()
            await asyncio.wait_for(llm.received[0].hung_up.wait(), 5)

    run(test())


def test_an_endpoint_may_be_a_unix_socket(tmp_path: Path) -> None:
    async def test() -> None:
        async with UnixLlm(tmp_path / "llm.sock", json_answer(CHAT), stream("hi")) as llm:
            written = config(service("a", "http://llm.local/v1", endpoints=[llm.address]))
            async with sidecar(written) as daemon:
                assert (await ask(daemon, chat(stream=False))).json == CHAT
                assert (await ask(daemon, chat(stream=True))).ended
            assert llm.received[0].get("host") == ["llm.local"]
            assert [r.connection for r in llm.received] == [0, 0]

    run(test())


def test_a_host_may_be_a_name_and_its_address_is_the_endpoint() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm:
            port = llm.address.partition(":")[2]
            async with sidecar(config(service("a", f"http://localhost:{port}/v1"))) as daemon:
                assert [e.key.address for e in daemon._ledger.endpoints("a")] == [llm.address]
                assert (await ask(daemon, chat(stream=False))).status == 200
            assert llm.received[0].get("host") == [f"localhost:{port}"]

    run(test())
