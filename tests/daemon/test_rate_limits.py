"""Rate limits on the real daemon: 429 with the fields that SDKs read, by consumer, settled by usage."""

from __future__ import annotations

import asyncio
import json
import os
from time import monotonic
from typing import Any

from sidecar.exchange.runtime import by_model
from sidecar.policy import load
from sidecar.record import RequestRecord

from .llm import (
    CHAT,
    DONE,
    LAST,
    SSE_HEAD,
    Answer,
    Llm,
    chat_chunk,
    framed,
    json_answer,
    raw,
    then_silence,
)
from .loop import run
from .sidecar import App, Reply, ask, chat, config, post, service, sidecar
from .waiting import until

GOOD = json_answer({**CHAT, "usage": {"prompt_tokens": 30, "completion_tokens": 70}})


def limited(*limits: dict[str, Any]) -> dict[str, Any]:
    return {"rate_limit": list(limits)}


def test_over_the_limit_the_app_is_told_when_to_come_back() -> None:
    async def test() -> None:
        async with Llm(GOOD) as llm:
            written = config(service("a", llm), route=limited({"requests": 2, "per": "1h"}))
            async with sidecar(written) as daemon:
                first = await ask(daemon, chat(stream=False))
                assert first.status == 200
                assert first.fields["x-ratelimit-limit-requests"] == "2"
                assert first.fields["x-ratelimit-remaining-requests"] == "1"
                assert first.fields["x-ratelimit-reset-requests"].startswith("30m0s")
                await ask(daemon, chat(stream=False))
                refused = await ask(daemon, chat(stream=False))
                assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limited")
                assert 1790 <= int(refused.fields["retry-after"]) <= 1800
                assert refused.fields["x-ratelimit-remaining-requests"] == "0"
                assert refused.fields["x-sidecar-attempts"] == "0"
                assert len(llm.received) == 2

    run(test())


def test_the_record_of_a_refused_request_says_what_was_asked_for() -> None:
    """Whoever looks into the log for who is limited wants to know with what."""

    async def test() -> None:
        records: list[RequestRecord] = []
        async with Llm(GOOD) as llm:
            written = config(service("a", llm), route=limited({"requests": 1, "per": "1h"}))
            async with sidecar(written, sinks=[records.append]) as daemon:
                for _ in range(2):
                    await ask(daemon, chat(stream=True, model="big"))
        refused = records[1]
        assert (refused.status, refused.route, refused.model, refused.stream) == (429, "/v1#0", "big", True)
        assert refused.body_bytes == records[0].body_bytes > 0

    run(test())


def test_a_route_without_limits_says_nothing_of_them() -> None:
    async def test() -> None:
        async with Llm(GOOD) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, chat(stream=False))
            assert not [name for name in reply.fields if name.startswith("x-ratelimit")]

    run(test())


def test_consumers_are_told_apart_by_key_and_by_user_of_the_socket() -> None:
    async def test() -> None:
        by_key = {"requests": 1, "per": "1h", "by": ["api_key"]}
        async with Llm(GOOD) as llm, sidecar(config(service("a", llm), route=limited(by_key))) as daemon:
            for key, expected in (("x", 200), ("x", 429), ("y", 200), ("y", 429)):
                reply = await ask(daemon, chat(stream=False, authorization=f"Bearer {key}"))
                assert reply.status == expected
        by_uid = {"requests": 1, "per": "1h", "by": ["uid"]}
        async with Llm(GOOD) as llm, sidecar(config(service("a", llm), route=limited(by_uid))) as daemon:
            assert await statuses(await App.over_unix(daemon), 2) == [200, 429]
            assert await statuses(await App.over_unix(daemon), 1) == [429], f"uid {os.getuid()}, again"
            assert await statuses(await App.over_tcp(daemon), 2) == [200, 429]

    run(test())


async def statuses(app: App, count: int) -> list[int]:
    found = []
    for _ in range(count):
        app.send(chat(stream=False))
        found.append((await app.reply()).status)
    app.close()
    return found


def with_usage(prompt: int, completion: int) -> Answer:
    usage = {"id": "c1", "choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}
    told = b"data: " + json.dumps(usage).encode() + b"\n\n"
    events = (chat_chunk("hi"), chat_chunk(finish="stop"), told, DONE)
    return raw(SSE_HEAD, *(framed(event) for event in events), LAST)


def test_tokens_are_settled_by_what_the_service_counted() -> None:
    """Streams and whole answers; the prompt was only estimated before."""

    async def test() -> None:
        for streaming, answer in ((False, GOOD), (True, with_usage(30, 70))):
            limit = {"tokens": 1000, "per": "1h"}
            async with Llm(answer) as llm, sidecar(config(service("a", llm), route=limited(limit))) as daemon:
                left: list[int] = []
                for _ in range(2):
                    reply = await ask(daemon, chat(stream=streaming))
                    left.append(int(reply.fields["x-ratelimit-remaining-tokens"]))
                assert left[0] - left[1] == 100

    run(test())


def test_what_an_app_has_read_before_it_hung_up_counts() -> None:
    """Or hanging up before the end would be the way around every limit."""

    async def test() -> None:
        limit = {"tokens": 1000, "per": "1h"}
        words = then_silence(SSE_HEAD, *(framed(chat_chunk(f"w{n}")) for n in range(100)))
        async with Llm(words, GOOD) as llm:
            one = service("a", llm, **limited(limit))
            async with sidecar(config(one, route=limited(limit))) as daemon:
                app = await App.over_unix(daemon)
                app.send(chat(stream=True))
                await asyncio.wait_for(app.reader.readuntil(b'"w99"'), 10)
                app.close()
                await until(lambda: not daemon._shared.exchanges)
                reply = await ask(daemon, chat(stream=False))
                assert 800 < int(reply.fields["x-ratelimit-remaining-tokens"]) < 900
                quota = daemon._in_force.runtime().services["a"].quota
                assert quota is not None
                taken = quota.take(by_model("m"), 0, monotonic())
                assert taken.tokens is not None
                assert taken.tokens.remaining < 900

    run(test())


def test_the_service_s_own_limits_do_not_stand_beside_the_sidecar_s() -> None:
    """An SDK that reads two values reads neither."""

    async def test() -> None:
        told = json_answer(CHAT, extra="x-ratelimit-limit-requests: 10000\r\nx-ratelimit-limit-tokens: 9\r\n")
        async with Llm(told) as llm:
            written = config(service("a", llm), route=limited({"requests": 2, "per": "1h"}))
            async with sidecar(written) as daemon:
                app = await App.over_unix(daemon)
                app.send(chat(stream=False))
                head = (await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), 10)).lower()
                app.close()
                assert head.count(b"x-ratelimit-limit-requests: ") == 1
                assert b"x-ratelimit-limit-requests: 2\r\n" in head
                assert b"x-ratelimit-limit-tokens" not in head

    run(test())


