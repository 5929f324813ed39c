"""Rules of sidecar_client.transport, with the real SDKs against a real server on a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
import sidecar_client
from sidecar_client.transport import DEFAULT_SOCKET, Library, preferred_library, socket_path

from tests.client.llm import Llm, serving

BOTH: list[Library | None] = [None, "httpx", "httpx2"]
CHAT: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
MESSAGES: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hi"}]


@pytest.fixture
def llm(tmp_path: Path) -> Iterator[Llm]:
    with serving(tmp_path) as made:
        yield made


@pytest.mark.parametrize("library", BOTH)
def test_the_openai_sdk_reaches_the_socket(llm: Llm, library: Library | None) -> None:
    """Whichever of its two HTTP libraries carries it, streaming or not."""
    client: Any = sidecar_client.http_client(llm.socket, library=library)
    with openai.OpenAI(base_url="http://localhost/v1", api_key="k", http_client=client) as sdk:
        answer = sdk.chat.completions.create(model="m", messages=CHAT)
        assert answer.choices[0].message.content == "hello"
        stream = sdk.chat.completions.create(model="m", messages=CHAT, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello"
    assert [(path, host) for path, host, _ in llm.requests] == [("/v1/chat/completions", "localhost")] * 2
    assert [body.get("stream", False) for _, _, body in llm.requests] == [False, True]


@pytest.mark.parametrize("library", BOTH)
def test_the_async_openai_sdk_reaches_the_socket(llm: Llm, library: Library | None) -> None:
    """Most apps that stream are asynchronous."""

    async def talk() -> tuple[str | None, str]:
        client: Any = sidecar_client.async_http_client(llm.socket, library=library)
        async with openai.AsyncOpenAI(base_url="http://localhost/v1", api_key="k", http_client=client) as sdk:
            answer = await sdk.chat.completions.create(model="m", messages=CHAT)
            stream = await sdk.chat.completions.create(model="m", messages=CHAT, stream=True)
            parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return answer.choices[0].message.content, "".join(parts)

    assert asyncio.run(talk()) == ("hello", "hello")


def test_the_anthropic_sdk_reaches_the_socket(llm: Llm) -> None:
    """It takes no client of the older library, so the default has to be the right one."""
    client = sidecar_client.http_client(llm.socket)
    with anthropic.Anthropic(base_url="http://localhost", api_key="k", http_client=client) as sdk:
        answer = sdk.messages.create(model="m", max_tokens=9, messages=MESSAGES)
        assert answer.content[0].type == "text"
        assert answer.content[0].text == "hello"
        with sdk.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            assert "".join(stream.text_stream) == "hello"
    assert [path for path, _, _ in llm.requests] == ["/v1/messages"] * 2


def test_the_async_anthropic_sdk_reaches_the_socket(llm: Llm) -> None:
    """Its type check is a separate one."""

    async def talk() -> str:
        client = sidecar_client.async_http_client(llm.socket)
        async with (
            anthropic.AsyncAnthropic(base_url="http://localhost", api_key="k", http_client=client) as sdk,
            sdk.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream,
        ):
            return "".join([text async for text in stream.text_stream])

    assert asyncio.run(talk()) == "hello"


def test_the_default_library_is_the_one_that_the_installed_sdks_require() -> None:
    """With the SDKs of the lock file that is httpx2; a client of it is what they get."""
    assert preferred_library() == "httpx2"
    with sidecar_client.http_client("/nowhere") as client:
        assert isinstance(client, httpx2.Client)
    with sidecar_client.http_client("/nowhere", library="httpx") as old:
        assert isinstance(old, httpx.Client)


def test_timeouts_suit_an_llm_and_can_be_changed() -> None:
    """The libraries' own five seconds would end every long answer."""
    with sidecar_client.http_client(library="httpx2") as client:
        assert (client.timeout.read, client.timeout.connect) == (600.0, 5.0)
    with sidecar_client.http_client(library="httpx2", timeout=7.0, headers={"x-team": "a"}) as client:
        assert client.timeout.read == 7.0
        assert client.headers["x-team"] == "a"


def test_a_proxy_of_the_environment_is_not_used(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is meant for the network; a socket on this machine has no way round."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with sidecar_client.http_client(llm.socket, library="httpx2") as client:
        assert client.post("/v1/chat/completions", json={}).json()["id"] == "c1"


def test_the_socket_given_wins_over_the_environment_and_that_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With or without the unix: that the sidecar's own addresses bear."""
    monkeypatch.delenv("SIDECAR_SOCKET", raising=False)
    assert socket_path() == DEFAULT_SOCKET
    monkeypatch.setenv("SIDECAR_SOCKET", "unix:/b")
    assert socket_path() == "/b"
    assert socket_path("/a") == "/a"


def test_a_library_of_another_name_is_refused() -> None:
    """It would be imported otherwise."""
    with pytest.raises(ValueError, match="expected 'httpx' or 'httpx2'"):
        sidecar_client.http_client(library="requests")  # type: ignore[call-overload]
