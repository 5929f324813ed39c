"""How the sidecar treats what the SDKs do by themselves: their retries, their timeouts, their request ids."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import anthropic
import openai
import pytest

from .dialects import CHAT, MESSAGES, Dialect
from .llm import CHAT as CHAT_ANSWER
from .llm import (
    DONE,
    LAST,
    SSE_HEAD,
    Answer,
    Llm,
    Received,
    chat_chunk,
    framed,
    json_answer,
    silence,
)
from .loop import run
from .sdks import HELLO, ONE_OF_EACH, Apps, Teller, apps, code_of, raised
from .sidecar import config, free_port, service, sidecar

SDK_DEFAULT = openai.DEFAULT_MAX_RETRIES
TRIED_AGAIN = (
    "x-should-retry: true\r\nretry-after-ms: 1\r\n"  # what a service says that wants to be asked again
)
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
assert anthropic.DEFAULT_MAX_RETRIES == SDK_DEFAULT > 0
both_sdks = pytest.mark.parametrize("dialect", [CHAT, MESSAGES], ids=["openai", "anthropic"])


async def ask(clients: Apps, dialect: Dialect, **more: Any) -> Any:
    """A request without a stream; gives the raw response."""
    if dialect is MESSAGES:
        messages = clients.anthropic_sdk.messages.with_raw_response
        return await messages.create(model="m", max_tokens=9, messages=HELLO, **more)
    return await clients.openai_sdk.chat.completions.with_raw_response.create(
        model="m", messages=HELLO, **more
    )


# -- retries -----------------------------------------------------------------------------------------------------


@both_sdks
def test_an_error_that_the_sidecar_has_retried_is_not_retried_by_the_sdk_again(dialect: Dialect) -> None:
    """Two layers that try three times each would ask a service that is in trouble nine times."""

    async def test() -> None:
        async with Llm(json_answer({"error": "busy"}, status=503, extra=TRIED_AGAIN)) as llm:
            written = config(service("a", llm), service("b", f"http://127.0.0.1:{free_port()}/v1"))
            async with sidecar(written) as daemon, apps(daemon, max_retries=SDK_DEFAULT) as clients:
                error = await raised(ask(clients, dialect))
        headers = error.response.headers
        assert headers["x-should-retry"] == "false"
        assert len(llm.received) == 1
        assert headers["x-sidecar-attempts"] == str(1 + 2)  # the refused connection was tried twice
        counts = [received.get("x-stainless-retry-count") for received in llm.received]
        assert counts == [["0"]]

    run(test())


@both_sdks
def test_the_sidecars_own_error_after_retries_ends_the_sdks_retries_too(dialect: Dialect) -> None:
    """With the SDK's defaults the app hears of it at once."""

    async def test() -> None:
        dead = f"http://127.0.0.1:{free_port()}/v1"
        async with (
            sidecar(config(service("a", dead))) as daemon,
            apps(daemon, max_retries=SDK_DEFAULT) as clients,
        ):
            error = await raised(ask(clients, dialect))
            headers = error.response.headers
            assert (headers["x-should-retry"], headers["x-sidecar-attempts"]) == ("false", "2")
            assert error.response.request.headers["x-stainless-retry-count"] == "0"

    run(test())


@both_sdks
def test_an_error_of_a_single_attempt_is_left_to_the_sdks_own_retries(dialect: Dialect) -> None:
    """The sidecar did nothing about it that the SDK would repeat."""

    async def test() -> None:
        answer = json_answer(MESSAGE if dialect is MESSAGES else CHAT_ANSWER)
        refusal = json_answer({"error": {"message": "slow down"}}, status=429, extra="retry-after-ms: 20\r\n")
        async with (
            Llm(refusal, answer) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon, max_retries=SDK_DEFAULT) as clients,
        ):
            assert (await ask(clients, dialect)).headers["x-sidecar-attempts"] == "1"
            counts = [received.get("x-stainless-retry-count") for received in llm.received]
            assert counts == [["0"], ["1"]]

    run(test())


