"""Two attempts at a time, on the real daemon: one answer, the other one cancelled."""

from __future__ import annotations

import asyncio

from sidecar.daemon import Daemon
from sidecar.record import RequestRecord

from .llm import Answer, Llm, Received, json_answer, silence, stream, then_silence
from .loop import run
from .sidecar import App, ask, chat, config, service, sidecar
from .test_data_path import texts
from .waiting import begin, until

PATIENT = {"timeouts": {"first_packet": "20s"}}
HEDGE = {"hedge": {"after": "30ms"}}


def held(until_told: asyncio.Event, then: Answer) -> Answer:
    """Answers when it is told to."""

    async def answer(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_told.wait()
        await then(received, reader, writer)

    return answer


def in_flight(daemon: Daemon) -> int:
    return sum(status.in_flight for status in daemon._statuses())


def test_the_faster_of_two_answers_and_the_other_is_cancelled() -> None:
    """The LLM that lost has to stop computing."""

    async def test() -> None:
        async with Llm(silence) as slow, Llm(stream("quick")) as fast:
            written = config(service("a", slow, **PATIENT), service("b", fast, **PATIENT), route=HEDGE)
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (texts(reply.body), reply.ended) == ("quick", True)
                assert (reply.fields["x-sidecar-service"], reply.fields["x-sidecar-attempts"]) == ("b", "2")
                await asyncio.wait_for(slow.received[0].hung_up.wait(), 10)
                assert in_flight(daemon) == 0

    run(test())


def test_the_first_attempt_may_win_after_all() -> None:
    """Then the hedge is cancelled, and the answer is the first service's."""

    async def test() -> None:
        go = asyncio.Event()
        async with Llm(held(go, stream("own"))) as own, Llm(silence) as other:
            written = config(service("a", own, **PATIENT), service("b", other, **PATIENT), route=HEDGE)
            async with sidecar(written) as daemon:
                asked = begin(ask(daemon, chat(stream=True)))
                await until(lambda: other.received)
                go.set()
                reply = await asked
                assert (texts(reply.body), reply.fields["x-sidecar-service"]) == ("own", "a")
                await asyncio.wait_for(other.received[0].hung_up.wait(), 10)
                assert in_flight(daemon) == 0

    run(test())


def test_an_error_of_one_does_not_beat_the_answer_of_the_other() -> None:
    """A 401 is quickly said, and that the hedge's service does not know the key is no answer to the app."""

    async def test() -> None:
        records: list[RequestRecord] = []
        go = asyncio.Event()
        refusal = json_answer({"error": {"message": "who are you"}}, 401)
        async with Llm(held(go, stream("own"))) as own, Llm(refusal) as other:
            written = config(service("a", own, **PATIENT), service("b", other, **PATIENT), route=HEDGE)
            async with sidecar(written, sinks=[records.append]) as daemon:
                asked = begin(ask(daemon, chat(stream=True)))
                await until(lambda: other.received and in_flight(daemon) == 1)
                go.set()
                reply = await asked
                assert (texts(reply.body), reply.fields["x-sidecar-service"]) == ("own", "a")
        (record,) = records
        assert record.answered is record.attempts[0]
        assert not record.attempts[1].fell_back(record)

    run(test())


def test_when_both_fail_the_app_gets_the_last_error() -> None:
    async def test() -> None:
        go = asyncio.Event()
        refusal = json_answer({"error": {"message": "who are you"}}, 401)
        broken = json_answer({"error": {"message": "out of memory"}}, 500)
        async with Llm(held(go, broken)) as own, Llm(refusal) as other:
            route = {**HEDGE, "retries_per_service": 0, "max_attempts": 2}
            written = config(service("a", own, **PATIENT), service("b", other, **PATIENT), route=route)
            async with sidecar(written) as daemon:
                asked = begin(ask(daemon, chat(stream=True)))
                await until(lambda: other.received and in_flight(daemon) == 1)
                go.set()
                reply = await asked
                assert (reply.status, reply.json["error"]["message"]) == (500, "out of memory")

    run(test())


def test_a_silent_primary_is_left_for_the_service_whose_hedge_has_failed() -> None:
    """Its error was over within milliseconds; without hedging the request would have been rescued."""

    async def test() -> None:
        error = json_answer({"error": {"message": "no"}}, 500)
        async with Llm(silence) as own, Llm(error, stream("rescued")) as other:
            soon = {"timeouts": {"first_packet": "200ms"}}
            written = config(service("a", own, **soon), service("b", other, **soon), route=HEDGE)
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (texts(reply.body), reply.fields["x-sidecar-attempts"]) == ("rescued", "3")

    run(test())


def test_an_app_that_hangs_up_cancels_both() -> None:
    """Nobody waits for either."""

    async def test() -> None:
        async with Llm(silence) as one, Llm(silence) as other:
            written = config(service("a", one, **PATIENT), service("b", other, **PATIENT), route=HEDGE)
            async with sidecar(written) as daemon:
                app = await App.over_unix(daemon)
                app.send(chat(stream=True))
                await until(lambda: other.received)
                app.close()
                for llm in (one, other):
                    await asyncio.wait_for(llm.received[0].hung_up.wait(), 10)
                await until(lambda: in_flight(daemon) == 0)

    run(test())


def test_a_stream_that_has_begun_in_time_is_not_hedged() -> None:
    """Its first packet is there; how long the rest takes is not hedging's business."""

    async def test() -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        begun = then_silence(head, b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n')
        go = asyncio.Event()
        async with Llm(held(go, begun)) as one, Llm(stream("no")) as other:
            written = config(
                service("a", one, **PATIENT),
                service("b", other, **PATIENT),
                route={"hedge": {"after": "20s"}},
            )
            async with sidecar(written) as daemon:
                (to_hedge,) = daemon._shared.clocks.hedge._queues.values()
                app = await App.over_unix(daemon)
                app.send(chat(stream=True))
                await until(lambda: len(to_hedge) == 1)
                go.set()
                await asyncio.wait_for(app.reader.readuntil(b'"x"'), 10)
                assert not len(to_hedge)
                app.close()

    run(test())


def test_every_attempt_of_a_hedged_request_is_in_the_record() -> None:
    """The winner's, and the loser's as cancelled: the trace shows both."""

    async def test() -> None:
        records: list[RequestRecord] = []
        async with Llm(silence) as slow, Llm(stream("quick")) as fast:
            written = config(service("a", slow, **PATIENT), service("b", fast, **PATIENT), route=HEDGE)
            async with sidecar(written, sinks=[records.append]) as daemon:
                await ask(daemon, chat(stream=True))
        (record,) = records
        assert [(a.number, a.outcome, a.reason) for a in record.attempts] == [
            (1, "cancelled", None),
            (2, "success", "hedge"),
        ]

    run(test())
