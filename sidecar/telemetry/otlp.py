"""Where traces go, and over what: the config file's word, else the environment variables of OpenTelemetry.

In:      `telemetry.otlp_endpoint` and the environment.
Out:     a Destination, or why there is none; an exporter for it.
Note:    opentelemetry is imported by `open_exporter` and `resource`, and not before. The exporters are our own:
         the SDK's bring 5 MiB of what nobody here uses, or `requests` (docs/adr/0010-spans-as-messages.md).
Source:  OpenTelemetry specification, SDK environment variables and OTLP exporter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sidecar.frozen import Frozen

if TYPE_CHECKING:
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    from sidecar.telemetry.delivery import Exporter

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


def open_exporter(where: Destination) -> Exporter:
    """Raises whatever is the matter with a bad setting; it does not connect yet."""
    from sidecar.telemetry.delivery import options

    settings = options(os.environ)
    if where.protocol == HTTP:
        from sidecar.telemetry.otlp_http import HttpExporter

        return HttpExporter(where.endpoint, settings)
    from sidecar.telemetry.otlp_grpc import GrpcExporter

    insecure = first(os.environ, "OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE")
    return GrpcExporter(where.endpoint, settings, insecure=insecure.lower() == "true")


def resource(version: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES over our own name and version."""
    from opentelemetry.proto.resource.v1 import resource_pb2
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    from sidecar.telemetry.spans import describe

    ours = Resource({"service.name": SERVICE_NAME, "service.version": version})
    made = resource_pb2.Resource()
    describe(made, Resource.create().merge(ours).merge(OTELResourceDetector().detect()).attributes)
    return made


def first(environ: Mapping[str, str], *names: str) -> str:
    """The first of these variables that says something."""
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _with_path(base: str) -> str:
    """A signal's own variable is taken as it stands; what is meant for every signal is a base."""
    path, mark, query = base.partition("?")
    return base if path.endswith(_TRACES_PATH) else path.rstrip("/") + _TRACES_PATH + mark + query
