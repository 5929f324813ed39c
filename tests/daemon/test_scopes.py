"""Keys, models and services that want to be left alone, on the real daemon: nobody is asked in vain twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.daemon import Daemon

from .llm import CHAT, Answer, Llm, Received, json_answer
from .loop import run
from .sidecar import Reply, ask, chat, config, service, sidecar
from .waiting import begin, until

KEYS = {"credentials": [{"bearer": {"literal": "one"}}, {"bearer": {"literal": "two"}}]}


def by_key(**answers: Answer) -> Answer:
    """What a vendor says to each key."""

    async def answer(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers[key_of(received)](received, reader, writer)

    return answer


def key_of(received: Received) -> str:
    return received.get("authorization")[0].removeprefix("Bearer ")


def refusal(status: int, code: str = "", **fields: str) -> Answer:
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return json_answer({"error": {"message": "no", "code": code}}, status, extra)


GOOD = json_answer(CHAT)
BEARER_NEW = ("authorization", "Bearer new")


async def served(daemon: Daemon) -> Reply:
    return await ask(daemon, chat(stream=False))


def test_keys_are_used_in_turn() -> None:
    """Each of them has its own quota."""

    async def test() -> None:
        async with Llm(GOOD) as llm, sidecar(config(service("a", llm, **KEYS))) as daemon:
            for _ in range(4):
                assert (await served(daemon)).status == 200
            assert [key_of(received) for received in llm.received] == ["one", "two", "one", "two"]

    run(test())


@pytest.mark.parametrize(
    "no",
    [
        refusal(401),
        refusal(402),
        refusal(429),
        refusal(429, retry_after="30"),
        refusal(429, "insufficient_quota"),
    ],
    ids=["401", "402", "429", "429_with_a_time", "no_quota"],
)
def test_a_key_that_is_refused_is_replaced_at_once_and_left_alone(no: Answer) -> None:
    """The app's request is answered by the same service, with the other key; the next ones do not try the first."""

    async def test() -> None:
        async with Llm(by_key(one=no, two=GOOD)) as llm, sidecar(config(service("a", llm, **KEYS))) as daemon:
            reply = await served(daemon)
            assert (reply.status, reply.fields["x-sidecar-attempts"]) == (200, "2")
            for _ in range(3):
                assert (await served(daemon)).fields["x-sidecar-attempts"] == "1"
            assert [key_of(received) for received in llm.received] == ["one", "two", "two", "two", "two"]
            assert {status.state for status in daemon._statuses()} == {"available"}

    run(test())


def test_what_a_key_may_not_is_done_with_another_and_says_nothing_about_what_it_may() -> None:
    """A 403 is about one model or one prompt as often as about the key: others go on with it."""

    async def test() -> None:
        answers = by_key(one=refusal(403), two=GOOD)
        async with Llm(answers) as llm, sidecar(config(service("a", llm, **KEYS))) as daemon:
            for _ in range(2):
                assert (await served(daemon)).status == 200
            assert [key_of(received) for received in llm.received] == ["one", "two", "one", "two"]
            assert daemon._ledger.cooling() == []

    run(test())


@pytest.mark.parametrize("own", [{}, {"credential": {"bearer": {"literal": "one"}}}], ids=["none", "key"])
def test_what_an_app_may_not_is_no_wish_of_the_endpoint_whatever_field_stands_beside_it(
    own: dict[str, object],
) -> None:
    """Retry-After means something on 429 and 503; a refused prompt must not shut the endpoint to everybody."""

    async def test() -> None:
        refused = [refusal(403, retry_after="30"), refusal(400, "content_filter", retry_after="30"), GOOD]
        async with Llm(*refused) as llm:
            written = config(service("a", llm, **own), route={"fallback_on": ["auth", "content_filter"]})
            async with sidecar(written) as daemon:
                assert [(await served(daemon)).status for _ in refused] == [403, 400, 200]

    run(test())


def test_with_every_key_at_its_limit_the_next_service_is_asked_without_a_try() -> None:
    async def test() -> None:
        no = refusal(429, retry_after="30")
        async with Llm(no) as vendor, Llm(GOOD) as other:
            written = config(service("a", vendor, **KEYS), service("b", other))
            async with sidecar(written) as daemon:
                assert (await served(daemon)).fields["x-sidecar-attempts"] == "3"
                reply = await served(daemon)
                assert (reply.fields["x-sidecar-service"], reply.fields["x-sidecar-attempts"]) == ("b", "1")
                assert len(vendor.received) == 2

    run(test())


