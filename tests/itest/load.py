"""An app under way: streaming chats of the OpenAI SDK over the sidecar's Unix socket, several at any time.

In:      the address of the socket; how many talk at once.
Out:     one Call for each chat, with everything the app saw of it, filled in as it happens.
Units:   moments are monotonic seconds.
Limits:  an answer has as many tokens as were asked for: the model of these tests never ends by itself.
Errors:  an error of the SDK is a fact of its call; anything else ends the load, and so the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

import openai
from openai.types.chat import ChatCompletionChunk
from sidecar_client.transport import async_http_client

TOKENS = 40  # of a usual answer
PATIENCE = 40.0  # seconds without a byte: an app waits ten minutes, a test does not
PAUSE = 0.05  # between two answers of one talker: a load that goes on, not one that fills the machine


@dataclass
class Call:
    """One chat as the app saw it."""

    tokens: int  # asked for
    began: float
    request_id: str = ""
    service: str = ""
    attempts: int = 0
    first_packet: float | None = None
    ended: float | None = None
    text: str = ""
    finish_reason: str | None = None
    tokens_told: int | None = None
    error: openai.APIError | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def is_whole(self) -> bool:
        """A whole answer, and not one that only looks like it: every token that was asked for is there."""
        ended_well = self.error is None and self.finish_reason == "length"
        return ended_well and bool(self.text) and self.tokens_told == self.tokens

    def take(self, chunk: ChatCompletionChunk) -> None:
        if chunk.usage is not None:
            self.tokens_told = chunk.usage.completion_tokens
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.delta.content:
                self.text += choice.delta.content
                self.first_packet = self.first_packet or monotonic()
                self.begun.set()


class Load:
    """`calls` has every chat so far, in the order they began."""

    def __init__(self, sdk: openai.AsyncOpenAI) -> None:
        self.calls: list[Call] = []
        self._sdk = sdk
        self._ending = False
        self._extra: list[asyncio.Task[None]] = []

    def whole(self, service: str, *, since: float) -> list[Call]:
        """Whole answers of a service to chats that began after a moment."""
        return [
            call for call in self.calls if call.began > since and call.service == service and call.is_whole
        ]

    async def begin(self, tokens: int, service: str) -> Call:
        """A chat beside the others that has begun to stream from this service, and goes on."""
        for _ in range(20):
            call = self._new_call(tokens)
            self._extra.append(asyncio.get_running_loop().create_task(self._carry_out(call)))
            async with asyncio.timeout(20):
                await call.begun.wait()
            if call.service == service:
                return call
        raise AssertionError(f"{service} was not asked in 20 requests")

    async def talk(self) -> None:
        while not self._ending:
            await self._carry_out(self._new_call(TOKENS))
            await asyncio.sleep(PAUSE)

    async def end(self) -> None:
        self._ending = True
        await asyncio.gather(*self._extra)

    def _new_call(self, tokens: int) -> Call:
        self.calls.append(Call(tokens, began=monotonic()))
        return self.calls[-1]

    async def _carry_out(self, call: Call) -> None:
        try:
            raw = await self._sdk.chat.completions.with_raw_response.create(
                model="the-app-s-own-name",
                messages=[{"role": "user", "content": "tell me"}],
                max_tokens=call.tokens,
                stream=True,
                stream_options={"include_usage": True},
            )
            call.request_id = raw.headers["x-sidecar-request-id"]
            call.service = raw.headers["x-sidecar-service"]
            call.attempts = int(raw.headers["x-sidecar-attempts"])
            async for chunk in raw.parse():
                call.take(chunk)
        except openai.APIError as error:
            call.error = error
        call.ended = monotonic()


@asynccontextmanager
async def load(address: str, *, talkers: int) -> AsyncIterator[Load]:
    """Goes on until the block ends, then lets every chat end."""
    client = async_http_client(address, timeout=PATIENCE)
    async with (
        openai.AsyncOpenAI(
            base_url="http://localhost/v1", api_key="k", http_client=client, max_retries=0
        ) as sdk,
        asyncio.TaskGroup() as group,
    ):
        going = Load(sdk)
        for _ in range(talkers):
            group.create_task(going.talk())
        yield going
        await going.end()
