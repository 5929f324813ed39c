"""What the SDKs of OpenAI and Anthropic raise, and with which code: never a silent short answer.

For broken streams see `Dialect`; their codes are those of `sidecar.failure`. Anthropic's SDK has the sidecar's code
in `error_code`, OpenAI's in `code`, but for a Responses stream that broke: there the code comes with the event
`response.failed`, and what is raised is the APIConnectionError of a body without an end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from sidecar.daemon import Daemon

from .dialects import CHAT, MESSAGES, RESPONSES, Dialect
from .llm import CHAT as CHAT_ANSWER
from .llm import Llm, json_answer, silence
from .loop import run
from .sdks import HELLO, NO_TLS, ONE_OF_EACH, TELLERS, Apps, Teller, apps, code_of, raised
from .sidecar import App, chat, config, service, sidecar

every_teller = pytest.mark.parametrize("teller", TELLERS, ids=lambda teller: teller.name)
every_dialect = pytest.mark.parametrize("teller", ONE_OF_EACH, ids=lambda teller: teller.name)


async def asked_plainly(apps: Apps, dialect: Dialect) -> Any:
    """A request without a stream, by the dialect's SDK."""
    if dialect is MESSAGES:
        return await apps.anthropic_sdk.messages.create(model="m", max_tokens=9, messages=HELLO)
    return await apps.openai_sdk.chat.completions.create(model="m", messages=HELLO)


async def opened(apps: Apps, dialect: Dialect) -> Any:
    """A stream whose first event has come."""
    asking: Any
    if dialect is MESSAGES:
        asking = apps.anthropic_sdk.messages.create(model="m", max_tokens=9, messages=HELLO, stream=True)
    elif dialect is RESPONSES:
        asking = apps.openai_sdk.responses.create(model="m", input="hi", stream=True)
    else:
        asking = apps.openai_sdk.chat.completions.create(model="m", messages=HELLO, stream=True)
    events = await asking
    await anext(events)
    return events


async def collect(events: Any, seen: list[Any]) -> None:
    async for event in events:
        seen.append(event)


# -- streams -----------------------------------------------------------------------------------------------------


@every_teller
def test_a_whole_stream_is_delivered_whole(teller: Teller) -> None:
    """Before anything is said about broken ones."""

    async def test() -> None:
        async with (
            Llm(teller.dialect.whole()) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon) as clients,
        ):
            assert await teller.tell(clients) == "hello"

    run(test())


@every_teller
@pytest.mark.parametrize(
    ("how", "codes"),
    [
        (Dialect.cut, ("reset", "truncated_stream")),  # as the kernel tells it
        (Dialect.ended_early, ("truncated_stream",)),
        (Dialect.stalled, ("idle_timeout",)),
    ],
    ids=["cut", "ended-early", "stalled"],
)
def test_a_broken_stream_raises_the_sdks_error_with_the_code(
    teller: Teller, how: Any, codes: tuple[str, ...]
) -> None:
    """The app has half an answer by then: it must not take it for all."""

    async def test() -> None:
        async with (
            Llm(how(teller.dialect)) as llm,
            sidecar(config(service("a", llm, timeouts={"idle": "150ms"}))) as daemon,
            apps(daemon) as clients,
        ):
            error = await raised(teller.tell(clients))
            if teller.dialect is RESPONSES:
                assert isinstance(error, openai.APIConnectionError)
            else:
                assert code_of(error) in codes

    run(test())


@every_teller
def test_a_failure_that_the_service_reports_in_its_stream_is_raised_in_its_own_words(teller: Teller) -> None:
    """They have gone on to the app before anybody could put better ones in their place."""

    async def test() -> None:
        async with (
            Llm(teller.dialect.failed()) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon) as clients,
        ):
            error = await raised(teller.tell(clients))
            if teller.dialect is RESPONSES:
                assert isinstance(error, openai.APIConnectionError)
            elif teller.dialect is MESSAGES:
                assert (error.type, error.api_message) == ("overloaded_error", "out of memory")
            else:
                assert (error.code, error.message) == ("engine_dead", "out of memory")

    run(test())


