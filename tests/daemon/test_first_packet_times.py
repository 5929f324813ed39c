"""When a first packet is late: hard, soft, and what a long prompt is allowed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sidecar.daemon import Daemon
from sidecar.record import RequestRecord

from .llm import Answer, Llm, Received, silence, stream
from .loop import run
from .sidecar import ask, chat, config, post, service, sidecar
from .test_data_path import texts

PLAIN = {"adaptive_concurrency": {"enabled": False}}
TRUSTING = {"passive_health": {"consecutive_failures": 1}}


def after(seconds: float, answer: Answer) -> Answer:
    """A server that thinks for so long first."""

    async def late(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await answer(received, reader, writer)

    return late


def long_chat(tokens: int) -> bytes:
    content = "word" * tokens
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": content}]}
    return post("/v1/chat/completions", json.dumps(body).encode())


def states(daemon: Daemon) -> dict[str, str]:
    return {status.service: status.state for status in daemon._statuses()}


def test_softly_late_is_told_to_health_but_not_cut() -> None:
    """An operator learns that it gets slower before anybody is cut off."""

    async def test() -> None:
        records: list[RequestRecord] = []
        times: dict[str, Any] = {"timeouts": {"first_packet": "20s", "first_packet_soft": "30ms"}}
        async with Llm(after(0.1, stream("slowly"))) as llm, Llm(stream("no")) as other:
            one = service("a", llm, **PLAIN, **TRUSTING, **times)
            async with sidecar(config(one, service("b", other)), sinks=[records.append]) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert (texts(reply.body), reply.fields["x-sidecar-service"]) == ("slowly", "a")
                assert records[0].attempts[0].late
                assert records[0].attempts[0].failure is None
                assert states(daemon)["a"] == "ejected"

    run(test())


def test_a_long_prompt_gets_more_time_where_the_policy_says_so() -> None:
    """Computing a long prompt takes long; a short one that takes as long is late."""

    async def test() -> None:
        times = {"timeouts": {"first_packet": "50ms", "first_packet_per_1k_tokens": "10s"}}
        async with Llm(after(0.15, stream("computed"))) as llm, Llm(stream("rescued")) as other:
            written = config(service("a", llm, **PLAIN, **times), service("b", other))
            async with sidecar(written) as daemon:
                assert texts((await ask(daemon, long_chat(2000))).body) == "computed"
                assert texts((await ask(daemon, long_chat(1))).body) == "rescued"

    run(test())


def test_a_very_long_prompt_that_nothing_was_allowed_for_is_cut_but_blames_nobody() -> None:
    """200 ms are meant for chat; an endpoint is not ill because somebody sends it a book."""

    async def test() -> None:
        times = {"timeouts": {"first_packet": "50ms"}}
        async with Llm(silence) as llm, Llm(stream("rescued")) as other:
            written = config(service("a", llm, **PLAIN, **TRUSTING, **times), service("b", other))
            async with sidecar(written) as daemon:
                assert texts((await ask(daemon, long_chat(9000))).body) == "rescued"
                assert states(daemon)["a"] == "available"
                assert texts((await ask(daemon, long_chat(10))).body) == "rescued"
                assert states(daemon)["a"] == "ejected"

    run(test())


def test_a_very_long_prompt_that_is_late_does_not_lower_the_limit() -> None:
    """Or one book would send everybody's chats to the fallback."""

    async def test() -> None:
        times = {"timeouts": {"first_packet": "50ms"}}
        async with Llm(silence) as llm, Llm(stream("rescued")) as other:
            written = config(service("a", llm, **times), service("b", other))
            async with sidecar(written) as daemon:
                before = limits(daemon)["a"]
                assert texts((await ask(daemon, long_chat(9000))).body) == "rescued"
                assert limits(daemon)["a"] == before
                assert texts((await ask(daemon, long_chat(10))).body) == "rescued"
                assert limits(daemon)["a"] != before

    run(test())


def limits(daemon: Daemon) -> dict[str, float | None]:
    return {status.service: status.concurrency_limit for status in daemon._statuses()}
