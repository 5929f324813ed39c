"""An OpenTelemetry collector that takes every span and keeps none: `python -m bench.load.collector PORT`."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

METHOD = "opentelemetry.proto.collector.trace.v1.TraceService"
TAKEN = b""  # an ExportTraceServiceResponse without a word


def main(port: int) -> None:
    server = grpc.server(ThreadPoolExecutor(1))

    def export(request: bytes, context: Any) -> bytes:
        return TAKEN

    handler: Any = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(METHOD, {"Export": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main(int(sys.argv[1]))
