"""Where traces go."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sidecar.telemetry import otlp
from sidecar.telemetry.otlp import Destination, Off, destination
from tests.telemetry.attributes import attributes_of


@pytest.mark.parametrize(
    ("configured", "environ", "endpoint"),
    [
        ("http://a:4317", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4317"}, "http://a:4317"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4317"}, "http://b:4317"),
        (
            "",
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4317",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317",
            },
            "http://c:4317",
        ),
        ("http://a:4317", {"OTEL_TRACES_EXPORTER": "otlp"}, "http://a:4317"),
    ],
)
def test_the_nearest_word_decides(configured: str, environ: dict[str, str], endpoint: str) -> None:
    """The config file, then the signal's variable, then the general one."""
    assert destination(configured, environ) == Destination(endpoint)


@pytest.mark.parametrize(
    ("configured", "environ", "why"),
    [
        ("", {}, "no OTLP endpoint"),
        ("http://a:4317", {"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED"),
        ("http://a:4317", {"OTEL_TRACES_EXPORTER": "none"}, "none"),
        ("http://a:4317", {"OTEL_TRACES_EXPORTER": "console"}, "console"),
        (
            "",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "http/json",
        ),
    ],
)
def test_whoever_turns_traces_off_is_obeyed_and_told(
    configured: str, environ: dict[str, str], why: str
) -> None:
    """An operator who sees no traces asks why."""
    off = destination(configured, environ)
    assert isinstance(off, Off)
    assert why in off.why


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, True),
    ],
)
def test_only_a_wish_that_is_not_fulfilled_is_worth_a_line(environ: dict[str, str], wanted: bool) -> None:
    """A pod without tracing is the ordinary case."""
    off = destination("", environ)
    assert isinstance(off, Off)
    assert off.wanted is wanted


@pytest.mark.parametrize(
    ("configured", "environ", "expected"),
    [
        ("http://a:4318", {}, "http://a:4318/v1/traces"),
        ("http://a:4318/", {}, "http://a:4318/v1/traces"),
        ("http://a/otlp", {}, "http://a/otlp/v1/traces"),
        ("http://a/otlp?tenant=7", {}, "http://a/otlp/v1/traces?tenant=7"),
        ("http://a/v1/traces?tenant=7", {}, "http://a/v1/traces?tenant=7"),
        ("http://a:4318/v1/traces", {}, "http://a:4318/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4318"}, "http://b:4318/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, "http://c:4318"),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/in"}, "http://c:4318/in"),
        ("http://a:4318", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, "http://a:4318/v1/traces"),
    ],
)
@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_over_http_a_base_gets_the_path_of_traces(
    configured: str, environ: dict[str, str], expected: str, name: str
) -> None:
    """What is meant for traces alone stays as it is written."""
    found = destination(configured, {name: "http/protobuf", **environ})
    assert found == Destination(expected, otlp.HTTP)


def test_the_protocol_of_traces_goes_before_that_of_everything() -> None:
    """So that metrics of the app may go another way than our traces."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
    }
    assert destination("", environ) == Destination("http://b:4317", otlp.GRPC)


def test_over_http_neither_grpc_nor_requests_is_loaded() -> None:
    """Each of them costs a pod more memory than the sidecar's own code."""
    code = (
        "import sys, sidecar.telemetry.spans, sidecar.telemetry.otlp as o;"
        "o.open_exporter(o.Destination('http://127.0.0.1:4318/v1/traces', o.HTTP));"
        "print([m for m in ('grpc', 'requests', 'urllib3', 'asyncio') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_without_an_endpoint_the_sdk_is_never_imported() -> None:
    """It costs 20 MiB and a quarter of a second."""
    code = (
        "import sys, sidecar.telemetry.tracing, sidecar.telemetry.otlp as o, sidecar.telemetry.access_log;"
        "import sidecar.telemetry.metrics; o.destination('', {});"
        "print([m for m in ('opentelemetry', 'grpc', 'prometheus_client') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize("protocol", [otlp.GRPC, otlp.HTTP])
@pytest.mark.parametrize(
    ("headers", "part"),
    [("Bearer sk-1", 1), ("a=b, sk-1", 2), ("=sk-1", 1), ("Authorization: Basic sk-1==", 1)],
)
def test_headers_that_are_no_list_of_headers_are_refused_and_not_shown(
    protocol: str, headers: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK drops them, and every trace is refused by a collector that wants them."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    with pytest.raises(ValueError, match=f"OTEL_EXPORTER_OTLP_HEADERS: part {part} ") as refused:
        otlp.open_exporter(otlp.Destination("http://127.0.0.1:4317", protocol))
    assert "sk-1" not in str(refused.value)


def test_the_environment_names_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME goes before the attributes, and both before our own name."""
    assert attributes_of(otlp.resource("1.2"))["service.name"] == "llm-ha-sidecar"
    assert attributes_of(otlp.resource("1.2"))["service.version"] == "1.2"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-attributes,k8s.pod.name=pod-1")
    assert attributes_of(otlp.resource("1.2"))["service.name"] == "from-attributes"
    assert attributes_of(otlp.resource("1.2"))["k8s.pod.name"] == "pod-1"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-name")
    assert attributes_of(otlp.resource("1.2"))["service.name"] == "from-name"
