"""Traces as they arrive in a real Jaeger: what a developer sees of a failover, and what is never sent there."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sidecar_client.transport import http_client

from tests.daemon.llm import Llm, reset, silence, stream
from tests.daemon.process import Process
from tests.daemon.sidecar import service
from tests.itest.peers import Jaeger, jaeger, require, running_jaeger
from tests.itest.peers.serving import free_port
from tests.itest.stage import config, daemon, llm, until
from tests.itest.traces import Trace, find, search, wait_for_trace

pytestmark = pytest.mark.itest

FIRST_PACKET = 0.1  # seconds
GRAIN = 1  # µs: Jaeger cuts each moment and each length down to whole ones
PROMPT = "where is the purple otter buried"
ANSWER = ("under the ", "crooked lighthouse")
KEY = "sk-zanzibar"
SECRETS = ("purple", "otter", "crooked", "lighthouse", "zanzibar")
FAILOVER = 3  # spans
PATIENCE = 20.0  # seconds that a chat may take: an app waits ten minutes, a test does not


@dataclass
class Told:
    """One chat of the app, and the span of its own that it was made in."""

    trace_id: str
    span_id: str
    text: str


@pytest.fixture(scope="module")
def store() -> Iterator[Jaeger]:
    require(jaeger)
    with running_jaeger() as store:
        yield store


@pytest.fixture
def primary() -> Iterator[Llm]:
    with llm(silence) as service:
        yield service


@pytest.fixture
def fallback() -> Iterator[Llm]:
    with llm(stream(*ANSWER)) as service:
        yield service


def written(
    folder: Path, primary: Llm, fallback: Llm, endpoint: str, first_packet: float = FIRST_PACKET
) -> dict[str, Any]:
    always_asked = {
        "passive_health": {"consecutive_failures": 0, "failure_percentage_threshold": 0},
        "adaptive_concurrency": {"enabled": False},
    }
    return config(
        folder,
        service("primary", primary, timeouts={"first_packet": f"{first_packet:g}s"}, **always_asked),
        service("fallback", fallback, model="their-model"),
        route={"retries_per_service": 0},
        telemetry={"otlp_endpoint": endpoint, "sample_ratio": 0},
    )


@pytest.fixture
def process(tmp_path: Path, primary: Llm, fallback: Llm, store: Jaeger) -> Iterator[Process]:
    with daemon(written(tmp_path, primary, fallback, store.otlp_endpoint), tmp_path) as process:
        yield process


def chat(process: Process, *, traced: bool = True) -> Told:
    """By the SDK, over the Unix socket; without a span of the app's own the sidecar begins the trace."""
    told = Told(secrets.token_hex(16), secrets.token_hex(8), "")
    headers = {"traceparent": f"00-{told.trace_id}-{told.span_id}-01"} if traced else {}
    client = http_client(process.listen[0], timeout=PATIENCE)
    with openai.OpenAI(base_url="http://localhost/v1", api_key=KEY, http_client=client, max_retries=0) as sdk:
        chunks = sdk.chat.completions.create(
            model="our-model",
            messages=[{"role": "user", "content": PROMPT}],
            stream=True,
            extra_headers=headers,
        )
        told.text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert told.text == "".join(ANSWER)
    return told


def spans_dropped(process: Process) -> float:
    text = httpx.get(f"http://{process.ops[0]}/metrics").text
    [line] = [line for line in text.splitlines() if line.startswith("sidecar_spans_dropped_total ")]
    return float(line.split()[1])


def test_a_failover_is_one_server_span_with_a_client_span_for_each_attempt(
    process: Process, store: Jaeger, primary: Llm, fallback: Llm
) -> None:
    """Never more, never fewer: an attempt without a span cannot be found, a second one is counted twice."""
    told = chat(process)
    trace = wait_for_trace(store, told.trace_id, FAILOVER)
    assert [span.kind for span in trace.spans] == ["server", "client", "client"]
    server, *attempts = trace.spans
    assert (server.parent_id, server.name, server.is_error) == (told.span_id, "POST /v1", False)
    assert server.attributes["sidecar.service"] == "fallback"
    assert server.attributes["sidecar.attempts"] == 2
    assert "error.type" not in server.attributes
    assert server.start <= attempts[0].start
    assert [attempt.parent_id for attempt in attempts] == [server.span_id] * 2
    assert [attempt.name for attempt in attempts] == ["chat our-model", "chat their-model"]
    tell_of_the_silent_attempt(trace, primary)
    tell_of_the_attempt_that_answered(trace, fallback)
    tell_of_the_ids_the_services_got(trace, primary, fallback)


def tell_of_the_silent_attempt(trace: Trace, primary: Llm) -> None:
    silent = trace.of_kind("client")[0]
    assert silent.is_error
    assert silent.events == {}
    assert silent.duration >= FIRST_PACKET * 1e6
    assert "http.request.resend_count" not in silent.attributes
    assert "sidecar.fallback_reason" not in silent.attributes
    assert (
        silent.attributes.items()
        >= {
            "error.type": "first_packet_timeout",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "our-model",
            "http.request.method": "POST",
            "sidecar.service": "primary",
            "sidecar.endpoint": primary.address,
            "sidecar.attempt": 1,
            "sidecar.outcome": "first_packet_timeout",
        }.items()
    )


def tell_of_the_attempt_that_answered(trace: Trace, fallback: Llm) -> None:
    silent, answered = trace.of_kind("client")
    assert not answered.is_error
    assert "error.type" not in answered.attributes
    assert answered.start >= silent.start + FIRST_PACKET * 1e6
    assert list(answered.events) == ["first_packet"]
    assert 0 < answered.events["first_packet"] <= answered.duration + GRAIN
    assert (
        answered.attributes.items()
        >= {
            "gen_ai.request.model": "their-model",
            "http.request.resend_count": 1,
            "http.response.status_code": 200,
            "sidecar.service": "fallback",
            "sidecar.endpoint": fallback.address,
            "sidecar.attempt": 2,
            "sidecar.outcome": "success",
            "sidecar.fallback_reason": "first_packet_timeout",
        }.items()
    )


