"""Exporting: to a real receiver, and to those that refuse, hang or die."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidecar.telemetry.otlp import Destination
from sidecar.telemetry.sinks import ToldOfKept
from sidecar.telemetry.tracing import BATCH, Tracing
from tests.telemetry.attributes import attributes_of
from tests.telemetry.collector import Answer, Collector
from tests.telemetry.records import attempt, request, rescued

Reports = asyncio.Queue[tuple[str, str]]
Scenario = Callable[[Tracing, Reports], Awaitable[None]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    receiving = Collector()
    yield receiving
    receiving.stop()


def _run(endpoint: str, scenario: Scenario, *, capacity: int = 2048) -> Tracing:
    """Runs the scenario and stops; returns the tracing for its counts."""

    async def run() -> Tracing:
        reports: Reports = asyncio.Queue()
        tracing = Tracing(
            Destination(endpoint),
            version="1.2",
            loop=asyncio.get_running_loop(),
            report=lambda event, why: reports.put_nowait((event, why)),
            capacity=capacity,
        )
        tracing.start()
        await scenario(tracing, reports)
        await tracing.stop()
        return tracing

    return asyncio.run(run())


async def _send_rescued(tracing: Tracing, _: Reports) -> None:
    tracing.request_finished(rescued())


def test_a_request_arrives_as_one_trace(collector: Collector) -> None:
    """Ids, parents, kinds, times and statuses survive the wire."""
    tracing = _run(collector.endpoint, _wait_after(_send_rescued, collector, 3))
    server, first, second = collector.spans()
    assert [span.kind for span in (server, first, second)] == [
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_CLIENT,
        Span.SPAN_KIND_CLIENT,
    ]
    assert {span.trace_id for span in (server, first, second)} == {(0xABC).to_bytes(16)}
    assert first.parent_span_id == second.parent_span_id == server.span_id == (0x77).to_bytes(8)
    assert (first.status.code, server.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert [event.name for event in second.events] == ["first_packet"]
    names = attributes_of(collector.resources()[0].resource)
    assert names["service.name"] == "llm-ha-sidecar"
    assert tracing.dropped == 0


def _wait_after(scenario: Scenario, collector: Collector, spans: int) -> Scenario:
    async def waiting(tracing: Tracing, reports: Reports) -> None:
        await scenario(tracing, reports)
        await asyncio.to_thread(collector.wait_for_spans, spans)

    return waiting


def test_plain_successes_are_kept_if_they_are_sampled(collector: Collector) -> None:
    """Nothing is sent of what is not kept."""

    async def scenario(tracing: Tracing, _: Reports) -> None:
        sink = ToldOfKept(tracing.request_finished)
        for trace_id, sampled in ((1 << 62, True), (3 << 62, False)):
            record = request(trace_id=trace_id)
            record.sampled = sampled
            sink.request_finished(record)

    _run(collector.endpoint, _wait_after(scenario, collector, 2))
    assert {span.trace_id for span in collector.spans()} == {(1 << 62).to_bytes(16)}


def test_batches_are_small_and_complete(collector: Collector) -> None:
    """A batch holds the interpreter while it is made. A request's spans stay together, however many."""
    sizes = (0, 1, 3, BATCH - 1, BATCH, 3 * BATCH, 1, 1)  # attempts

    async def scenario(tracing: Tracing, _: Reports) -> None:
        for size in sizes:
            record = request(*[attempt(number) for number in range(1, size + 1)])
            record.attempts = record.attempts[:size]
            tracing.request_finished(record)

    tracing = _run(collector.endpoint, _wait_after(scenario, collector, sum(sizes) + len(sizes)))
    counts = [
        sum(len(scope.spans) for one in sent.resource_spans for scope in one.scope_spans)
        for sent in collector.requests
    ]
    assert counts == [1 + 2 + 4, BATCH, 1 + BATCH, 1 + 3 * BATCH, 2 + 2]
    assert tracing.dropped == 0


def test_stopping_flushes(collector: Collector) -> None:
    """The last requests before the end are the ones that are looked for."""

    async def scenario(tracing: Tracing, reports: Reports) -> None:
        await _wait_after(_send_rescued, collector, 3)(tracing, reports)  # the SDK is loaded by now
        tracing.request_finished(rescued())

    assert _run(collector.endpoint, scenario).dropped == 0
    assert len(collector.spans()) == 6


def test_a_collector_that_refuses_is_reported_once_and_so_is_its_return(collector: Collector) -> None:
    """An operator learns of it from the log, not from a flood."""

    async def scenario(tracing: Tracing, reports: Reports) -> None:
        collector.refuse = True
        tracing.request_finished(rescued())
        assert (await reports.get())[0] == "traces_failing"
        tracing.request_finished(rescued())
        await asyncio.to_thread(collector.wait_for_refusals, 2)
        collector.refuse = False
        tracing.request_finished(rescued())
        assert (await reports.get())[0] == "traces_flowing"

    assert _run(collector.endpoint, scenario).dropped == 2


def test_spans_that_the_collector_rejects_are_counted_and_told_once() -> None:
    """It took the batch, so nothing else would say that some are missing."""
    collector = Collector(Answer(rejected=2))

    async def scenario(tracing: Tracing, reports: Reports) -> None:
        for sent in (3, 6):
            await _wait_after(_send_rescued, collector, sent)(tracing, reports)
        event, why = await reports.get()
        assert (event, why[: why.index("!")]) == (
            "traces_rejected",
            f"{collector.endpoint} rejects 2 spans: too old",
        )
        await tracing.stop()
        assert reports.empty()

    try:
        assert _run(collector.endpoint, scenario).dropped == 2  # one request each time
    finally:
        collector.stop()


def test_a_port_that_nobody_serves_costs_a_count() -> None:
    """A collector may come later than its pods."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert _run(endpoint, _send_rescued).dropped == 1


def test_a_collector_that_hangs_costs_a_count_and_fills_no_memory() -> None:
    """It accepts and never answers; the queue is bounded, and stopping ends all the same."""

    async def scenario(tracing: Tracing, reports: Reports) -> None:
        tracing.request_finished(rescued())
        connection, _address = await asyncio.get_running_loop().sock_accept(hanging)
        with connection:
            for _ in range(20):
                tracing.request_finished(rescued())
            assert tracing.dropped == 15
            await tracing.stop()

    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        hanging.setblocking(False)
        endpoint = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        assert _run(endpoint, scenario, capacity=5).dropped == 21


def test_a_bad_setting_of_the_exporter_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app's calls go on without traces."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "rot13")

    async def scenario(tracing: Tracing, reports: Reports) -> None:
        event, why = await reports.get()
        assert event == "traces_failing"
        assert "rot13" in why
        tracing.request_finished(rescued())

    assert _run("http://127.0.0.1:1", scenario).dropped == 1


def test_stopping_what_never_started_returns() -> None:
    """A daemon that fails to start stops all its parts."""

    async def run() -> int:
        loop = asyncio.get_running_loop()
        where = Destination("http://127.0.0.1:1")
        tracing = Tracing(where, version="1", loop=loop, report=lambda event, why: None)
        await tracing.stop()
        return tracing.dropped

    assert asyncio.run(run()) == 0