@pytest.mark.parametrize(
    ("how", "code", "ours"),
    [
        (Dialect.cut, "server_error", {"reset", "truncated_stream"}),
        (Dialect.stalled, "server_error", {"idle_timeout"}),
        (Dialect.failed, "server_error", {None}),
    ],
    ids=["cut", "stalled", "failed"],
)
def test_the_last_event_of_a_broken_responses_stream_is_a_failed_response(
    how: Any, code: str, ours: set[str | None]
) -> None:
    """The schema knows few codes for it, so the sidecar's own is in the metadata; it ends the same response."""

    async def test() -> None:
        async with (
            Llm(how(RESPONSES)) as llm,
            sidecar(config(service("a", llm, timeouts={"idle": "150ms"}))) as daemon,
            apps(daemon) as clients,
        ):
            seen: list[Any] = []
            error = await raised(collect(await opened(clients, RESPONSES), seen))
            assert isinstance(error, openai.APIConnectionError)
            last = seen[-1]
            assert last.type == "response.failed"
            assert (last.response.id, last.response.status) == ("resp_1", "failed")
            assert last.response.error.code == code
            assert (last.response.metadata or {}).get("sidecar_code") in ours
            assert [event.sequence_number for event in seen] == list(range(1, len(seen) + 1))

    run(test())


@every_dialect
@pytest.mark.parametrize(
    "how", [Dialect.cut, Dialect.stalled, Dialect.failed], ids=["cut", "stalled", "failed"]
)
def test_with_commit_complete_a_broken_stream_is_rescued_by_the_next_service(
    teller: Teller, how: Any
) -> None:
    """Nothing of it has reached the app."""

    async def test() -> None:
        async with Llm(how(teller.dialect)) as first, Llm(teller.dialect.whole()) as second:
            written = config(
                service("a", first, timeouts={"idle": "150ms"}),
                service("b", second),
                route={"commit": "complete"},
            )
            async with sidecar(written) as daemon, apps(daemon) as clients:
                assert await teller.tell(clients) == "hello"

    run(test())


# -- before the commit -------------------------------------------------------------------------------------------


@every_teller
def test_a_failure_instead_of_an_answer_becomes_a_true_status(teller: Teller) -> None:
    """The service had said 200 already; the app hears 502."""

    async def test() -> None:
        async with (
            Llm(teller.dialect.failed_at_once()) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon) as clients,
        ):
            error = await raised(teller.tell(clients))
            assert isinstance(error, openai.InternalServerError | anthropic.InternalServerError)
            assert (error.status_code, code_of(error)) == (502, "in_stream_error")

    run(test())


@every_dialect
def test_the_services_own_429_comes_as_the_sdks_rate_limit_error(teller: Teller) -> None:
    """With its body, its Retry-After and its request id, as if the app had asked the service itself."""

    async def test() -> None:
        body = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down", "code": "tpm"}}
        fields = "retry-after: 7\r\nretry-after-ms: 6500\r\nx-request-id: r1\r\nrequest-id: r1\r\n"
        async with (
            Llm(json_answer(body, status=429, extra=fields)) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon) as clients,
        ):
            error = await raised(teller.tell(clients))
            assert isinstance(error, openai.RateLimitError | anthropic.RateLimitError)
            assert error.request_id == "r1"
            assert json.loads(error.response.content) == body
            headers = error.response.headers
            assert (headers["retry-after"], headers["retry-after-ms"]) == ("7", "6500")
            assert "x-should-retry" not in headers

    run(test())


