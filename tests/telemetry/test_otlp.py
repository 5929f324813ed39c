"""Where traces go."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sidecar.telemetry import otlp
from sidecar.telemetry.otlp import Destination, Off, destination


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
        ("http://a:4317", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://a:4317"),
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
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "http/protobuf",
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


def test_without_an_endpoint_the_sdk_is_never_imported() -> None:
    """It costs 20 MiB and a quarter of a second."""
    code = (
        "import sys, sidecar.telemetry.tracing, sidecar.telemetry.otlp as o, sidecar.telemetry.access_log;"
        "import sidecar.telemetry.metrics; o.destination('', {});"
        "print([m for m in ('opentelemetry', 'grpc', 'prometheus_client') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_environment_names_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME goes before the attributes, and both before our own name."""
    assert otlp.resource("1.2").attributes["service.name"] == "llm-ha-sidecar"
    assert otlp.resource("1.2").attributes["service.version"] == "1.2"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-attributes,k8s.pod.name=pod-1")
    assert otlp.resource("1.2").attributes["service.name"] == "from-attributes"
    assert otlp.resource("1.2").attributes["k8s.pod.name"] == "pod-1"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-name")
    assert otlp.resource("1.2").attributes["service.name"] == "from-name"
