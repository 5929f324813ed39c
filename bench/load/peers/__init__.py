"""Who is compared; each serves the same app and has the same upstream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.load.peers.base import Kind, Peer, Serving, Setting
from bench.load.peers.envoy import envoy
from bench.load.peers.litellm import litellm
from bench.load.peers.proxies import haproxy, nginx
from bench.load.peers.sidecar import LESSON, variant

__all__ = ["PEERS", "Kind", "Peer", "Serving", "Setting"]


@contextmanager
def _direct(at: Setting) -> Iterator[Serving]:
    yield Serving(None, f"127.0.0.1:{at.upstream.answering}")


PEERS = {
    peer.name: peer
    for peer in (
        Peer("direct", _direct, kinds=frozenset({Kind.PLAIN})),
        Peer("nginx", nginx),
        Peer("haproxy", haproxy, kinds=frozenset({Kind.PLAIN, Kind.TLS})),
        Peer("envoy", envoy),
        Peer(
            "litellm",
            litellm,
            kinds=frozenset({Kind.PLAIN, Kind.FALLBACK}),
            unix=False,
            lenient=True,
            slow=6.0,
        ),
        Peer("sidecar", variant("plain"), lesson=LESSON),
        Peer("sidecar-log", variant("log"), lesson=LESSON),
        Peer("sidecar-all", variant("all"), lesson=LESSON),
        Peer("sidecar-traced", variant("traced"), lesson=LESSON),
        Peer("sidecar-bare", variant("bare"), lesson=LESSON),
    )
}
