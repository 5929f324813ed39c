"""The reference scenario on a real daemon: late first packets eject the primary, the fallback serves, it returns."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

from sidecar.daemon import Daemon

from .llm import CHAT, Llm, json_answer, silence, stream
from .loop import run
from .sidecar import ask, chat, config, free_port, service, sidecar

RULE = {
    "failure_percentage_threshold": 50,
    "interval": "1s",
    "consecutive_failures": 0,
    "ejection_jitter": "0%",
    "ramp": "0s",
}


class Changes:
    """The daemon's changes of state, as the log tells them."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def __call__(self, fields: dict[str, Any]) -> None:
        self.seen.append(fields)
        self._news.set()

    async def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                for line in self.seen:
                    if line["event"] == event and fields.items() <= line.items():
                        return line
                self._news.clear()
                await self._news.wait()

    def names(self, service: str) -> list[str]:
        return [line["event"] for line in self.seen if line.get("service") == service]


@asynccontextmanager
async def watched(written: dict[str, Any]):  # type: ignore[no-untyped-def]
    changes = Changes()
    async with sidecar(written, listeners=[changes]) as daemon:
        yield daemon, changes


def test_late_first_packets_eject_the_primary_and_it_returns_by_itself() -> None:
    async def test() -> None:
        async with Llm(*[silence] * 5, stream("back")) as primary, Llm(stream("spare")) as spare:
            health = {**RULE, "base_ejection_time": "300ms", "minimum_requests": 5}
            first = service(
                "a",
                primary,
                timeouts={"first_packet": "50ms"},
                passive_health=health,
                adaptive_concurrency={"enabled": False},
            )
            async with watched(config(first, service("b", spare))) as (daemon, changes):
                for _ in range(5):  # each late one is rescued
                    assert (await ask(daemon, chat(stream=True))).fields["x-sidecar-service"] == "b"
                told = await changes.wait_for("endpoint_ejected", service="a")
                assert (told["reason"], told["failure_percentage"]) == ("failure_percentage", 100.0)
                assert (told["requests"], told["ejection_multiplier"]) == (5, 1)
                reply = await ask(daemon, chat(stream=True))  # not even tried
                assert (reply.fields["x-sidecar-service"], reply.fields["x-sidecar-attempts"]) == ("b", "1")
                assert len(primary.received) == 5
                await changes.wait_for("endpoint_probation", service="a")
                assert (await ask(daemon, chat(stream=True))).fields["x-sidecar-service"] == "a"
                await changes.wait_for("endpoint_returned", service="a", reason="probation_passed")
            assert changes.names("a") == [
                "endpoint_added",
                "endpoint_ejected",
                "service_unavailable",
                "endpoint_probation",
                "endpoint_returned",
                "service_recovered",
            ]

    run(test())


def test_with_an_adaptive_limit_a_late_first_packet_lowers_it_and_ejects_nobody() -> None:
    """The default where there is a fallback: overload is answered by sending less, not by sending nothing."""

    async def test() -> None:
        async with Llm(silence, stream("back")) as primary, Llm(stream("spare")) as spare:
            health = {**RULE, "base_ejection_time": "60s", "minimum_requests": 1}
            first = service("a", primary, timeouts={"first_packet": "100ms"}, passive_health=health)
            async with watched(config(first, service("b", spare))) as (daemon, changes):
                reply = await ask(daemon, chat(stream=True))  # late, and rescued
                assert (reply.fields["x-sidecar-service"], reply.fields["x-sidecar-attempts"]) == ("b", "2")
                reply = await ask(daemon, chat(stream=True))  # over the limit, so not even tried
                assert (reply.fields["x-sidecar-service"], reply.fields["x-sidecar-attempts"]) == ("b", "1")
                assert len(primary.received) == 1
                async with asyncio.timeout(20):  # by itself it is asked again
                    await asked_until(daemon, "a")
            assert changes.names("a") == ["endpoint_added"]

    run(test())


async def asked_until(daemon: Daemon, service: str) -> None:
    """Goes on asking until this service answers."""
    served = ""
    while served != service:
        served = (await ask(daemon, chat(stream=True))).fields["x-sidecar-service"]


