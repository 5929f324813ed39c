"""`queue`: requests over a service's limit wait for a place, in order, for a bounded time."""

from __future__ import annotations

import asyncio

from .llm import Answer, Llm, Received, silence, stream
from .loop import run
from .sidecar import App, ask, chat, config, service, sidecar
from .test_data_path import texts
from .waiting import begin, until

ONE = {"max_concurrency": 1, "adaptive_concurrency": {"enabled": False}, "timeouts": {"first_packet": "20s"}}


class Gate:
    """Answers are let out one by one, in the order in which the requests came."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(0)

    async def answer(
        self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._free.acquire()
        await stream(received.json["model"])(received, reader, writer)

    def open(self) -> None:
        self._free.release()


def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    """Nobody overtakes, or an unlucky request would wait for ever."""

    async def test() -> None:
        gate = Gate()
        queue = {"queue": {"max_requests": 10, "timeout": "30s"}}
        answer: Answer = gate.answer
        async with Llm(answer) as llm, sidecar(config(service("a", llm, **ONE, **queue))) as daemon:
            asked = []
            for name in ("first", "second", "third"):
                asked.append(begin(ask(daemon, chat(stream=True, model=name))))
                await until(lambda: daemon._shared.exchanges and len(daemon._shared.exchanges) == len(asked))
            for _ in asked:
                gate.open()
            assert [texts((await reply).body) for reply in asked] == ["first", "second", "third"]
            assert [received.json["model"] for received in llm.received] == ["first", "second", "third"]

    run(test())


def test_never_more_are_sent_than_max_concurrency_allows() -> None:
    """That is what the line is for."""

    async def test() -> None:
        gate = Gate()
        queue = {"queue": {"max_requests": 100, "timeout": "30s"}}
        async with Llm(gate.answer) as llm, sidecar(config(service("a", llm, **ONE, **queue))) as daemon:
            asked = [begin(ask(daemon, chat(stream=True))) for _ in range(20)]
            for number in range(1, 21):
                await until(lambda n=number: len(llm.received) == n)  # type: ignore[misc]
                assert sum(status.in_flight for status in daemon._statuses()) == 1
                gate.open()
            assert {(await reply).status for reply in asked} == {200}

    run(test())


def test_after_its_time_a_request_goes_to_the_next_service() -> None:
    async def test() -> None:
        queue = {"queue": {"timeout": "50ms"}}
        async with Llm(silence) as full, Llm(stream("other")) as other:
            written = config(service("a", full, **ONE, **queue), service("b", other))
            async with sidecar(written) as daemon:
                holds = await App.over_unix(daemon)
                holds.send(chat(stream=True))
                await until(lambda: full.received)
                reply = await ask(daemon, chat(stream=True))
                assert (texts(reply.body), reply.fields["x-sidecar-service"]) == ("other", "b")
                assert len(full.received) == 1
                holds.close()

    run(test())


def test_with_nowhere_else_to_go_it_is_overloaded_and_told_when_to_come_back() -> None:
    async def test() -> None:
        queue = {"queue": {"timeout": "50ms"}}
        async with Llm(silence) as full, sidecar(config(service("a", full, **ONE, **queue))) as daemon:
            holds = await App.over_unix(daemon)
            holds.send(chat(stream=True))
            await until(lambda: full.received)
            reply = await ask(daemon, chat(stream=True))
            assert (reply.status, reply.json["error"]["code"]) == (503, "overloaded")
            assert reply.fields["retry-after"]
            holds.close()

    run(test())


def test_an_app_that_hangs_up_leaves_the_line() -> None:
    """Its place in the line must not hold up those behind it."""

    async def test() -> None:
        gate = Gate()
        queue = {"queue": {"max_requests": 1, "timeout": "30s"}}
        async with Llm(gate.answer) as llm, sidecar(config(service("a", llm, **ONE, **queue))) as daemon:
            first = begin(ask(daemon, chat(stream=True, model="first")))
            await until(lambda: llm.received)
            impatient = await App.over_unix(daemon)
            impatient.send(chat(stream=True, model="impatient"))
            await until(lambda: len(daemon._shared.exchanges) == 2)
            assert (await ask(daemon, chat(stream=True))).status == 503  # the line is full
            impatient.close()
            await until(lambda: len(daemon._shared.exchanges) == 1)
            second = begin(ask(daemon, chat(stream=True, model="second")))
            await until(lambda: len(daemon._shared.exchanges) == 2)
            gate.open()
            gate.open()
            assert [texts((await reply).body) for reply in (first, second)] == ["first", "second"]

    run(test())
