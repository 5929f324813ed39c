"""Whole requests through a real daemon: what reaches the app, what reaches the LLM."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import pytest

from sidecar.daemon import Daemon
from sidecar.exchange.exchange import Exchange

from .llm import (
    CHAT,
    DONE,
    LAST,
    SSE_HEAD,
    Llm,
    chat_chunk,
    framed,
    json_answer,
    raw,
    reset,
    silence,
    stream,
    then_silence,
)
from .loop import run
from .sidecar import App, ask, chat, config, free_port, post, service, sidecar
from .waiting import until

FAST = {"timeouts": {"first_packet": "150ms", "connect": "1s"}}


def texts(body: bytes) -> str:
    found = ""
    for event in body.split(b"\n\n"):
        if event.startswith(b"data: {"):
            for choice in json.loads(event[6:]).get("choices", []):
                found += choice["delta"].get("content", "")
    return found


def test_a_plain_answer_passes_with_its_bytes_untouched() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, chat(stream=False))
            assert (reply.status, reply.json) == (200, CHAT)
            assert reply.fields["x-sidecar-service"] == "a"
            assert reply.fields["x-sidecar-attempts"] == "1"
            assert reply.fields["x-sidecar-request-id"]
            assert llm.received[0].line == "POST /v1/chat/completions HTTP/1.1"

    run(test())


def test_a_stream_passes_event_by_event() -> None:
    async def test() -> None:
        async with Llm(stream("hel", "lo")) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, chat(stream=True))
            assert (reply.status, reply.ended) == (200, True)
            assert texts(reply.body) == "hello"
            assert reply.body.endswith(DONE)

    run(test())


def test_over_tcp_and_over_the_unix_socket_the_answer_is_the_same() -> None:
    async def test() -> None:
        async with Llm(stream("hi")) as llm, sidecar(config(service("a", llm))) as daemon:
            replies = []
            for connect in (App.over_unix, App.over_tcp):
                app = await connect(daemon)
                app.send(chat(stream=True))
                replies.append(await app.reply())
                app.close()
            assert replies[0].body == replies[1].body

    run(test())


@pytest.mark.parametrize(
    "bad",
    [
        silence,
        then_silence(SSE_HEAD),
        then_silence(SSE_HEAD, framed(chat_chunk(role=True))),
        then_silence(SSE_HEAD, framed(b": ping\n\n")),
        reset(),
        reset(SSE_HEAD),
        raw(b"", close=True),
        raw(b"nonsense\r\n\r\n", close=True),
        raw(SSE_HEAD, framed(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'), LAST),
        raw(SSE_HEAD, LAST),
        raw(SSE_HEAD, framed(DONE), LAST),
        raw(SSE_HEAD, b"zz\r\n", close=True),
        json_answer({"error": {"message": "down"}}, status=503),
        json_answer({"error": {"message": "slow down"}}, status=429),
    ],
    ids=[
        "silence",
        "headers_then_silence",
        "role_then_silence",
        "ping_then_silence",
        "reset",
        "headers_then_reset",
        "closed",
        "no_http",
        "error_in_200",
        "empty_stream",
        "done_only",
        "broken_chunk",
        "503",
        "429",
    ],
)
def test_whatever_goes_wrong_before_the_first_packet_the_fallback_answers(bad) -> None:  # type: ignore[no-untyped-def]
    async def test() -> None:
        async with Llm(bad) as first, Llm(stream("fine")) as second:
            written = config(service("a", first, **FAST), service("b", second))
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (reply.status, texts(reply.body), reply.ended) == (200, "fine", True)
                assert reply.fields["x-sidecar-service"] == "b"

    run(test())


def test_a_refused_connection_falls_back() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm:
            dead = f"http://127.0.0.1:{free_port()}/v1"
            async with sidecar(config(service("a", dead), service("b", llm))) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert (reply.status, reply.fields["x-sidecar-service"]) == (200, "b")
                assert reply.fields["x-sidecar-attempts"] == "3"  # the refused one is tried once more

    run(test())


def test_an_attempt_that_is_given_up_is_cancelled_at_once() -> None:
    async def test() -> None:
        async with Llm(silence) as first, Llm(stream("fine")) as second:
            written = config(service("a", first, **FAST), service("b", second))
            async with sidecar(written) as daemon:
                await ask(daemon, chat(stream=True))
                await asyncio.wait_for(first.received[0].hung_up.wait(), 5)

    run(test())


@pytest.mark.parametrize("begun", [False, True], ids=["before_the_answer", "in_the_stream"])
def test_when_the_app_hangs_up_the_llm_is_told(begun: bool) -> None:
    async def test() -> None:
        answer = then_silence(SSE_HEAD, framed(chat_chunk("x"))) if begun else silence
        async with Llm(answer) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            app.send(chat(stream=True))
            if begun:
                await app.reader.readuntil(b"\n\n")
            else:
                await asyncio.wait_for(llm.asked.wait(), 5)
            app.close()
            await asyncio.wait_for(llm.received[0].hung_up.wait(), 5)

    run(test())


@pytest.mark.parametrize("end", ["reset", "close", "clean"])
def test_a_stream_that_breaks_after_its_first_packet_ends_with_an_error_and_never_cleanly(end: str) -> None:
    async def test() -> None:
        begun = (SSE_HEAD, framed(chat_chunk("par")), framed(chat_chunk("tial")))
        answer = {
            "reset": reset(*begun, b"40\r\ndata: {"),
            "close": raw(*begun, close=True),
            "clean": raw(*begun, LAST),
        }[end]
        async with Llm(answer) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, chat(stream=True))
            assert reply.status == 200
            assert not reply.ended
            error = json.loads(reply.events[-1].removeprefix(b"data: "))["error"]
            assert error["type"] == "sidecar_error"
            assert error["code"] in ("reset", "truncated_stream")
            if end != "reset":  # a reset may overtake what was sent before it
                assert texts(reply.body) == "partial"

    run(test())


def test_an_event_split_over_reads_reaches_the_app_whole() -> None:
    async def test() -> None:
        event = chat_chunk("split")
        pieces = [b"%x\r\n" % len(event), event[:10], event[10:25], event[25:], b"\r\n"]
        answer = raw(
            SSE_HEAD, framed(chat_chunk("a")), *pieces, framed(chat_chunk(finish="stop") + DONE), LAST
        )
        async with Llm(answer) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, chat(stream=True))
            assert (texts(reply.body), reply.ended) == ("asplit", True)

    run(test())


def test_a_missing_done_after_a_finish_reason_is_a_whole_answer() -> None:
    async def test() -> None:
        answer = raw(SSE_HEAD, framed(chat_chunk("a")), framed(chat_chunk(finish="stop")), LAST)
        async with Llm(answer) as llm, sidecar(config(service("a", llm))) as daemon:
            assert (await ask(daemon, chat(stream=True))).ended

    run(test())


def test_the_model_is_rewritten_for_the_service_and_nothing_else_of_the_body() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm:
            body = b'{ "messages":[{"role":"user","content":"\\"model\\":1"}],\n "model" : "gpt-x" , "stream":false}'
            async with sidecar(config(service("a", llm, model="qwen-plus"))) as daemon:
                await ask(daemon, post("/v1/chat/completions", body))
                assert llm.received[0].body == body.replace(b'"gpt-x"', b'"qwen-plus"')

    run(test())


def test_a_body_that_is_no_json_is_passed_on() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm, model="q"))) as daemon:
            reply = await ask(daemon, post("/v1/audio/transcriptions", b"\x00\xffnot json{"))
            assert reply.status == 200
            assert llm.received[0].body == b"\x00\xffnot json{"

    run(test())


def test_credentials_of_the_app_never_go_to_a_service_that_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKUP_KEY", "service-secret")

    async def test() -> None:
        async with Llm(json_answer({}, status=500)) as first, Llm(json_answer(CHAT)) as second:
            own = {"credential": {"bearer": {"env": "BACKUP_KEY"}}}
            async with sidecar(config(service("a", first), service("b", second, **own))) as daemon:
                await ask(daemon, chat(stream=False, authorization="Bearer app-secret", x_api_key="app-key"))
            assert first.received[0].get("authorization") == ["Bearer app-secret"]
            assert second.received[0].get("authorization") == ["Bearer service-secret"]
            assert second.received[0].get("x-api-key") == []

    run(test())


def test_the_url_s_path_replaces_the_route_s_prefix() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm:
            written = config(service("a", f"http://{llm.address}/compatible-mode/v1"))
            async with sidecar(written) as daemon:
                await ask(daemon, post("/v1/embeddings?x=1", b"{}"))
            assert llm.received[0].line == "POST /compatible-mode/v1/embeddings?x=1 HTTP/1.1"
            assert llm.received[0].get("host") == [llm.address]

    run(test())


def test_when_nothing_is_left_the_last_http_error_reaches_the_app_as_it_came() -> None:
    async def test() -> None:
        error = {"error": {"message": "the GPU is on fire", "code": 17}}
        async with Llm(json_answer(error, status=503, extra="x-vendor: yes\r\n")) as llm:
            dead = f"http://127.0.0.1:{free_port()}/v1"
            async with sidecar(config(service("a", llm), service("b", dead))) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert (reply.status, reply.json) == (503, error)
                assert reply.fields["x-vendor"] == "yes"
                assert reply.fields["x-should-retry"] == "false"

    run(test())


def test_without_any_http_error_the_app_gets_the_sidecar_s_own() -> None:
    async def test() -> None:
        dead = f"http://127.0.0.1:{free_port()}/v1"
        async with sidecar(config(service("a", dead))) as daemon:
            reply = await ask(daemon, chat(stream=False))
            assert reply.status == 502
            error = reply.json["error"]
            assert (error["type"], error["code"], error["param"]) == (
                "sidecar_error",
                "connect_failure",
                None,
            )
            assert reply.fields["x-sidecar-request-id"] in error["message"]
            messages = await ask(daemon, post("/v1/messages", b"{}"))
            assert (messages.json["type"], messages.json["error"]["code"]) == ("error", "connect_failure")

    run(test())


def test_the_last_candidate_is_not_cut_by_the_first_packet_timeout() -> None:
    async def test() -> None:
        async def late(received, reader, writer) -> None:  # type: ignore[no-untyped-def]
            await asyncio.sleep(0.08)
            await stream("late")(received, reader, writer)

        async with Llm(late) as llm:
            written = config(service("a", llm, timeouts={"first_packet": "20ms"}))
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (reply.status, texts(reply.body)) == (200, "late")
            written = config(service("a", llm, timeouts={"first_packet": "20ms"}), route={"cut_last": True})
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (reply.status, reply.json["error"]["code"]) == (504, "first_packet_timeout")

    run(test())


def test_a_connection_is_used_again_after_a_whole_exchange_and_only_then() -> None:
    async def test() -> None:
        extra = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n")
        async with Llm(json_answer(CHAT), stream("x"), extra, json_answer(CHAT)) as llm:
            async with sidecar(config(service("a", llm))) as daemon:
                for streaming in (False, True, False, False):
                    assert (await ask(daemon, chat(stream=streaming))).status == 200
            assert [r.connection for r in llm.received] == [0, 0, 0, 1]

    run(test())


def test_a_reused_connection_that_dies_before_its_first_byte_is_replayed_and_blames_nobody() -> None:
    async def test() -> None:
        answers = json_answer(CHAT), raw(b"", close=True), json_answer(CHAT)
        async with Llm(*answers) as llm, sidecar(config(service("a", llm))) as daemon:
            await ask(daemon, chat(stream=False))
            reply = await ask(daemon, chat(stream=False))
            assert (reply.status, reply.fields["x-sidecar-attempts"]) == (200, "1")
            assert [r.connection for r in llm.received] == [0, 0, 1]

    run(test())


def test_requests_on_one_connection_are_answered_in_order() -> None:
    async def test() -> None:
        answers = json_answer({"n": 1}), json_answer({"n": 2})
        async with Llm(*answers) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            app.send(chat(stream=False) + chat(stream=False))
            assert [(await app.reply()).json["n"], (await app.reply()).json["n"]] == [1, 2]
            app.close()

    run(test())


def test_a_chunked_request_body_arrives_with_its_length() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            head = (
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            reply = await ask(daemon, head + b'5\r\n{"mod\r\n8\r\nel":"m"}\r\n0\r\n\r\n')
            assert reply.status == 200
            assert llm.received[0].body == b'{"model":"m"}'
            assert llm.received[0].get("content-length") == ["13"]
            assert llm.received[0].get("transfer-encoding") == []

    run(test())


def test_the_app_s_trace_goes_on_to_the_llm() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            await ask(daemon, chat(stream=False, traceparent=parent, tracestate="v=1", x_sidecar_secret="x"))
            sent = llm.received[0]
            (given,) = sent.get("traceparent")
            assert given.startswith("00-0af7651916cd43dd8448eb211c80319c-")
            assert given.endswith("-01")
            assert "b7ad6b7169203331" not in given
            assert sent.get("tracestate") == ["v=1"]
            assert not [name for name, _ in sent.fields if name.startswith("x-sidecar")]

    run(test())


def test_the_app_s_trace_state_is_passed_on_byte_by_byte() -> None:
    """A field may bear bytes beyond ASCII (RFC 9110 5.5); what they mean is not ours to say."""

    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            request = chat(stream=False, traceparent=f"00-{'a' * 32}-{'b' * 16}-01", tracestate="v=?")
            await ask(daemon, request.replace(b"v=?", b"v=\xe9"))
            assert llm.received[0].get("tracestate") == ["v=\xe9"]

    run(test())


@pytest.mark.parametrize("name", ["traceparent", "Traceparent"])
def test_a_trace_goes_on_with_each_request_of_it(name: str) -> None:
    """A head that comes again and again on its connection is not read any more; Go's libraries write the name so."""

    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            trace = "0af7651916cd43dd8448eb211c80319c"
            for _ in range(6):
                app.send(chat(stream=False, **{name: f"00-{trace}-b7ad6b7169203331-01"}))
                await app.reply()
            app.close()
            assert [sent.get("traceparent")[0].split("-")[1] for sent in llm.received] == [trace] * 6

    run(test())


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"hello\r\n\r\n", 400, "bad_request"),
        (post("/v1/x", b"", transfer_encoding="chunked"), 400, "bad_request"),
        (b"GET /elsewhere HTTP/1.1\r\nhost: localhost\r\n\r\n", 404, "no_route"),
        (post("/v1/x", b"").replace(b": 0", b": 99999999"), 413, "body_too_large"),
        (
            b"GET /v1/x HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70000 + b"\r\n\r\n",
            431,
            "header_too_large",
        ),
    ],
    ids=["no_host", "no_http", "smuggling", "no_route", "body_too_large", "header_too_large"],
)
def test_what_is_refused_gets_a_clear_error_and_never_reaches_the_llm(
    request_bytes: bytes, status: int, code: str
) -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, request_bytes)
            assert (reply.status, reply.json["error"]["code"]) == (status, code)
            assert llm.received == []

    run(test())


