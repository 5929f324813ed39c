"""How apps take an answer of each dialect: with OpenAI's and Anthropic's SDKs, event by event or by their helpers,
in asyncio or in a thread.

In:      a daemon, and what the SDKs' clients shall be told beside its address.
Out:     tellers: each asks for a stream and says the whole text of the answer, or raises what its SDK raises.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, NamedTuple

import anthropic
import openai
import pytest

from sidecar.daemon import Daemon

from .dialects import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Dialect

HELLO: Any = [{"role": "user", "content": "hi"}]
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the system's certificates takes longer than a test
ERRORS = (openai.APIError, anthropic.APIError)


class Apps:
    """One client of each SDK, made when it is first asked for."""

    def __init__(self, address: str, **settings: Any) -> None:
        self._url = f"http://{address}"
        self._settings: dict[str, Any] = {"api_key": "k", "max_retries": 0, **settings}

    @cached_property
    def openai_sdk(self) -> openai.AsyncOpenAI:
        client = openai.DefaultAsyncHttpxClient(verify=NO_TLS)
        return openai.AsyncOpenAI(base_url=f"{self._url}/v1", **{"http_client": client, **self._settings})

    @cached_property
    def anthropic_sdk(self) -> anthropic.AsyncAnthropic:
        client = anthropic.DefaultAsyncHttpxClient(verify=NO_TLS)
        return anthropic.AsyncAnthropic(base_url=self._url, **{"http_client": client, **self._settings})

    @cached_property
    def blocking_openai(self) -> openai.OpenAI:
        client = openai.DefaultHttpxClient(verify=NO_TLS)
        return openai.OpenAI(base_url=f"{self._url}/v1", **{"http_client": client, **self._settings})

    @cached_property
    def blocking_anthropic(self) -> anthropic.Anthropic:
        client = anthropic.DefaultHttpxClient(verify=NO_TLS)
        return anthropic.Anthropic(base_url=self._url, **{"http_client": client, **self._settings})

    async def close(self) -> None:
        for client in vars(self).values():
            if isinstance(client, openai.AsyncOpenAI | anthropic.AsyncAnthropic):
                await client.close()
            elif isinstance(client, openai.OpenAI | anthropic.Anthropic):
                client.close()


@asynccontextmanager
async def apps(daemon: Daemon, **settings: Any) -> AsyncIterator[Apps]:
    """Clients of the daemon. They do not retry unless a test says so: it shows the first error then."""
    clients = Apps(str(daemon.listen[1]), **settings)
    try:
        yield clients
    finally:
        await clients.close()


async def raised(asking: Awaitable[Any]) -> Any:
    """What an SDK raises; Any, since the two have no common errors."""
    with pytest.raises(ERRORS) as caught:
        await asking
    return caught.value


def code_of(error: Any) -> str | None:
    """The code as an app of that SDK reads it."""
    code: str | None = error.error_code if isinstance(error, anthropic.APIStatusError) else error.code
    return code


async def _chat(apps: Apps) -> str:
    events = await apps.openai_sdk.chat.completions.create(model="m", messages=HELLO, stream=True)
    return "".join([event.choices[0].delta.content or "" async for event in events])


async def _chat_helper(apps: Apps) -> str:
    async with apps.openai_sdk.chat.completions.stream(model="m", messages=HELLO) as answer:
        return (await answer.get_final_completion()).choices[0].message.content or ""


def _chat_blocking(apps: Apps) -> str:
    events = apps.blocking_openai.chat.completions.create(model="m", messages=HELLO, stream=True)
    return "".join([event.choices[0].delta.content or "" for event in events])


async def _completions(apps: Apps) -> str:
    events = await apps.openai_sdk.completions.create(model="m", prompt="hi", stream=True)
    return "".join([event.choices[0].text async for event in events])


def _completions_blocking(apps: Apps) -> str:
    events = apps.blocking_openai.completions.create(model="m", prompt="hi", stream=True)
    return "".join([event.choices[0].text for event in events])


async def _responses(apps: Apps) -> str:
    events = await apps.openai_sdk.responses.create(model="m", input="hi", stream=True)
    return "".join([event.delta async for event in events if event.type == "response.output_text.delta"])


async def _responses_helper(apps: Apps) -> str:
    async with apps.openai_sdk.responses.stream(model="m", input="hi") as answer:
        return (await answer.get_final_response()).output_text


def _responses_blocking(apps: Apps) -> str:
    events = apps.blocking_openai.responses.create(model="m", input="hi", stream=True)
    return "".join([event.delta for event in events if event.type == "response.output_text.delta"])


async def _messages(apps: Apps) -> str:
    events = await apps.anthropic_sdk.messages.create(model="m", max_tokens=9, messages=HELLO, stream=True)
    deltas = [event.delta async for event in events if event.type == "content_block_delta"]
    return "".join([delta.text for delta in deltas if delta.type == "text_delta"])


async def _messages_helper(apps: Apps) -> str:
    async with apps.anthropic_sdk.messages.stream(model="m", max_tokens=9, messages=HELLO) as answer:
        return await answer.get_final_text()


def _messages_blocking(apps: Apps) -> str:
    with apps.blocking_anthropic.messages.stream(model="m", max_tokens=9, messages=HELLO) as answer:
        return "".join(answer.text_stream)


class Teller(NamedTuple):
    """One way to take one dialect's answer."""

    dialect: Dialect
    tell: Callable[[Apps], Awaitable[str]]
    name: str


def _in_thread(tell: Callable[[Apps], str]) -> Callable[[Apps], Awaitable[str]]:
    return lambda apps: asyncio.to_thread(tell, apps)


TELLERS = (
    Teller(CHAT, _chat, "chat"),
    Teller(CHAT, _chat_helper, "chat-helper"),
    Teller(CHAT, _in_thread(_chat_blocking), "chat-blocking"),
    Teller(COMPLETIONS, _completions, "completions"),
    Teller(COMPLETIONS, _in_thread(_completions_blocking), "completions-blocking"),
    Teller(RESPONSES, _responses, "responses"),
    Teller(RESPONSES, _responses_helper, "responses-helper"),
    Teller(RESPONSES, _in_thread(_responses_blocking), "responses-blocking"),
    Teller(MESSAGES, _messages, "messages"),
    Teller(MESSAGES, _messages_helper, "messages-helper"),
    Teller(MESSAGES, _in_thread(_messages_blocking), "messages-blocking"),
)
ONE_OF_EACH = tuple(
    next(t for t in TELLERS if t.dialect is d) for d in (CHAT, COMPLETIONS, RESPONSES, MESSAGES)
)