def test_a_chain_that_cools_fails_fast_with_the_earliest_time() -> None:
    """The app is told when it makes sense to come back, and no vendor is asked in vain."""

    async def test() -> None:
        one = {"credential": {"bearer": {"literal": "one"}}}
        async with (
            Llm(refusal(429, retry_after="40")) as a,
            Llm(refusal(429, retry_after="20")) as b,
            sidecar(config(service("a", a, **one), service("b", b, **one))) as daemon,
        ):
            assert (await served(daemon)).status == 429  # the vendor's own
            reply = await served(daemon)
            assert (reply.status, reply.json["error"]["code"]) == (429, "rate_limited")
            assert 18 <= int(reply.fields["retry-after"]) <= 20
            assert 18_000 <= int(reply.fields["retry-after-ms"]) <= 20_000
            assert reply.fields["x-sidecar-attempts"] == "0"
            assert (len(a.received), len(b.received)) == (1, 1)

    run(test())


def test_a_service_that_is_overloaded_as_a_whole_is_left_alone() -> None:
    """529 is about the vendor, not about one address of it."""

    async def test() -> None:
        async with Llm(refusal(529, retry_after="30")) as a, Llm(GOOD) as b:
            written = config(service("a", a), service("b", b))
            async with sidecar(written) as daemon:
                for _ in range(3):
                    assert (await served(daemon)).fields["x-sidecar-service"] == "b"
                assert len(a.received) == 1

    run(test())


def test_an_endpoint_that_asks_for_rest_is_not_tried_even_where_nothing_else_is() -> None:
    """It has said itself that a try would be in vain; an ejection has not."""

    async def test() -> None:
        async with Llm(refusal(503, retry_after="30")) as a, sidecar(config(service("a", a))) as daemon:
            assert (await served(daemon)).status == 503
            reply = await served(daemon)
            assert (reply.status, reply.json["error"]["code"]) == (503, "overloaded")
            assert 28 <= int(reply.fields["retry-after"]) <= 30
            assert len(a.received) == 1

    run(test())


def test_an_endpoint_that_asks_for_rest_and_then_fails_its_probes_is_not_tried_either() -> None:
    """Nobody knows any more when it will be back, so the app is told no time but the usual."""

    async def test() -> None:
        probes = {"interval": "20ms", "unhealthy_threshold": 1}
        async with (
            Llm(refusal(503, retry_after="30")) as a,
            sidecar(config(service("a", a, active_health=probes))) as daemon,
        ):
            assert (await served(daemon)).status == 503
            await until(lambda: "probe_failed" in daemon._statuses()[0].beneath)
            reply = await served(daemon)
            assert (reply.status, reply.json["error"]["code"]) == (503, "overloaded")
            assert (reply.fields["retry-after"], reply.fields["x-sidecar-attempts"]) == ("1", "0")

    run(test())


@pytest.mark.parametrize("own", [{}, {"credential": {"bearer": {"literal": "one"}}}], ids=["endpoint", "key"])
def test_a_429_that_may_be_waited_for_is_tried_again_at_the_very_moment_it_named(
    own: dict[str, object],
) -> None:
    """Whoever wakes the endpoint or the key may be a tick behind; the request must not find them resting still."""

    async def test() -> None:
        async with Llm(refusal(429, retry_after_ms="300"), GOOD) as llm:
            written = config(service("a", llm, **own), route={"wait_for_retry_after": "300ms"})
            async with sidecar(written) as daemon:
                reply = await served(daemon)
                assert (reply.status, reply.fields["x-sidecar-attempts"]) == (200, "2")

    run(test())


@pytest.mark.parametrize("own", [{}, {"credential": {"bearer": {"literal": "one"}}}], ids=["endpoint", "key"])
def test_while_one_request_waits_the_others_of_its_route_wait_too(own: dict[str, object]) -> None:
    """The operator has asked for patience, not for that of the one request that was refused."""

    async def test() -> None:
        async with Llm(refusal(429, retry_after_ms="300"), GOOD) as llm:
            written = config(service("a", llm, **own), route={"wait_for_retry_after": "1s"})
            async with sidecar(written) as daemon:
                first = begin(served(daemon))
                await until(lambda: daemon._statuses()[0].state == "cooling" or daemon._ledger.cooling())
                second = await served(daemon)
                assert (second.status, second.fields["x-sidecar-attempts"]) == (200, "1")
                assert (await first).status == 200

    run(test())


def test_a_429_to_the_key_of_one_app_says_nothing_to_the_others() -> None:
    """Whoever has a quota of its own may still use it, and whoever has none left hears so from the vendor."""

    async def test() -> None:
        answers = by_key(rich=GOOD, poor=refusal(429, retry_after="200"), broke=refusal(429))
        async with Llm(answers) as llm, sidecar(config(service("a", llm))) as daemon:
            for _ in range(6):
                for key, status in (("poor", 429), ("broke", 429), ("rich", 200)):
                    reply = await ask(daemon, chat(stream=False, authorization=f"Bearer {key}"))
                    assert (key, reply.status, reply.fields["x-sidecar-attempts"]) == (key, status, "1")
            assert daemon._statuses()[0].state == "available"

    run(test())


