"""Install every peer and print a line for each; the exit code is 1 if one is missing."""

import sys

from tests.itest.peers import (
    PeerMissing,
    grpcurl,
    jaeger,
    llama_server,
    node_sdks,
    prometheus,
    promtool,
    tiny_model,
)
from tests.itest.peers.axe import AXE, axe
from tests.itest.peers.clients import GRPCURL
from tests.itest.peers.grafana_schema import GRAFANA_SCHEMA, grafana_schema
from tests.itest.peers.llama import LLAMA
from tests.itest.peers.metrics import PROMETHEUS
from tests.itest.peers.node import NODE_SDKS
from tests.itest.peers.playwright import PLAYWRIGHT, playwright
from tests.itest.peers.tracing import JAEGER


def main() -> int:
    missing = 0
    for peer, version in (
        (grpcurl, GRPCURL),
        (jaeger, JAEGER),
        (prometheus, PROMETHEUS),
        (promtool, PROMETHEUS),
        (grafana_schema, GRAFANA_SCHEMA),
        (llama_server, LLAMA),
        (tiny_model, "random"),
        (node_sdks, NODE_SDKS),
        (playwright, PLAYWRIGHT),
        (axe, AXE),
    ):
        try:
            print(f"{peer.__name__} {version} {peer()}", flush=True)
        except PeerMissing as error:
            missing = 1
            print(f"{peer.__name__} {version} missing: {error}", file=sys.stderr)
    return missing


if __name__ == "__main__":
    sys.exit(main())
