"""Where traces go: the config file's word, else the environment variables of OpenTelemetry.

In:      `telemetry.otlp_endpoint` and the environment.
Out:     a Destination, or why there is none; an exporter of the SDK for it.
Note:    opentelemetry (with grpc some 20 MiB and 0.3 s) is imported by `open_exporter` and not before.
Source:  OpenTelemetry specification, SDK environment variables and OTLP exporter. Headers, timeout,
         compression and certificates are read by the SDK's exporter itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE_NAME = "llm-ha-sidecar"


@dataclass(frozen=True, slots=True)
class Destination:
    endpoint: str


@dataclass(frozen=True, slots=True)
class Off:
    why: str


def destination(configured: str, environ: Mapping[str, str]) -> Destination | Off:
    """The collector to send to. A signal's own variable goes before the general one, as everywhere."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Off("OTEL_SDK_DISABLED is true")
    exporters = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    if "otlp" not in exporters and exporters != [""]:
        return Off(f"OTEL_TRACES_EXPORTER is {','.join(exporters)}")
    if configured:
        return Destination(configured)
    endpoint = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint:
        return Off("no OTLP endpoint is configured")
    protocol = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in ("", "grpc"):
        return Off(f"the OTLP protocol is {protocol}; only grpc is spoken here")
    return Destination(endpoint)


def open_exporter(where: Destination) -> SpanExporter:
    """Raises whatever the SDK thinks of a bad setting; it does not connect yet."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    # The scheme alone decides, unless there is none: then OTEL_EXPORTER_OTLP_INSECURE does.
    insecure = {"http": True, "https": False}.get(where.endpoint.partition("://")[0].lower())
    return OTLPSpanExporter(endpoint=where.endpoint, insecure=insecure)


def resource(version: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES over our own name and version."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource({"service.name": SERVICE_NAME, "service.version": version})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")
