"""The counts that alerts are made of, scraped from a real daemon in the trouble they are about."""

from __future__ import annotations

import asyncio
from typing import Any

from llmsidecar.v1.policy_pb2 import Policy
from prometheus_client.parser import text_string_to_metric_families

from sidecar.daemon import Daemon

from .llm import CHAT, Llm, json_answer
from .loop import run
from .sidecar import ask, chat, config, service, sidecar

NEVER = {"consecutive_failures": 0, "failure_percentage_threshold": 0}
NOTHING = {"budget_percent": 0, "min_retry_concurrency": 0}


def watched(*services: dict[str, Any], **route: Any) -> dict[str, Any]:
    return config(*services, route=route, ops={"listen": ["127.0.0.1:0"]})


async def scrape(daemon: Daemon) -> dict[str, float]:
    """Samples of the counters by `name{first label's value}`."""
    host, _, port = str(daemon.ops_listen[0]).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    text = answer.partition(b"\r\n\r\n")[2].decode()
    return {
        f"{sample.name}{{{next(iter(sample.labels.values()), '')}}}": sample.value
        for family in text_string_to_metric_families(text)
        if family.type == "counter"
        for sample in family.samples
    }


def test_a_request_that_no_service_answers_is_exhausted_and_its_refused_retry_counted() -> None:
    """503 from everybody, and no budget to ask anybody twice."""

    async def test() -> None:
        async with Llm(json_answer({}, 503)) as primary, Llm(json_answer({}, 503)) as fallback:
            services = (
                service("a", primary, passive_health=NEVER),
                service("b", fallback, passive_health=NEVER),
            )
            async with sidecar(watched(*services, retry_budget=NOTHING)) as daemon:
                before = await scrape(daemon)
                assert (await ask(daemon, chat(stream=False))).status == 503
                after = await scrape(daemon)
        names = ("sidecar_requests_exhausted_total{/v1#0}", "sidecar_retries_refused_total{/v1#0}")
        assert [before[name] for name in names] == [0, 0]
        assert [after[name] for name in names] == [1, 2]  # a retry in each service

    run(test())


def test_a_rescued_request_is_not_exhausted() -> None:
    """The app noticed nothing; nobody is to be woken."""

    async def test() -> None:
        async with Llm(json_answer({}, 503)) as primary, Llm(json_answer(CHAT)) as fallback:
            services = (service("a", primary, passive_health=NEVER), service("b", fallback))
            async with sidecar(watched(*services)) as daemon:
                assert (await ask(daemon, chat(stream=False))).status == 200
                after = await scrape(daemon)
        assert after["sidecar_requests_exhausted_total{/v1#0}"] == 0
        assert after["sidecar_retries_refused_total{/v1#0}"] == 0
        assert after["sidecar_fallbacks_total{a}"] == 1

    run(test())


def test_refused_policies_are_counted_by_source() -> None:
    """A dry run is not one of them: it asks, it does not try."""

    async def test() -> None:
        async with Llm(json_answer(CHAT)) as primary, sidecar(watched(service("a", primary))) as daemon:
            await daemon.policies.update(Policy(), validate_only=True)
            await daemon.policies.update(Policy())
            await daemon.policies.apply(Policy(), "file")
            counted = await scrape(daemon)
        sources = ("file", "api", "state")
        assert [counted[f"sidecar_policy_rejected_total{{{source}}}"] for source in sources] == [1, 1, 0]

    run(test())