def test_a_failed_probation_ejects_for_longer() -> None:
    async def test() -> None:
        async with Llm(json_answer({}, status=500)) as primary, Llm(json_answer(CHAT)) as spare:
            health = {**RULE, "base_ejection_time": "200ms", "minimum_requests": 2}
            first = service("a", primary, passive_health=health)
            async with watched(config(first, service("b", spare))) as (daemon, changes):
                await ask(daemon, chat(stream=False))
                await changes.wait_for("endpoint_ejected", service="a", ejection_multiplier=1)
                await changes.wait_for("endpoint_probation", service="a")
                await ask(daemon, chat(stream=False))
                again = await changes.wait_for("endpoint_ejected", service="a", ejection_multiplier=2)
                assert again["reason"] == "probation_failed"

    run(test())


def test_when_everything_is_out_the_one_due_back_first_is_tried() -> None:
    async def test() -> None:
        async with Llm(*[json_answer({}, status=500)] * 2, json_answer(CHAT)) as llm:
            health = {**RULE, "base_ejection_time": "60s", "minimum_requests": 2}
            async with watched(config(service("a", llm, passive_health=health))) as (daemon, changes):
                await ask(daemon, chat(stream=False))
                await changes.wait_for("service_unavailable", service="a")
                assert (await ask(daemon, chat(stream=False))).status == 200

    run(test())


def test_an_endpoint_is_used_only_while_its_probes_pass() -> None:
    async def test() -> None:
        sick = True

        async def answer(received, reader, writer) -> None:  # type: ignore[no-untyped-def]
            healthy = not (sick and "/health" in received.line)
            await json_answer(CHAT, status=200 if healthy else 503)(received, reader, writer)

        async with Llm(answer) as primary, Llm(json_answer(CHAT)) as spare:
            checks = {"interval": "50ms", "unhealthy_threshold": 1, "healthy_threshold": 2}
            first = service("a", primary, active_health=checks, passive_health={"ramp": "0s"})
            async with watched(config(first, service("b", spare))) as (daemon, changes):
                await changes.wait_for("probe_changed", service="a", healthy=False)
                assert (await ask(daemon, chat(stream=False))).fields["x-sidecar-service"] == "b"
                sick = False
                await changes.wait_for("probe_changed", service="a", healthy=True)
                assert (await ask(daemon, chat(stream=False))).fields["x-sidecar-service"] == "a"

    run(test())


def test_a_429_with_retry_after_is_left_alone_until_then() -> None:
    async def test() -> None:
        limited = json_answer({}, status=429, extra="retry-after: 30\r\n")
        async with (
            Llm(limited) as primary,
            Llm(json_answer(CHAT)) as spare,
            watched(config(service("a", primary), service("b", spare))) as (daemon, changes),
        ):
            for _ in range(3):
                assert (await ask(daemon, chat(stream=False))).fields["x-sidecar-service"] == "b"
            await changes.wait_for("endpoint_ejected", service="a", reason="retry_after")
            assert len(primary.received) == 1

    run(test())


def test_an_app_that_hangs_up_says_nothing_about_the_endpoint() -> None:
    async def test() -> None:
        async with Llm(silence) as llm:
            health = {**RULE, "minimum_requests": 1}
            async with watched(config(service("a", llm, passive_health=health))) as (daemon, changes):
                from .sidecar import App

                for _ in range(3):
                    app = await App.over_unix(daemon)
                    llm.asked.clear()
                    app.send(chat(stream=True))
                    await asyncio.wait_for(llm.asked.wait(), 5)
                    app.close()
                    await asyncio.wait_for(llm.received[-1].hung_up.wait(), 5)
            assert changes.names("a") == ["endpoint_added"]

    run(test())


def test_a_dead_port_is_ejected_after_failures_in_a_row() -> None:
    async def test() -> None:
        async with Llm(json_answer(CHAT)) as spare:
            dead = service(
                "a", f"http://127.0.0.1:{free_port()}/v1", passive_health={"consecutive_failures": 4}
            )
            async with watched(config(dead, service("b", spare))) as (daemon, changes):
                for _ in range(2):
                    assert (await ask(daemon, chat(stream=False))).status == 200
                await changes.wait_for("endpoint_ejected", service="a", reason="consecutive_failures")

    run(test())