@every_dialect
def test_overloaded_is_a_503_that_says_when_to_come_back(teller: Teller) -> None:
    """At any moment a place may be free; in a second is soon enough, and kinder than the SDKs' own guess."""

    async def test() -> None:
        async with (
            Llm(silence) as llm,
            sidecar(config(service("a", llm, max_concurrency=1))) as daemon,
            apps(daemon) as clients,
        ):
            first = asyncio.ensure_future(teller.tell(clients))
            await asyncio.wait_for(llm.asked.wait(), 10)
            error = await raised(teller.tell(clients))
            assert (error.status_code, code_of(error)) == (503, "overloaded")
            headers = error.response.headers
            assert (headers["retry-after"], headers["retry-after-ms"]) == ("1", "1000")
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    run(test())


class HalfSent(httpx2.AsyncHTTPTransport):
    """Sends the first byte of a body, and the others when it is told to."""

    def __init__(self) -> None:
        super().__init__(verify=NO_TLS)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.stream = Halves(await request.aread(), self)
        return await super().handle_async_request(request)


class Halves(httpx2.AsyncByteStream):
    def __init__(self, body: bytes, transport: HalfSent) -> None:
        self._body = body
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[:1]
        self._transport.begun.set()
        await self._transport.go_on.wait()
        yield self._body[1:]


async def drained(daemon: Daemon, idle: App) -> asyncio.Future[None]:
    """Begins to drain; a connection without a request is the first to be told."""
    stopped = asyncio.ensure_future(daemon.run_until_stopped())
    daemon.request_stop()
    assert await asyncio.wait_for(idle.reader.read(), 10) == b""
    return stopped


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES], ids=["openai", "anthropic"])
def test_a_request_that_is_complete_only_after_the_drain_began_hears_draining(dialect: Dialect) -> None:
    """Its connection was accepted, so it is answered."""

    async def test() -> None:
        transport = HalfSent()
        async with (
            Llm(json_answer(CHAT_ANSWER)) as llm,
            sidecar(config(service("a", llm))) as daemon,
            httpx2.AsyncClient(transport=transport) as http_client,
            apps(daemon, http_client=http_client) as clients,
        ):
            asking = asyncio.ensure_future(asked_plainly(clients, dialect))
            await asyncio.wait_for(transport.begun.wait(), 10)
            idle = await App.over_tcp(daemon)
            idle.send(chat(stream=False))
            assert (await idle.reply()).status == 200  # by now the daemon has read the first byte, too
            stopped = await drained(daemon, idle)
            transport.go_on.set()
            error = await raised(asking)
            assert (error.status_code, code_of(error)) == (503, "draining")
            assert error.response.headers["retry-after"] == "1"
            idle.close()
            await asyncio.wait_for(stopped, 10)

    run(test())


async def ended(daemon: Daemon) -> None:
    """As after a second signal: what is in flight does not get the time to end."""
    daemon.request_stop()
    daemon.request_stop()
    await asyncio.wait_for(daemon.run_until_stopped(), 10)


@every_dialect
def test_a_request_that_outlasts_the_drain_hears_draining(teller: Teller) -> None:
    """It is told, not just cut."""

    async def test() -> None:
        async with (
            Llm(silence) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon) as clients,
        ):
            asking = asyncio.ensure_future(teller.tell(clients))
            await asyncio.wait_for(llm.asked.wait(), 10)
            await ended(daemon)
            error = await raised(asking)
            assert (error.status_code, code_of(error)) == (503, "draining")

    run(test())


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, MESSAGES], ids=["chat", "responses", "messages"])
def test_a_stream_that_outlasts_the_drain_says_draining_at_its_end(dialect: Dialect) -> None:
    """Half an answer is not all of it, whoever broke it off."""

    async def test() -> None:
        async with (
            Llm(dialect.stalled()) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon) as clients,
        ):
            events = await opened(clients, dialect)
            await ended(daemon)
            seen: list[Any] = []
            error = await raised(collect(events, seen))
            if dialect is RESPONSES:
                assert seen[-1].response.metadata == {"sidecar_code": "draining"}
            else:
                assert code_of(error) == "draining"

    run(test())
