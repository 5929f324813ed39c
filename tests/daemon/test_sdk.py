"""The SDKs that apps use, against the real daemon, over the Unix socket and over TCP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from sidecar_client.transport import async_http_client

from sidecar.daemon import Daemon

from .llm import CHAT, SSE_HEAD, Llm, chat_chunk, framed, json_answer, raw, reset, silence, stream
from .loop import run
from .sidecar import config, free_port, service, sidecar

HELLO: Any = [{"role": "user", "content": "hi"}]
FAST = {"timeouts": {"first_packet": "100ms"}}


@asynccontextmanager
async def over_unix(daemon: Daemon) -> AsyncIterator[openai.AsyncOpenAI]:
    client = async_http_client(str(daemon.listen[0]))
    async with openai.AsyncOpenAI(
        base_url="http://localhost/v1", api_key="app-key", http_client=client, max_retries=0
    ) as sdk:
        yield sdk


@asynccontextmanager
async def over_tcp(daemon: Daemon) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"http://{daemon.listen[1]}/v1", api_key="app-key", max_retries=0
    ) as sdk:
        yield sdk


Connect = Callable[[Daemon], AbstractAsyncContextManager[openai.AsyncOpenAI]]
both = pytest.mark.parametrize("connect", [over_unix, over_tcp], ids=["unix", "tcp"])


async def told(sdk: openai.AsyncOpenAI) -> str:
    answer = await sdk.chat.completions.create(model="m", messages=HELLO, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])


@both
def test_chat_whole_and_streamed_models_and_embeddings(connect: Connect) -> None:
    async def test() -> None:
        vectors = {
            "object": "list",
            "model": "m",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }
        models = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "me"}]}
        answers = json_answer(CHAT), stream("hel", "lo"), json_answer(models), json_answer(vectors)
        async with Llm(*answers) as llm, sidecar(config(service("a", llm))) as daemon, connect(daemon) as sdk:
            answer = await sdk.chat.completions.create(model="m", messages=HELLO)
            assert answer.choices[0].message.content == "hello"
            assert await told(sdk) == "hello"
            assert [model.id async for model in sdk.models.list()] == ["m"]
            found = await sdk.embeddings.create(model="m", input="x", encoding_format="float")
            assert found.data[0].embedding == [0.5, -1.0]
            lines = [received.line.split(" ")[1] for received in llm.received]
            assert lines == ["/v1/chat/completions", "/v1/chat/completions", "/v1/models", "/v1/embeddings"]

    run(test())


@both
def test_a_silent_llm_is_not_noticed_by_the_app(connect: Connect) -> None:
    async def test() -> None:
        async with Llm(silence) as first, Llm(stream("rescued")) as second:
            written = config(service("a", first, **FAST), service("b", second))
            async with sidecar(written) as daemon, connect(daemon) as sdk:
                assert await told(sdk) == "rescued"

    run(test())


def test_a_broken_stream_is_an_error_of_the_sdk_and_never_a_short_answer() -> None:
    async def test() -> None:
        begun = (SSE_HEAD, framed(chat_chunk("half")))
        for broken in (raw(*begun, close=True), reset(*begun), raw(*begun, b"0\r\n\r\n")):
            async with (
                Llm(broken) as llm,
                sidecar(config(service("a", llm))) as daemon,
                over_unix(daemon) as sdk,
            ):
                with pytest.raises(openai.APIError) as caught:
                    await told(sdk)
                assert caught.value.code in ("reset", "truncated_stream")

    run(test())


def test_the_sidecar_s_own_errors_are_typed_errors_of_the_sdks() -> None:
    async def test() -> None:
        dead = f"http://127.0.0.1:{free_port()}/v1"
        async with sidecar(config(service("a", dead))) as daemon:
            async with over_unix(daemon) as sdk:
                with pytest.raises(openai.InternalServerError) as caught:
                    await told(sdk)
                assert (caught.value.status_code, caught.value.code) == (502, "connect_failure")
                assert caught.value.type == "sidecar_error"
            base_url = f"http://{daemon.listen[1]}"
            async with anthropic.AsyncAnthropic(base_url=base_url, api_key="k", max_retries=0) as other:
                with pytest.raises(anthropic.APIStatusError) as refused:
                    await other.messages.create(model="m", max_tokens=5, messages=HELLO)
                assert refused.value.status_code == 502
                assert json.loads(refused.value.response.content)["type"] == "error"

    run(test())


def test_fifty_streams_at_once_while_the_primary_is_down_are_all_rescued() -> None:
    async def test() -> None:
        async with (
            Llm(reset()) as first,
            Llm(stream("fine")) as second,
            sidecar(config(service("a", first), service("b", second))) as daemon,
            over_unix(daemon) as sdk,
        ):
            assert await asyncio.gather(*[told(sdk) for _ in range(50)]) == ["fine"] * 50

    run(test())