def test_the_last_upstream_error_is_passed_on_as_it_came_and_named_after_its_service() -> None:
    """The service tried after it could not even be reached, so it has said nothing that the app could use."""

    async def test() -> None:
        said = {"error": {"message": "kaputt", "type": "x", "code": "y", "hint": [1]}, "trace": "t"}
        async with Llm(json_answer(said, status=418, extra="x-vendor: v\r\nx-request-id: r1\r\n")) as llm:
            written = config(
                service("a", llm),
                service("b", f"http://127.0.0.1:{free_port()}/v1"),
                route={"fallback_on": ["418", "connect_failure"]},
            )
            async with sidecar(written) as daemon, apps(daemon) as clients:
                error = await raised(ask(clients, CHAT))
        answer = error.response
        assert (answer.status_code, answer.json(), error.request_id) == (418, said, "r1")
        assert (answer.headers["x-vendor"], answer.headers["x-sidecar-service"]) == ("v", "a")

    run(test())


# -- timeouts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("teller", [ONE_OF_EACH[0], ONE_OF_EACH[-1]], ids=["openai", "anthropic"])
def test_the_app_hears_deadline_exceeded_just_before_its_sdk_gives_up(teller: Teller) -> None:
    """A status with a code says more than a read that timed out, and the SDK would retry that one blindly."""

    async def test() -> None:
        async with (
            Llm(silence) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon, timeout=2.0) as clients,
        ):
            before = monotonic()
            error = await raised(teller.tell(clients))
            assert monotonic() - before >= 1.8
            assert (error.status_code, code_of(error)) == (504, "deadline_exceeded")
            await asyncio.wait_for(llm.received[0].hung_up.wait(), 5)  # the LLM stops computing

    run(test())


def test_an_attempt_that_the_apps_timeout_ended_says_nothing_about_its_endpoint() -> None:
    """It might have answered a more patient app; the next request finds it in rotation."""

    async def test() -> None:
        async with Llm(silence, json_answer(CHAT_ANSWER)) as llm, Llm(json_answer(CHAT_ANSWER)) as other:
            once = {"consecutive_failures": 1, "minimum_requests": 1}
            written = config(service("a", llm, passive_health=once), service("b", other))
            async with sidecar(written) as daemon, apps(daemon) as clients:
                assert code_of(await raised(ask(clients, CHAT, timeout=0.5))) == "deadline_exceeded"
                answer = await ask(clients, CHAT)
                assert answer.headers["x-sidecar-service"] == "a"

    run(test())


def slowly(*texts: str, pause: float) -> Answer:
    """A chat stream that takes its time."""

    async def answer(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD)
        for text in texts:
            writer.write(framed(chat_chunk(text)))
            await asyncio.sleep(pause)
        writer.write(framed(chat_chunk(finish="stop")) + framed(DONE) + LAST)

    return answer


def test_a_stream_may_last_longer_than_the_read_timeout_of_its_sdk() -> None:
    """That clock starts anew with every packet, so a deadline over all of them would break healthy streams."""

    async def test() -> None:
        async with (
            Llm(slowly(*"abcdef", pause=0.2)) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon, timeout=0.8) as clients,
        ):
            assert await ONE_OF_EACH[0].tell(clients) == "abcdef"

    run(test())


# -- ids ---------------------------------------------------------------------------------------------------------


@both_sdks
def test_request_ids_pass_through_both_ways(dialect: Dialect) -> None:
    """A vendor's support asks for theirs; the app's own tracing may depend on its own."""

    async def test() -> None:
        ids = {"x-request-id": "from-app", "request-id": "from-app-too"}
        answer = MESSAGE if dialect is MESSAGES else CHAT_ANSWER
        fields = "X-Request-Id: from-llm\r\nRequest-Id: from-llm-too\r\n"
        async with (
            Llm(json_answer(answer, extra=fields)) as llm,
            sidecar(config(service("a", llm))) as daemon,
            apps(daemon) as clients,
        ):
            got = await ask(clients, dialect, extra_headers=ids)
            assert got.headers["x-request-id"] == "from-llm"
            assert got.headers["request-id"] == "from-llm-too"
            sent = llm.received[0]
            assert (sent.get("x-request-id"), sent.get("request-id")) == (["from-app"], ["from-app-too"])

    run(test())