def test_where_all_that_need_no_key_have_answered_429_the_app_is_told_429() -> None:
    """Its SDK treats a limit otherwise than an outage."""

    async def test() -> None:
        no = refusal(429, retry_after="30")
        async with Llm(no) as a, Llm(no) as b, sidecar(config(service("a", a), service("b", b))) as daemon:
            assert (await served(daemon)).status == 429  # the last service's own
            reply = await served(daemon)
            assert (reply.status, reply.json["error"]["code"]) == (429, "rate_limited")
            assert reply.fields["x-sidecar-attempts"] == "0"

    run(test())


def test_a_model_that_is_not_there_is_not_asked_for_again() -> None:
    """Where the route may go on after a 404; other models still go to the service."""

    async def test() -> None:
        missing = json_answer(
            {"error": {"message": "The model `x` does not exist.", "code": "model_not_found"}}, 404
        )

        async def by_model(
            received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await (missing if received.json["model"] == "x" else GOOD)(received, reader, writer)

        async with Llm(by_model) as a, Llm(GOOD) as b:
            written = config(service("a", a), service("b", b), route={"fallback_on": ["404", "unhealthy"]})
            async with sidecar(written) as daemon:
                for _ in range(3):
                    reply = await ask(daemon, chat(stream=False, model="x"))
                    assert reply.fields["x-sidecar-service"] == "b"
                assert len(a.received) == 1
                assert (await ask(daemon, chat(stream=False, model="y"))).fields["x-sidecar-service"] == "a"

    run(test())


def test_a_path_that_is_not_there_says_nothing_about_a_model() -> None:
    async def test() -> None:
        nowhere = json_answer({"detail": "Not Found"}, 404)
        async with Llm(nowhere, GOOD) as a, Llm(GOOD) as b:
            written = config(service("a", a), service("b", b), route={"fallback_on": ["404", "unhealthy"]})
            async with sidecar(written) as daemon:
                assert (await served(daemon)).fields["x-sidecar-service"] == "b"
                assert (await served(daemon)).fields["x-sidecar-service"] == "a"

    run(test())


def test_a_key_file_with_a_new_value_is_a_new_key(tmp_path: Path) -> None:
    """Whoever replaces a key that was refused does not have to wait until it would have been tried again."""

    async def test() -> None:
        file = tmp_path / "key"
        file.write_text("old")
        written = {"credential": {"bearer": {"file": str(file)}}}
        async with (
            Llm(by_key(old=refusal(401), new=GOOD)) as llm,
            sidecar(config(service("a", llm, **written))) as daemon,
        ):
            assert (await served(daemon)).status == 401
            reply = await served(daemon)
            assert reply.fields["x-sidecar-attempts"] == "0"
            assert "to be left alone for a time" in reply.json["error"]["message"]
            file.write_text("new")
            replies: list[Reply] = []

            async def ask_again() -> None:
                while not replies or replies[-1].status != 200:
                    replies.append(await served(daemon))

            await asyncio.wait_for(ask_again(), 10)
            assert key_of(llm.received[-1]) == "new"

    run(test())


def test_a_refusal_of_the_old_value_does_not_close_the_service_to_the_new_one(tmp_path: Path) -> None:
    """A key is renewed because the old one ends; the last requests with it may well be refused."""

    async def test() -> None:
        file, go = tmp_path / "key", asyncio.Event()
        file.write_text("old")

        async def refused_in_the_end(
            received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await go.wait()
            await refusal(401)(received, reader, writer)

        written = {"credential": {"bearer": {"file": str(file)}}}
        async with (
            Llm(by_key(old=refused_in_the_end, new=GOOD)) as llm,
            sidecar(config(service("a", llm, **written))) as daemon,
        ):
            begun = begin(served(daemon))
            await until(lambda: llm.received)
            file.write_text("new")
            await until(lambda: daemon._in_force.runtime().services["a"].credential() == BEARER_NEW)
            go.set()
            assert (await begun).status == 401
            assert (await served(daemon)).status == 200

    run(test())


def test_after_its_time_a_key_is_used_again() -> None:
    async def test() -> None:
        one = {"credential": {"bearer": {"literal": "one"}}}
        async with (
            Llm(refusal(429, retry_after_ms="200"), GOOD) as llm,
            sidecar(config(service("a", llm, **one))) as daemon,
        ):
            assert (await served(daemon)).status == 429
            assert not daemon._ledger.service_available("a", 0.0)
            await until(lambda: not daemon._ledger.cooling())
            assert (await served(daemon)).status == 200

    run(test())