def test_a_request_that_nobody_answered_used_no_tokens() -> None:
    async def test() -> None:
        no = json_answer({"error": {"message": "no"}}, 500)
        limit = {"tokens": 1000, "per": "1h"}
        async with Llm(no) as llm, sidecar(config(service("a", llm), route=limited(limit))) as daemon:
            left = {
                (await ask(daemon, chat(stream=False))).fields["x-ratelimit-remaining-tokens"] for _ in "12"
            }
            assert len(left) == 1

    run(test())


def test_a_service_at_its_own_limit_is_passed_over_and_the_last_one_says_when() -> None:
    """What a vendor allows us is known before it has to say so."""

    async def test() -> None:
        async with Llm(GOOD) as a, Llm(GOOD) as b:
            one = service("a", a, **limited({"requests": 1, "per": "1h"}))
            two = service("b", b, **limited({"requests": 2, "per": "2h"}))
            async with sidecar(config(one, two)) as daemon:
                served = [(await ask(daemon, chat(stream=False))) for _ in range(4)]
                assert [reply.fields["x-sidecar-service"] for reply in served] == ["a", "b", "b", ""]
                assert (served[3].status, served[3].json["error"]["code"]) == (429, "rate_limited")
                assert 3590 <= int(served[3].fields["retry-after"]) <= 3600

    run(test())


def test_a_route_that_waits_for_a_429_waits_for_a_limit_of_its_service_too() -> None:
    """It is the same to the app whether the vendor would have said it or the sidecar knows it."""

    async def test() -> None:
        async with Llm(GOOD) as llm:
            one = service("a", llm, **limited({"requests": 10, "per": "1s"}))
            async with sidecar(config(one, route={"wait_for_retry_after": "1s"})) as daemon:
                for _ in range(12):
                    reply = await ask(daemon, chat(stream=False))
                    assert (reply.status, reply.fields["x-sidecar-attempts"]) == (200, "1")

    run(test())


def test_a_limit_of_a_service_tells_models_apart() -> None:
    async def test() -> None:
        async with Llm(GOOD) as a, Llm(GOOD) as b:
            one = service("a", a, **limited({"requests": 1, "per": "1h", "by": ["model"]}))
            async with sidecar(config(one, service("b", b))) as daemon:
                served: list[Reply] = []
                for model in ("x", "x", "y"):
                    served.append(await ask(daemon, chat(stream=False, model=model)))
                assert [reply.fields["x-sidecar-service"] for reply in served] == ["a", "b", "a"]

    run(test())


def test_an_unchanged_limit_keeps_its_count_over_a_policy_change() -> None:
    """Or every change of the policy would be a holiday."""

    async def test() -> None:
        async with Llm(GOOD) as llm:
            written = config(service("a", llm), route=limited({"requests": 1, "per": "1h"}))
            async with sidecar(written) as daemon:
                assert (await ask(daemon, chat(stream=False))).status == 200
                changed = json.loads(json.dumps(written))
                changed["policy"]["routes"][0]["max_attempts"] = 2
                await daemon.policies.apply(load(json.dumps(changed).encode()).config.policy, "test")
                assert (await ask(daemon, chat(stream=False))).status == 429
                changed["policy"]["routes"][0]["rate_limit"][0]["requests"] = 2
                await daemon.policies.apply(load(json.dumps(changed).encode()).config.policy, "test")
                assert (await ask(daemon, chat(stream=False))).status == 200

    run(test())


def test_the_error_is_in_the_dialect_of_the_path() -> None:
    async def test() -> None:
        async with Llm(GOOD) as llm:
            written = config(service("a", llm), route=limited({"requests": 1, "per": "1h"}))
            async with sidecar(written) as daemon:
                body = json.dumps({"model": "m", "messages": [], "max_tokens": 1}).encode()
                await ask(daemon, post("/v1/messages", body))
                refused = await ask(daemon, post("/v1/messages", body))
                assert (refused.status, refused.json["error"]["type"]) == (429, "rate_limit_error")

    run(test())
