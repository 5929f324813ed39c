"""Ways of picking, on the real daemon: affinity, weights, pace."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from .llm import CHAT, Llm, Received, json_answer, stream
from .loop import run
from .sidecar import ask, chat, config, post, service, sidecar
from .waiting import begin

GOOD = json_answer(CHAT)


def of(*llms: Llm) -> dict[str, object]:
    return {"endpoints": [llm.address for llm in llms]}


def prompt(system: str, question: str) -> bytes:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return post("/v1/chat/completions", json.dumps({"model": "m", "messages": messages}).encode())


def test_requests_of_a_session_stay_on_one_endpoint() -> None:
    """Its KV cache holds what was said before."""

    async def test() -> None:
        async with Llm(GOOD) as a, Llm(GOOD) as b, Llm(GOOD) as c:
            how = {"load_balancing": "consistent_hash", "hash_on": {"header": "X-Session"}}
            async with sidecar(config(service("s", a, **of(a, b, c), **how))) as daemon:
                for session in range(36):  # of 12, one run in 40 left an endpoint without any
                    for _ in range(3):
                        await ask(daemon, chat(stream=False, x_session=str(session)))
            seen = [{received.get("x-session")[0] for received in llm.received} for llm in (a, b, c)]
            assert sum(len(sessions) for sessions in seen) == 36, "a session was split"
            assert all(seen)

    run(test())


def test_prompts_that_begin_alike_go_to_one_endpoint() -> None:
    """What they share is computed once."""

    async def test() -> None:
        async with Llm(GOOD) as a, Llm(GOOD) as b:
            how = {"load_balancing": "consistent_hash", "hash_on": {"prompt_prefix": "64B"}}
            async with sidecar(config(service("s", a, **of(a, b), **how))) as daemon:
                for system in range(8):
                    for question in range(3):
                        await ask(daemon, prompt(f"{system} " * 40, f"question {question}"))

            def systems(llm: Llm) -> set[str]:
                return {received.json["messages"][0]["content"] for received in llm.received}

            assert not systems(a) & systems(b)
            assert len(systems(a) | systems(b)) == 8

    run(test())


@pytest.mark.parametrize("how", ["least_request", "round_robin", "peak_ewma"])
def test_weights_are_kept_to(how: str) -> None:
    """A bigger GPU gets more of the requests."""

    async def slowly(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        await stream("x")(received, reader, writer)

    async def test() -> None:
        async with Llm(slowly) as big, Llm(slowly) as small:
            written = service("s", big, **of(big, small), load_balancing=how, weights={big.address: 4})
            async with sidecar(config(written)) as daemon:
                for _ in range(6):
                    await asyncio.gather(*(begin(ask(daemon, chat(stream=True))) for _ in range(20)))
            assert len(big.received) > 2 * len(small.received) > 0

    run(test())


def test_the_endpoint_that_begins_sooner_gets_the_requests() -> None:
    async def late(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await stream("x")(received, reader, writer)

    async def test() -> None:
        async with Llm(late) as slow, Llm(stream("x")) as fast:
            written = service("s", slow, **of(slow, fast), load_balancing="peak_ewma")
            async with sidecar(config(written)) as daemon:
                for _ in range(40):
                    await ask(daemon, chat(stream=True))
            counts = Counter({"slow": len(slow.received), "fast": len(fast.received)})
            assert counts["fast"] > 5 * counts["slow"] > 0

    run(test())
