"""Begin and end of requests, attempts and connections where they cross: hang-ups, drains, bugs, new policies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from sidecar.admin.outcomes import Invalid
from sidecar.attempt.plan import Plan
from sidecar.daemon import Daemon
from sidecar.downstream import listener
from sidecar.downstream.connection import AppConnection
from sidecar.exchange.attempt import Attempt
from sidecar.exchange.exchange import Exchange
from sidecar.exchange.gate import Gate
from sidecar.exchange.lane import LANES, Lane
from sidecar.policy import load
from sidecar.record import Attempts, RequestRecord
from sidecar.wire.heads import RequestHead

from .llm import (
    CHAT,
    SSE_HEAD,
    Answer,
    Llm,
    Received,
    chat_chunk,
    framed,
    json_answer,
    reset,
    silence,
    stream,
    then_silence,
)
from .loop import run
from .sidecar import App, ask, chat, config, free_port, post, service, sidecar
from .waiting import begin, until

LARGE = {"choices": [{"message": {"content": "x" * 900_000}}]}  # more than a socket holds, less than the gate


async def put_into_force(daemon: Daemon, written: dict[str, Any], *services: dict[str, Any]) -> None:
    text = yaml.safe_dump({**written, "policy": {**written["policy"], "services": list(services)}})
    outcome = await daemon.policies.apply(load(text.encode()).config.policy, "test")
    assert not isinstance(outcome, Invalid), outcome


def stop_reading(app: App) -> None:
    cast(asyncio.Transport, app.writer.transport).pause_reading()


def go_on_reading(app: App) -> None:
    cast(asyncio.Transport, app.writer.transport).resume_reading()


async def flood(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A stream without end."""
    writer.write(SSE_HEAD)
    event = framed(chat_chunk("x" * 16000))
    while True:
        writer.write(event)
        await writer.drain()


# -- apps that do not read -------------------------------------------------------------------------------------


def test_an_app_that_fetches_nothing_is_cut_and_its_llm_stops() -> None:
    """Its buffers are bounded in size; without this they were held for as long as the app liked."""

    async def test() -> None:
        records: list[RequestRecord] = []
        async with Llm(flood) as llm:
            written = config(service("a", llm), limits={"write_timeout": "150ms"})
            async with sidecar(written, sinks=[records.append]) as daemon:
                app = await App.over_unix(daemon)
                stop_reading(app)
                app.send(chat(stream=True))
                await until(lambda: records)
                assert records[0].failure is not None
                assert records[0].failure.code == "app_went_away"
                assert records[0].attempts[0].outcome == "cancelled"
                await asyncio.wait_for(llm.received[0].hung_up.wait(), 5)
                assert not daemon._side.connections
                app.writer.transport.abort()

    run(test())


def test_an_app_that_fetches_slowly_is_served() -> None:
    """The limit is on standing still, not on the whole."""

    async def test() -> None:
        async with (
            Llm(json_answer(LARGE)) as llm,
            sidecar(config(service("a", llm), limits={"write_timeout": "150ms"})) as daemon,
        ):
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_UNIX) as app:
                app.setblocking(False)
                await loop.sock_connect(app, str(daemon.listen[0]).removeprefix("unix:"))
                await loop.sock_sendall(app, chat(stream=False))
                read, began = 0, loop.time()
                while read < 900_000:
                    read += len(await loop.sock_recv(app, 65536))
                    await asyncio.sleep(0.03)
                assert loop.time() - began > 0.3

    run(test())


def test_the_last_answer_of_a_connection_is_not_cut_while_the_app_still_fetches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "LEAVING_SECONDS", 0.05)

    async def test() -> None:
        async with Llm(json_answer(LARGE)) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            stop_reading(app)
            app.send(chat(stream=False, connection="close"))
            await until(lambda: len(daemon._side.unsent) == 1 and not len(daemon._side.leaving))
            go_on_reading(app)
            reply = await app.reply()
            assert (reply.ended, reply.json) == (True, LARGE)
            await until(lambda: not daemon._side.connections)
            app.close()

    run(test())