def tell_of_the_ids_the_services_got(trace: Trace, *services: Llm) -> None:
    for attempt, asked in zip(trace.of_kind("client"), services, strict=True):
        [received] = asked.received
        assert received.get("traceparent") == [f"00-{trace.spans[0].trace_id}-{attempt.span_id}-01"]
        assert received.json["model"] == attempt.attributes["gen_ai.request.model"]


def test_no_word_of_prompt_or_answer_and_no_key_leaves_with_a_trace(process: Process, store: Jaeger) -> None:
    """A trace store is read by more people than may read what users ask."""
    told = chat(process)
    kept = wait_for_trace(store, told.trace_id, FAILOVER).text
    logged = str(process.wait_for("request", trace_id=told.trace_id))
    for word in SECRETS:
        assert word not in kept
        assert word not in logged


def test_a_failover_is_found_by_what_went_wrong_and_by_its_request_id(
    process: Process, store: Jaeger
) -> None:
    """Whoever looks for it has a metric's label or a log line, not a trace id."""
    told = chat(process)
    line = process.wait_for("request", trace_id=told.trace_id)
    wait_for_trace(store, told.trace_id, FAILOVER)
    assert told.trace_id in search(store, error_type="first_packet_timeout")
    assert told.trace_id in search(store, sidecar_fallback_reason="first_packet_timeout")
    assert search(store, sidecar_request_id=line["request_id"]) == {told.trace_id}
    assert told.trace_id not in search(store, error_type="reset")


def test_a_plain_success_is_not_kept_at_a_ratio_of_0(tmp_path: Path, fallback: Llm, store: Jaeger) -> None:
    """Tracing costs what failures cost, unless more is asked for."""
    with llm(stream(*ANSWER), reset()) as primary:
        # A late first packet is kept, so nothing here may be late.
        patient = written(tmp_path, primary, fallback, store.otlp_endpoint, first_packet=PATIENCE)
        with daemon(patient, tmp_path) as process:
            chat(process, traced=False)
            chat(process, traced=False)
            plain, failover = (
                process.wait_for("request", service=name)["trace_id"] for name in ("primary", "fallback")
            )
            # Exported in order: what was kept of the first is there when the second is.
            wait_for_trace(store, failover, FAILOVER)
            assert find(store, plain) is None


def test_sigterm_right_after_a_failover_loses_no_span(process: Process, store: Jaeger) -> None:
    """The last requests before a pod goes are the ones that get looked at."""
    told = [chat(process) for _ in range(3)]
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    for each in told:
        trace = find(store, each.trace_id)  # not waited for: it has to be there when the process has ended
        assert trace is not None
        assert len(trace.spans) == FAILOVER


def test_a_collector_that_refuses_costs_a_count_and_is_used_again_once_it_is_there(
    tmp_path: Path, primary: Llm, fallback: Llm
) -> None:
    """Telemetry must never be a reason for an app's call to fail."""
    require(jaeger)
    port = free_port()
    refusing = written(tmp_path, primary, fallback, f"http://127.0.0.1:{port}")
    with daemon(refusing, tmp_path, OTEL_EXPORTER_OTLP_TIMEOUT="1") as process:
        lost = chat(process)
        until("the spans to be given up", lambda: spans_dropped(process) == 1)
        process.wait_for("traces_failing")
        with running_jaeger(otlp_port=port) as store:

            def flowing() -> bool:
                chat(process)
                return any(line["event"] == "traces_flowing" for line in process.lines)

            until("traces to flow again", flowing)
            told = chat(process)
            assert len(wait_for_trace(store, told.trace_id, FAILOVER).spans) == FAILOVER
            assert find(store, lost.trace_id) is None
        assert process.stop() == 0
    assert all(line["status"] == 200 for line in process.lines if line["event"] == "request")


def test_over_http_a_failover_arrives_as_well(
    tmp_path: Path, primary: Llm, fallback: Llm, store: Jaeger
) -> None:
    """Some networks let nothing else through. The base is completed to the signal's path."""
    over_http = written(tmp_path, primary, fallback, store.otlp_http_endpoint)
    with daemon(over_http, tmp_path, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf") as process:
        told = chat(process)
        trace = wait_for_trace(store, told.trace_id, FAILOVER)
        assert [span.kind for span in trace.spans] == ["server", "client", "client"]
        assert spans_dropped(process) == 0


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_that_hangs_and_dies_costs_a_count_and_no_chat(
    protocol: str, tmp_path: Path, primary: Llm, fallback: Llm
) -> None:
    """Stopped it still takes connections, by its backlog; killed it refuses them. The daemon ends in good order."""
    require(jaeger)
    environment = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with running_jaeger() as store:
        endpoint = store.otlp_endpoint if protocol == "grpc" else store.otlp_http_endpoint
        with daemon(written(tmp_path, primary, fallback, endpoint), tmp_path, **environment) as process:
            wait_for_trace(store, chat(process).trace_id, FAILOVER)
            store.process.send_signal(signal.SIGSTOP)
            chat(process)
            until("the spans to be given up", lambda: spans_dropped(process) >= 1)
            process.wait_for("traces_failing")
            given_up = spans_dropped(process)
            store.process.kill()
            chat(process)
            until("the next to be given up", lambda: spans_dropped(process) > given_up)
            assert process.stop() == 0
    assert all(line["status"] == 200 for line in process.lines if line["event"] == "request")
