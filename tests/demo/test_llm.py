"""The simulated service over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from sidecar.demo.answers import text
from sidecar.demo.app import ask
from sidecar.demo.gpu import Died, Event, GpuSpec, Loading, Phase, Serving
from sidecar.demo.llm import Opening, SimulatedLlm

from .peer import chat, connected, fetch, run

QUICK = GpuSpec(slots=4, capacity=400.0, usual_tokens=4, prefill=0.001)
STUCK = GpuSpec(prefill=1e6, capacity=1e-7)  # whoever has a slot waits for ever
COMPLETIONS = "/v1/chat/completions"


@pytest.mark.parametrize("opening", list(Opening))
def test_a_stream_comes_whole_whatever_it_opens_with(opening: Opening) -> None:
    """The app sees the same text."""

    async def story() -> None:
        async with SimulatedLlm("m", QUICK, opening=opening) as llm:
            answers = await asyncio.gather(*(ask(llm.address, tokens=n) for n in range(1, 21)))
            assert [answer.problem for answer in answers] == [""] * 20
            assert all(answer.first_packet is not None for answer in answers)
            assert llm.gpu.finished == 20

    run(story())


def test_status_and_head_of_a_stream_come_before_the_request_gets_its_turn() -> None:
    """As vLLM does it: whoever takes the head for a sign of life sees no overload."""

    async def story() -> None:
        async with SimulatedLlm("m", STUCK) as llm, connected(llm) as peer:
            peer.send("POST", COMPLETIONS, chat(tokens=1))
            assert (await peer.head()).startswith("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream")
            assert llm.gpu.in_flight == 1

    run(story())


def test_the_role_can_come_with_the_head() -> None:
    """Other servers do: an event that is no progress either."""

    async def story() -> None:
        async with SimulatedLlm("m", STUCK, opening=Opening.ROLE) as llm, connected(llm) as peer:
            peer.send("POST", COMPLETIONS, chat(tokens=1))
            await peer.head()
            assert b'"role":"assistant"' in await peer.chunk()

    run(story())


def test_the_head_can_wait_for_the_first_token() -> None:
    """Vendors do: their status says that the work has begun."""

    async def story() -> None:
        async with SimulatedLlm("m", STUCK, opening=Opening.NOTHING) as llm, connected(llm) as peer:
            peer.send("POST", COMPLETIONS, chat(tokens=1))
            waiting = asyncio.ensure_future(peer.reader.read(1))
            while llm.gpu.in_flight == 0:
                await fetch(llm, "GET", "/health")
            await fetch(llm, "GET", "/health")  # by now a head would have come too
            assert not waiting.done()
            waiting.cancel()

    run(story())


def test_without_a_stream_the_answer_comes_in_one_piece() -> None:
    """Chat, completions and embeddings."""

    async def story() -> None:
        async with SimulatedLlm("m", QUICK) as llm:
            status, answer = await fetch(llm, "POST", COMPLETIONS, chat(tokens=3, stream=False))
            assert (status, answer["choices"][0]["message"]["content"]) == (200, text(3))
            status, answer = await fetch(llm, "POST", "/v1/completions", {"model": "m", "prompt": "hi"})
            assert (status, answer["choices"][0]["text"]) == (200, text(4))
            status, answer = await fetch(llm, "POST", "/v1/embeddings", {"model": "m", "input": ["a", "b"]})
            assert (status, len(answer["data"])) == (200, 2)

    run(story())


def test_what_is_not_served_is_told_by_its_status() -> None:
    """The statuses that an app's own mistakes get."""

    async def story() -> None:
        async with SimulatedLlm("m", QUICK) as llm:
            assert (await fetch(llm, "GET", "/health"))[0] == 200
            assert (await fetch(llm, "GET", "/v1/models"))[1]["data"][0]["id"] == "m"
            assert (await fetch(llm, "GET", "/v1/nothing"))[0] == 404
            assert (await fetch(llm, "GET", COMPLETIONS))[0] == 405
            assert (await fetch(llm, "POST", COMPLETIONS, {"model": "m"}))[0] == 400

    run(story())


def test_requests_on_one_connection_are_answered_in_their_order() -> None:
    """Also when the second does not wait for the first."""

    async def story() -> None:
        async with SimulatedLlm("m", QUICK) as llm, connected(llm) as peer:
            peer.send("POST", COMPLETIONS, chat(tokens=2))
            peer.send("GET", "/v1/models")
            await peer.head()
            assert (await peer.body()).endswith(b"data: [DONE]\n\n")
            assert (await peer.answer())[0] == 200

    run(story())


def test_a_caller_that_hangs_up_makes_room_for_the_next() -> None:
    """What the sidecar gives up must not go on costing."""

    async def story() -> None:
        async with (
            SimulatedLlm("m", GpuSpec(slots=1, capacity=1.0, slowdown=0.0, prefill=0.01)) as llm,
            connected(llm) as first,
        ):
            first.send("POST", COMPLETIONS, chat(tokens=4000))
            await first.head()
            second = asyncio.ensure_future(ask(llm.address, tokens=1))
            while llm.gpu.queued == 0:
                await fetch(llm, "GET", "/health")
            first.hang_up()
            assert (await second).problem == ""
            assert llm.gpu.in_flight == 0

    run(story())


def test_a_server_that_dies_resets_refuses_loads_and_serves_again() -> None:
    """The four faces of the reference scenario's worst case."""

    async def story() -> None:
        told: asyncio.Queue[Event] = asyncio.Queue()
        spec = GpuSpec(limit=3, down=0.8, loading=0.8, capacity=50.0, prefill=0.01)
        async with AsyncExitStack() as stack:
            llm = await stack.enter_async_context(SimulatedLlm("m", spec, told=told.put_nowait))
            peers = [await stack.enter_async_context(connected(llm)) for _ in range(3)]
            for peer in peers:
                peer.send("POST", COMPLETIONS, chat(tokens=4000))
            assert isinstance(died := await told.get(), Died)
            assert len(died.lost) == 3
            for peer in peers:
                with pytest.raises(ConnectionResetError):
                    await peer.reader.read()
            with pytest.raises(ConnectionRefusedError):
                await fetch(llm, "GET", "/health")
            assert isinstance(await told.get(), Loading)
            assert (await fetch(llm, "GET", "/health"))[0] == 503
            assert (await fetch(llm, "POST", COMPLETIONS, chat(tokens=1)))[0] == 503
            assert isinstance(await told.get(), Serving)
            assert (await ask(llm.address, tokens=2)).problem == ""

    run(story())


def test_it_can_end_while_it_is_down() -> None:
    """The demo may be stopped at any moment; the port is free again."""

    async def story() -> None:
        async with SimulatedLlm("m", GpuSpec(limit=1)) as llm, connected(llm) as peer:
            peer.send("POST", COMPLETIONS, chat(tokens=1))
            with pytest.raises(ConnectionResetError):
                await peer.reader.read()
            assert llm.gpu.phase is Phase.DOWN
        with pytest.raises(ConnectionRefusedError):
            await fetch(llm, "GET", "/health")

    run(story())


def test_some_hundred_streams_at_once_are_nothing() -> None:
    """A surge of the benchmark is carried by one core that has other work."""

    async def story() -> None:
        async with SimulatedLlm("m", GpuSpec(slots=400, capacity=400.0, limit=1000)) as llm:
            answers = await asyncio.gather(*(ask(llm.address, tokens=8) for _ in range(300)))
            assert {answer.problem for answer in answers} == {""}
            assert llm.gpu.most_in_flight > 100

    run(story())
