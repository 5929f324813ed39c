"""Jaeger: the trace store the sidecar exports to, with OTLP over gRPC and HTTP in and its HTTP query API out.

In:      the ports for OTLP over gRPC and for queries, 0 for free ones.
Out:     a running Jaeger with an empty memory that keeps the newest 10,000 traces, on 127.0.0.1 only.
Limits:  the API without the pages of its UI, which Go's modules do not have. Spans are not batched: a trace can
         be queried as soon as its export was answered.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.itest.peers.install import built, go
from tests.itest.peers.serving import accepts, answers, free_port, serving

# The newest tag that Go's tools accept, since the v2 tags come without a /v2 module path; its cmd/jaeger is v2.
JAEGER = "v1.76.0"

CONFIG = """\
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines: {{traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  jaeger_storage: {{backends: {{memory: {{memory: {{max_traces: 10000}}}}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:0"}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{otlp}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


def jaeger() -> Path:
    def build(work: Path) -> Path:
        # Built where the module cache has it, since only there its own go.sum and replace lines count: `go install`
        # refuses a module with a replace, and a module of ours that requires it would look every hash up anew.
        module = f"github.com/jaegertracing/jaeger@{JAEGER}"
        source = json.loads(go(work, "mod", "download", "-json", module))["Dir"]
        flags = ("-buildvcs=false", "-trimpath", "-ldflags=-s -w")
        go(work, "build", "-C", source, *flags, "-o", str(work / "jaeger"), "./cmd/jaeger")
        return work / "jaeger"

    return built("jaeger", JAEGER, build)


@dataclass(frozen=True)
class Jaeger:
    """`otlp_endpoint` takes OTLP over gRPC; under `query_url` are `/api/traces` and `/api/v3/traces`."""

    otlp_endpoint: str
    query_url: str
    otlp_http_endpoint: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_jaeger(otlp_port: int = 0, query_port: int = 0) -> Iterator[Jaeger]:
    otlp, http, query = otlp_port or free_port(), free_port(), query_port or free_port()
    config = CONFIG.format(otlp=otlp, http=http, query=query)

    def ready() -> bool:  # the query API comes up before the receiver does
        return answers(query, "/api/services") and accepts(otlp) and accepts(http)

    with serving([str(jaeger()), "--config", f"yaml:{config}"], ready) as process:
        at = [f"http://127.0.0.1:{port}" for port in (otlp, query, http)]
        yield Jaeger(at[0], at[1], at[2], process)
