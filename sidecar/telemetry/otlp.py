"""Where traces go, and over what: the config file's word, else the environment variables of OpenTelemetry.

In:      `telemetry.otlp_endpoint` and the environment.
Out:     a Destination, or why there is none; an exporter for it.
Note:    opentelemetry (with grpc some 20 MiB and 0.3 s) is imported by `open_exporter` and not before. Over gRPC
         the SDK's exporter does the work and reads headers, timeout, compression and certificates itself; over
         HTTP ours does (otlp_http), for the SDK's would bring `requests` along.
Source:  OpenTelemetry specification, SDK environment variables and OTLP exporter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sidecar.frozen import Frozen

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE_NAME = "llm-ha-sidecar"
GRPC, HTTP = "grpc", "http/protobuf"
_TRACES_PATH = "/v1/traces"


class Destination(Frozen):
    endpoint: str
    protocol: str = GRPC


class Off(Frozen):
    why: str
    wanted: bool = False  # somebody asked for traces, in words that are not understood


def destination(configured: str, environ: Mapping[str, str]) -> Destination | Off:
    """The collector to send to. A signal's own variable goes before the general one, as everywhere."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Off("OTEL_SDK_DISABLED is true")
    exporters = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    if "otlp" not in exporters and exporters != [""]:
        told = f"OTEL_TRACES_EXPORTER is {','.join(exporters)}"
        return Off(told) if exporters == ["none"] else Off(f"{told}; expected otlp or none", wanted=True)
    own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = configured or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    if not (base or own):
        return Off("no OTLP endpoint is configured")
    protocol = first(environ, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") or GRPC
    if protocol not in (GRPC, HTTP):
        return Off(f"the OTLP protocol is {protocol}; expected {GRPC} or {HTTP}", wanted=True)
    if own and not configured:
        return Destination(own, protocol)
    return Destination(_with_path(base) if protocol == HTTP else base, protocol)


def open_exporter(where: Destination) -> SpanExporter:
    """Raises whatever is the matter with a bad setting; it does not connect yet."""
    _check_headers(os.environ)
    if where.protocol == HTTP:
        from sidecar.telemetry.otlp_http import HttpExporter, options

        return HttpExporter(where.endpoint, options(os.environ))
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    # The scheme alone decides, unless there is none: then OTEL_EXPORTER_OTLP_INSECURE does.
    insecure = {"http": True, "https": False}.get(where.endpoint.partition("://")[0].lower())
    return OTLPSpanExporter(endpoint=where.endpoint, insecure=insecure)


def _check_headers(environ: Mapping[str, str]) -> None:
    """The SDK leaves out what it cannot read, and the collector then refuses everything. Values are secrets."""
    headers = first(environ, "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
    for place, item in enumerate(headers.split(","), 1):
        name, equals, _ = item.partition("=")
        if item.strip() and not (equals and name.strip()):
            raise ValueError(f"OTEL_EXPORTER_OTLP_HEADERS: part {place} is not name=value")


def resource(version: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES over our own name and version."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource({"service.name": SERVICE_NAME, "service.version": version})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def first(environ: Mapping[str, str], *names: str) -> str:
    """The first of these variables that says something."""
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _with_path(base: str) -> str:
    """A signal's own variable is taken as it stands; what is meant for every signal is a base."""
    return base if base.endswith(_TRACES_PATH) else base.rstrip("/") + _TRACES_PATH
