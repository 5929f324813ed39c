"""What a collector gets of a whole daemon: one decision a trace, and where the environment says that it goes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.itest.stage import llm
from tests.telemetry.attributes import attributes_of
from tests.telemetry.collector import Collector

from .llm import CHAT, Llm, json_answer
from .process import Process, running

NEVER = {"consecutive_failures": 0, "failure_percentage_threshold": 0}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def good() -> Iterator[Llm]:
    with llm(json_answer(CHAT)) as service:
        yield service


@pytest.fixture
def bad() -> Iterator[Llm]:
    with llm(json_answer({}, 503)) as service:
        yield service


def written(good: Llm, bad: Llm, **telemetry: Any) -> dict[str, Any]:
    """The model `m` is answered at once; `rescued` fails before it is."""
    services = [
        {"name": name, "url": service.url, "passive_health": NEVER}
        for name, service in (("good", good), ("bad", bad))
    ]
    rescue = {"match": {"models": ["rescued"]}, "services": ["bad", "good"], "retries_per_service": 0}
    return {
        "listen": ["127.0.0.1:0"],
        "admin": {"enabled": False},
        "ops": {"enabled": False},
        "telemetry": telemetry,
        "policy": {"services": services, "routes": [rescue, {"services": ["good"]}]},
    }


def chat(process: Process, model: str = "m", flags: str = "") -> str:
    """Asks; the id of the trace that the app is in, empty without flags."""
    trace = secrets.token_hex(16) if flags else ""
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-{flags}"} if flags else {}
    answer = httpx.post(
        f"http://{process.listen[0]}/v1/chat/completions",
        json={"model": model, "messages": []},
        headers=headers,
        timeout=20,
    )
    assert answer.status_code == 200
    return trace


def spans_by_trace(collector: Collector) -> dict[str, list[Span]]:
    traces: dict[str, list[Span]] = {}
    for span in collector.spans():
        traces.setdefault(span.trace_id.hex(), []).append(span)
    return traces


@pytest.mark.parametrize("ratio", [0, 1])
def test_the_flag_of_the_app_decides_for_its_plain_successes_and_a_failure_is_kept_whole(
    ratio: int, tmp_path: Path, collector: Collector, good: Llm, bad: Llm
) -> None:
    """A trace of which one part was kept and another was not misleads; so the ratio is asked only if nobody was."""
    config = written(good, bad, otlp_endpoint=collector.endpoint, sample_ratio=ratio)
    with running(config, tmp_path) as process:
        kept, dropped = chat(process, flags="01"), chat(process, flags="00")
        rescued, rescued_too = chat(process, "rescued", flags="01"), chat(process, "rescued", flags="00")
        chat(process)
    traces = spans_by_trace(collector)
    own = traces.keys() - {kept, rescued, rescued_too}
    assert dropped not in traces
    assert len(own) == ratio
    sizes = {trace: len(spans) for trace, spans in traces.items()}
    assert [sizes[kept], sizes[rescued], sizes[rescued_too]] == [2, 3, 3]
    sent = [received.get("traceparent")[0].split("-") for received in (*good.received, *bad.received)]
    flags = {
        trace: {flag for _, sent_trace, _, flag in sent if sent_trace == trace} for _, trace, _, _ in sent
    }
    assert [flags[t] for t in (kept, dropped, rescued, rescued_too)] == [{"01"}, {"00"}, {"01"}, {"00"}]
    assert all(
        flags[trace] == {f"{ratio:02}"} for trace in flags.keys() - {kept, dropped, rescued, rescued_too}
    )
    clients = {
        (trace, span.span_id.hex())
        for trace, spans in traces.items()
        for span in spans
        if span.kind == Span.SPAN_KIND_CLIENT
    }
    assert clients == {(trace, span) for _, trace, span, _ in sent if trace in traces}


def test_an_attempt_tells_its_url_but_no_query(
    tmp_path: Path, collector: Collector, good: Llm, bad: Llm
) -> None:
    """Some services take their key as a parameter."""
    config = written(good, bad, otlp_endpoint=collector.endpoint, sample_ratio=1)
    with running(config, tmp_path) as process:
        url = f"http://{process.listen[0]}/v1/chat/completions?key=sk-secret"
        assert httpx.post(url, json={"model": "rescued", "messages": []}, timeout=20).status_code == 200
    attempts = [s for s in collector.spans() if s.kind == Span.SPAN_KIND_CLIENT]
    assert [attributes_of(span)["url.full"] for span in attempts] == [
        f"{service.url}/chat/completions" for service in (bad, good)
    ]


def test_the_environment_says_where_traces_go_and_whose_they_are(
    tmp_path: Path, collector: Collector, good: Llm, bad: Llm
) -> None:
    """Operators set these once for every container of a cluster, and expect each to listen."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue,x-token=t%20t",
        "OTEL_SERVICE_NAME": "front-desk",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=pod-1,deployment.environment.name=staging",
    }
    with running(written(good, bad, sample_ratio=1), tmp_path, **environment) as process:
        chat(process)
        collector.wait_for_spans(2)
    assert [(h["x-tenant"], h["x-token"]) for h in collector.metadata] == [("blue", "t t")]
    [resource] = collector.resources()
    attributes = attributes_of(resource.resource)
    assert attributes["service.name"] == "front-desk"
    assert attributes["k8s.pod.name"] == "pod-1"
    assert attributes["deployment.environment.name"] == "staging"


@pytest.mark.parametrize(
    ("sampler", "argument", "kept"),
    [
        ("always_on", "", {"01", "00", ""}),
        ("always_off", "", set()),
        ("traceidratio", "0", set()),
        ("traceidratio", "1", {"01", "00", ""}),
        ("parentbased_always_on", "", {"01", ""}),
        ("parentbased_always_off", "", {"01"}),
        ("parentbased_traceidratio", "1", {"01", ""}),
    ],
)
def test_the_sampler_of_the_environment_decides_about_plain_successes_and_tells_the_llm(
    sampler: str,
    argument: str,
    kept: set[str],
    tmp_path: Path,
    collector: Collector,
    good: Llm,
    bad: Llm,
) -> None:
    """By what the app's flag was (empty: it had none). What the LLM is told is what is done."""
    environment = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    config = written(good, bad, otlp_endpoint=collector.endpoint)
    with running(config, tmp_path, **environment) as process:
        for flags in ("01", "00", ""):
            chat(process, flags=flags)
        rescued = chat(process, "rescued", flags="00")
    assert rescued in spans_by_trace(collector), "a failed attempt is kept, whatever a sampler says"
    sent = [received.get("traceparent")[0].split("-") for received in good.received[:3]]
    told = {asked for asked, (_, _, _, flag) in zip(("01", "00", ""), sent, strict=True) if flag == "01"}
    exported = spans_by_trace(collector).keys()
    done = {
        asked for asked, (_, trace, _, _) in zip(("01", "00", ""), sent, strict=True) if trace in exported
    }
    assert (told, done) == (kept, kept)


@pytest.mark.parametrize(
    "off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}], ids=lambda off: next(iter(off))
)
def test_the_environment_can_turn_traces_off(
    off: dict[str, str], tmp_path: Path, collector: Collector, good: Llm, bad: Llm
) -> None:
    """Even where the config names a collector and a request failed, which is otherwise always kept."""
    config = written(good, bad, otlp_endpoint=collector.endpoint, sample_ratio=1)
    with running(config, tmp_path, **off) as process:
        chat(process, "rescued", flags="01")
        assert process.stop() == 0  # what was not sent by then never is
    assert collector.requests == []
