"""Real peers for the integration tests: grpcurl, Jaeger, Prometheus, Grafana's schema, llama.cpp's server, Node's SDKs.

In:      `$SIDECAR_PEERS_DIR`, where finished peers are kept, else `.peers` in the checkout; Go, npm, CMake and a
         C++ compiler on the PATH for what is not there yet. `python -m tests.itest.peers` installs everything.
Out:     a path for each peer, and context managers that run the servers on loopback until the block ends.
Units:   seconds.
Limits:  a first build takes minutes; see `install` for what makes an interrupted one harmless.
Errors:  PeerMissing says what is not there and what to do; `require` turns it into a skip, or under `CI=true`
         into a failure. A server that ends or stays silent before it is ready raises PeerFailed with its last words.
Source:  Go's, pip's and npm's ordinary clients; every version is pinned, modules by go.sum, llama.cpp by its hash,
         Node's packages by theirs.
"""

from tests.itest.peers.clients import grpcurl
from tests.itest.peers.install import PeerMissing, require
from tests.itest.peers.llama import LlamaServer, llama_server, running_llama_server, tiny_model
from tests.itest.peers.metrics import Prometheus, prometheus, promtool, running_prometheus
from tests.itest.peers.node import ASK, node_sdks
from tests.itest.peers.serving import PeerFailed
from tests.itest.peers.tracing import Jaeger, jaeger, running_jaeger

__all__ = [
    "ASK",
    "Jaeger",
    "LlamaServer",
    "PeerFailed",
    "PeerMissing",
    "Prometheus",
    "grpcurl",
    "jaeger",
    "llama_server",
    "node_sdks",
    "prometheus",
    "promtool",
    "require",
    "running_jaeger",
    "running_llama_server",
    "running_prometheus",
    "tiny_model",
]