def test_while_an_app_does_not_read_its_next_request_waits() -> None:
    """Else each pipelined request would add its answer to what nobody fetches."""

    async def test() -> None:
        async with Llm(json_answer(LARGE)) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            stop_reading(app)
            app.send(chat(stream=False) * 20)
            await until(lambda: len(daemon._side.unsent) == 1 and not daemon._shared.exchanges)
            await ask(daemon, chat(stream=False))  # time enough for another one
            assert len(llm.received) <= 3
            go_on_reading(app)
            assert [(await app.reply()).status for _ in range(20)] == [200] * 20
            app.close()

    run(test())


def test_an_app_that_stops_reading_before_its_answer_begins_pauses_the_llm() -> None:
    """What was written before may go out, and meet an app that does not read, when the next request runs already."""

    async def test() -> None:
        committed = asyncio.Event()

        async def flood_later(
            received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await committed.wait()
            await flood(received, reader, writer)

        async with Llm(flood_later) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            stop_reading(app)
            app.send(chat(stream=True))
            await until(lambda: llm.received)
            (connection,) = daemon._side.connections
            connection._transport.write(bytes(1_000_000))
            await until(lambda: connection.choked)
            committed.set()
            exchange = connection._exchange
            assert exchange is not None
            await until(lambda: exchange.record.bytes_out)
            upstream = exchange._attempt._connection  # type: ignore[union-attr]
            assert upstream is not None
            assert upstream._paused
            go_on_reading(app)
            await asyncio.wait_for(app.reader.readexactly(3_000_000), 5)  # more than was in the buffers
            app.writer.transport.abort()

    run(test())


def test_an_app_that_hangs_up_with_bytes_unread_is_noticed_at_once() -> None:
    async def test() -> None:
        async with Llm(flood) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            stop_reading(app)
            app.send(chat(stream=True))
            await until(lambda: len(daemon._side.unsent) == 1)
            app.writer.write_eof()
            await asyncio.wait_for(llm.received[0].hung_up.wait(), 5)
            await until(lambda: not daemon._side.connections)
            app.close()

    run(test())


def test_an_app_that_hangs_up_during_a_wait_is_forgotten() -> None:
    """The wait for a Retry-After has no attempt that could tell."""

    async def test() -> None:
        records: list[RequestRecord] = []
        busy = json_answer({}, status=429, extra="retry-after: 5\r\n")
        async with Llm(busy) as llm:
            written = config(service("a", llm), route={"wait_for_retry_after": "10s"})
            async with sidecar(written, sinks=[records.append]) as daemon:
                app = await App.over_unix(daemon)
                app.send(chat(stream=True))
                await until(lambda: llm.received and not daemon._ledger.endpoints("a")[0].in_flight)
                assert len(daemon._shared.exchanges) == 1
                app.close()
                await until(lambda: records)
                assert records[0].failure is not None
                assert (records[0].failure.code, len(records[0].attempts)) == ("app_went_away", 1)
                assert not daemon._shared.exchanges

    run(test())


def test_a_body_that_drips_in_arrives_as_it_was_sent() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            body = bytes(range(256)) * 80
            request = post("/v1/files", body)
            app = await App.over_tcp(daemon)
            for at in range(0, len(request), 97):
                app.send(request[at : at + 97])
                await app.writer.drain()
                await asyncio.sleep(0)
            assert (await app.reply()).status == 200
            assert llm.received[0].body == body
            app.close()

    run(test())


# -- ends of attempts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["silence", "reset", "close"])
def test_a_failing_status_counts_though_its_body_never_ends(end: str) -> None:
    """It says more than the end of its body: by its number the route falls back, by its Retry-After health waits."""
    head = b"HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 100\r\n\r\n{"
    answer: Answer = {"silence": then_silence(head), "reset": reset(head), "close": _closing(head)}[end]

    async def test() -> None:
        records: list[RequestRecord] = []
        async with Llm(answer) as first, Llm(json_answer(CHAT)) as second:
            written = config(service("a", first), service("b", second), route={"deadline": "400ms"})
            async with sidecar(written, sinks=[records.append]) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert reply.fields["x-sidecar-service"] == "b"
                failed = records[0].attempts[0].failure
                assert failed is not None
                if end == "reset" and failed.code == "reset":
                    return  # a reset may overtake the bytes before it
                assert (failed.code, failed.retry_after) == ("429", 7.0)

    run(test())


def _closing(data: bytes) -> Answer:
    async def answer(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    return answer


def test_an_answer_that_is_no_stream_has_to_be_whole_by_its_timeout() -> None:
    """Its first packet is the whole answer: a first byte in time does not make it one."""

    async def drip(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            if writer.is_closing():
                return
            writer.write(b" ")
            await asyncio.sleep(0.02)

    async def test() -> None:
        async with Llm(drip) as llm:
            slow = service("a", llm, timeouts={"response": "150ms", "idle": "5s"})
            async with sidecar(config(slow)) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert (reply.status, reply.json["error"]["code"]) == (504, "response_timeout")

    run(test())


def test_a_held_back_stream_that_falls_silent_is_rescued_after_the_idle_timeout() -> None:
    """Its first packet was in time, so that clock has stopped; the app has seen nothing of it."""

    async def test() -> None:
        records: list[RequestRecord] = []
        stalls = then_silence(SSE_HEAD, framed(chat_chunk("half")))
        async with Llm(stalls) as first, Llm(stream("whole")) as second:
            timeouts = {"first_packet": "5s", "idle": "60ms"}
            written = config(
                service("a", first, timeouts=timeouts), service("b", second), route={"commit": "complete"}
            )
            async with sidecar(written, sinks=[records.append]) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (reply.ended, b"whole" in reply.body, b"half" in reply.body) == (True, True, False)
            assert [a.outcome for a in records[0].attempts] == ["idle_timeout", "success"]
            await asyncio.wait_for(first.received[0].hung_up.wait(), 5)

    run(test())


@pytest.mark.parametrize("balancing", ["least_request", "consistent_hash"])
def test_the_request_s_body_is_free_once_an_attempt_has_committed(balancing: str) -> None:
    """A stream may go on for minutes; nobody will ever send that body again."""

    async def test() -> None:
        async with (
            Llm(then_silence(SSE_HEAD, framed(chat_chunk("x")))) as llm,
            sidecar(config(service("a", llm, load_balancing=balancing))) as daemon,
        ):
            app = await App.over_unix(daemon)
            app.send(chat(stream=True))
            await app.reader.readuntil(b"\n\n")
            (exchange,) = cast(set[Exchange], daemon._shared.exchanges)
            assert exchange.body == b""
            assert exchange._alike is None or exchange._alike.body == b""
            app.close()

    run(test())


def alive() -> Counter[str]:
    """Objects of a request that still exist."""
    kinds = (Exchange, Attempt, Gate, Plan, AppConnection)
    return Counter(type(o).__name__ for o in gc.get_objects() if isinstance(o, kinds))


@pytest.mark.parametrize("balancing", ["least_request", "consistent_hash"])
def test_a_request_leaves_nothing_to_the_garbage_collector(balancing: str) -> None:
    """A collection walks everything and stops the loop; so no request may be a cycle of references."""

    async def test() -> None:
        failing = json_answer({"error": {}}, status=503)
        broken = reset(SSE_HEAD, framed(chat_chunk("x")))
        answers = [json_answer(CHAT), stream("x"), failing, failing, broken, silence]
        async with (
            Llm(*answers) as llm,
            sidecar(config(service("a", llm, load_balancing=balancing))) as daemon,
        ):
            gc.collect()
            gc.disable()
            try:
                for streams in (False, True, False, True):
                    await ask(daemon, chat(stream=streams))
                app = await App.over_unix(daemon)
                app.send(chat(stream=True))
                await until(lambda: len(llm.received) == 6)
                app.close()
                with contextlib.suppress(TimeoutError):
                    await until(lambda: not alive())
                assert alive() == Counter()
            finally:
                gc.enable()

    run(test())


def test_heads_that_do_not_come_again_stay_with_nobody() -> None:
    """An app may ask for as many paths as it likes; what is remembered of them is bounded, and so is who remembers."""

    async def test() -> None:
        async with Llm(json_answer(CHAT)) as llm, sidecar(config(service("a", llm))) as daemon:
            app = await App.over_unix(daemon)
            gc.collect()
            gc.disable()
            try:
                for number in range(2 * LANES + 10):
                    app.send(b"GET /v1/files/%d HTTP/1.1\r\nhost: localhost\r\n\r\n" % number)
                    assert (await app.reply("GET")).status == 200
                kept = Counter(
                    type(o).__name__ for o in gc.get_objects() if isinstance(o, Lane | RequestHead)
                )
                assert kept["Lane"] <= LANES
                assert kept["RequestHead"] <= 2
            finally:
                gc.enable()
            app.close()

    run(test())


# -- bugs ------------------------------------------------------------------------------------------------------


def test_a_sink_that_raises_stops_neither_the_request_nor_the_other_sinks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        records: list[RequestRecord] = []

        def broken(_: RequestRecord) -> None:
            raise ZeroDivisionError

        async with (
            Llm(json_answer(CHAT)) as llm,
            sidecar(config(service("a", llm)), sinks=[broken, records.append]) as daemon,
        ):
            app = await App.over_unix(daemon)
            app.send(chat(stream=False) * 2)
            assert [(await app.reply()).status, (await app.reply()).status] == [200, 200]
            assert len(records) == 2
            app.close()

    run(test())
    assert "a sink failed" in caplog.text


@pytest.mark.parametrize("committed", [False, True], ids=["before_the_answer", "in_the_stream"])
def test_a_bug_ends_its_request_loudly_and_no_other(
    committed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that went back to the loop would leave the app waiting for ever."""

    async def test() -> None:
        records: list[RequestRecord] = []
        bad = reset(SSE_HEAD, framed(chat_chunk("x"))) if committed else json_answer({}, status=503)
        async with (
            Llm(bad, json_answer(CHAT)) as llm,
            sidecar(config(service("a", llm)), sinks=[records.append]) as daemon,
        ):
            attempts = daemon._shared.attempts

            def broken(*_: object) -> None:
                daemon._shared.attempts = attempts
                raise ZeroDivisionError

            daemon._shared.attempts = Attempts(broken, wanted=1)
            reply = await ask(daemon, chat(stream=True))
            if committed:
                assert (reply.status, reply.ended) == (200, False)
            else:
                assert (reply.status, reply.json["error"]["code"]) == (500, "internal_error")
            assert (await ask(daemon, chat(stream=False))).status == 200
            assert [r.failure and r.failure.code for r in records] == ["internal_error", None]
            assert not daemon._shared.exchanges
            assert daemon._ledger.endpoints("a")[0].in_flight == 0

    run(test())
    assert "met a bug" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


# -- the sidecar ends ------------------------------------------------------------------------------------------


def test_what_is_in_flight_when_the_drain_is_over_is_told_why() -> None:
    async def test() -> None:
        async with Llm(then_silence(SSE_HEAD, framed(chat_chunk("x"))), silence) as llm:
            written = config(service("a", llm), drain_timeout="50ms")
            async with sidecar(written) as daemon:
                begun, waiting = await App.over_unix(daemon), await App.over_unix(daemon)
                begun.send(chat(stream=True))
                head = await begun.reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head
                waiting.send(chat(stream=True))
                await until(lambda: len(llm.received) == 2)
                daemon.request_stop()
                stopping = begin(daemon.run_until_stopped())
                reply = await waiting.reply()
                assert (reply.status, reply.json["error"]["code"]) == (503, "draining")
                assert reply.fields["retry-after"]
                rest = await begun.reader.read()
                assert b'"draining"' in rest
                assert not rest.endswith(b"0\r\n\r\n")
                await stopping
                for app in (begun, waiting):
                    app.close()

    run(test())


def test_the_socket_of_the_process_that_comes_next_is_left_alone() -> None:
    """A new process may bind the path as soon as this one has stopped to listen, long before it has ended."""

    async def test() -> None:
        async with (
            Llm(silence) as llm,
            sidecar(config(service("a", llm), drain_timeout="10s")) as daemon,
        ):
            path = str(daemon.listen[0]).removeprefix("unix:")
            app = await App.over_unix(daemon)
            app.send(chat(stream=True))
            await until(lambda: llm.received)
            daemon.request_stop()
            stopping = begin(daemon.run_until_stopped())
            await until(lambda: not os.path.exists(path))
            with socket.socket(socket.AF_UNIX) as successor:
                successor.bind(path)
                app.close()
                await stopping
                assert os.path.exists(path)

    run(test())


def test_while_it_drains_a_changed_file_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with Llm(silence) as llm:
            written = config(service("a", llm), drain_timeout="10s")
            path = tmp_path / "sidecar.yaml"
            path.write_text(yaml.safe_dump(written))
            async with sidecar(written, path=str(path), text=path.read_bytes()) as daemon:
                app = await App.over_unix(daemon)
                app.send(chat(stream=True))
                await until(lambda: llm.received)
                daemon.request_stop()
                stopping = begin(daemon.run_until_stopped())
                await until(lambda: daemon._side.draining)
                before = daemon.policies.running.generation
                changed = config(service("a", llm, model="another"))["policy"]
                path.write_text(yaml.safe_dump({**written, "policy": changed}))
                daemon.reload()
                assert not daemon._tasks
                app.close()
                await stopping
                assert daemon.policies.running.generation == before

    run(test())


# -- new policies ----------------------------------------------------------------------------------------------


def test_a_request_in_flight_never_takes_its_credential_to_the_addresses_of_a_newer_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name of a service may stay while its vendor changes."""
    monkeypatch.setenv("OLD_KEY", "old-secret")

    async def test() -> None:
        go = asyncio.Event()

        async def fails(
            received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await go.wait()
            await json_answer({}, status=500)(received, reader, writer)

        async with Llm(fails) as old, Llm(json_answer(CHAT)) as new:
            credential = {"bearer": {"env": "OLD_KEY"}}
            written = config(service("a", old, credential=credential))
            async with sidecar(written) as daemon:
                asked = begin(ask(daemon, chat(stream=False)))
                await until(lambda: old.received)
                await put_into_force(daemon, written, service("a", new))
                go.set()
                assert (await asked).status == 500
                assert new.received == []
                assert (await ask(daemon, chat(stream=False))).status == 200
                assert new.received[0].get("authorization") == []

    run(test())


def test_connections_to_an_endpoint_that_a_policy_takes_away_are_closed() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as one, Llm(json_answer(CHAT)) as other:
            both = service("a", one, endpoints=[one.address, other.address], load_balancing="round_robin")
            written = config(both)
            async with sidecar(written) as daemon:
                for _ in range(2):
                    await ask(daemon, chat(stream=False))
                assert len(other.received) == 1
                await put_into_force(daemon, written, {**both, "endpoints": [one.address]})
                await until(lambda: not other._tasks)  # it has seen the end of the connection
                assert one._tasks
                await ask(daemon, chat(stream=False))
                assert [r.connection for r in one.received] == [0, 0]

    run(test())


def test_a_service_that_a_policy_takes_away_still_answers_what_it_was_asked() -> None:
    async def test() -> None:
        go = asyncio.Event()

        async def later(
            received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await go.wait()
            await json_answer(CHAT)(received, reader, writer)

        async with Llm(later) as llm:
            written = config(service("a", llm))
            async with sidecar(written) as daemon:
                asked = begin(ask(daemon, chat(stream=False)))
                await until(lambda: llm.received)
                other = service("a", f"http://127.0.0.1:{free_port()}/v1")
                await put_into_force(daemon, written, other)
                go.set()
                assert (await asked).json == CHAT
                await until(lambda: not llm._tasks)  # its connection is not kept

    run(test())