def test_over_tcp_only_known_hosts_and_no_web_pages_are_served() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            for fields, status in (
                ("host: evil.example", 421),
                ("host: localhost\r\norigin: https://evil.example", 403),
                ("host: 127.0.0.1:8800", 200),
            ):
                app = await App.over_tcp(daemon)
                app.send(f"GET /v1/models HTTP/1.1\r\n{fields}\r\n\r\n".encode())
                assert (await app.reply()).status == status
                app.close()
            assert len(llm.received) == 1

    run(test())


def test_head_and_old_apps_are_served_in_their_own_way() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT), stream("old")) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n", "HEAD")
            assert (reply.status, int(reply.fields["content-length"]) > 0) == (200, True)
            old = chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")
            reply = await ask(daemon, old)
            assert "transfer-encoding" not in reply.fields
            assert texts(reply.body) == "old"

    run(test())


def test_with_commit_complete_even_a_stream_that_breaks_late_is_rescued() -> None:
    async def test() -> None:
        broken = raw(SSE_HEAD, framed(chat_chunk("half")), close=True)
        async with Llm(broken) as first, Llm(stream("whole")) as second:
            written = config(service("a", first), service("b", second), route={"commit": "complete"})
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (texts(reply.body), reply.ended) == ("whole", True)

    run(test())


def reads_no_more(daemon: Daemon) -> bool:
    """Whether the one request in flight has its LLM wait."""
    (exchange,) = cast(set[Exchange], daemon._shared.exchanges)
    attempt = exchange._attempt
    return attempt is not None and attempt._connection is not None and attempt._connection._paused


def test_a_slow_app_pauses_the_llm_instead_of_filling_memory() -> None:
    async def test() -> None:
        sent = 0

        async def flood(received, reader, writer) -> None:  # type: ignore[no-untyped-def]
            nonlocal sent
            writer.write(SSE_HEAD)
            event = framed(chat_chunk("x" * 16000))
            for _ in range(4000):  # 64 MB
                writer.write(event)
                await writer.drain()
                sent += len(event)

        async with Llm(flood) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            cast(asyncio.Transport, app.writer.transport).pause_reading()
            app.send(chat(stream=True))
            await until(lambda: sent and reads_no_more(daemon))
            assert sent < 16_000_000
            app.close()

    run(test())
