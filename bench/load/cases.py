"""What is measured, and on whom.

Every case is one Load on each of its contenders in turn, round after round. `unit` is what CPU is counted by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.load.driver import Load
from bench.load.peers import Kind

PROXIES = ("direct", "nginx", "haproxy", "envoy", "sidecar")
EVERYBODY = ("direct", "nginx", "haproxy", "envoy", "litellm", "sidecar", "sidecar-log", "sidecar-all")
MIB, KIB = 1024 * 1024, 1024


@dataclass(frozen=True)
class Case:
    name: str
    what: str
    load: Load
    peers: tuple[str, ...] = PROXIES
    kind: Kind = Kind.PLAIN
    unix: bool = False
    quick: bool = False  # part of a quick run, too

    @property
    def unit(self) -> str:
        return "chunk" if self.load.stream else "request"


def _over_unix(case: Case) -> Case:
    peers = tuple(name for name in PROXIES if name != "direct")
    return replace(
        case,
        name=f"{case.name}-unix",
        what=f"{case.what}, over the Unix socket",
        peers=peers,
        unix=True,
        quick=False,
    )


JSON64 = Load(connections=64)
STREAMS = Load(connections=200, stream=True, interval=20_000)

_BOTH_WAYS = (
    Case("json64", "small JSON, 64 connections", JSON64, (*EVERYBODY, "sidecar-traced"), quick=True),
    Case("json16", "small JSON, 16 connections", Load(connections=16)),
    Case("json1", "small JSON, 1 connection", Load(connections=1)),
    Case("sse200", "200 streams, an event every 20 ms each", STREAMS, EVERYBODY, quick=True),
    Case(
        "flood200",
        "200 streams, an event every 2 ms each: more than one core can do",
        replace(STREAMS, interval=2_000),
    ),
    Case("mib", "1 MiB in, 64 KiB out, 16 connections", Load(connections=16, body=MIB, answer=64 * KIB)),
    Case(
        "rate2000", "small JSON, 2000 a second at random moments", Load(connections=64, rate=2000), quick=True
    ),
)
CASES = {
    case.name: case
    for case in (
        *_BOTH_WAYS,
        *map(_over_unix, _BOTH_WAYS),
        Case("heads64", "as json64, no two heads alike", replace(JSON64, unique=True)),
        Case("tls64", "as json64, TLS to the upstream", JSON64, kind=Kind.TLS),
        Case(
            "fallback64",
            "as json64, the first service answers 503 every time",
            JSON64,
            ("nginx", "envoy", "litellm", "sidecar", "sidecar-log"),
            kind=Kind.FALLBACK,
        ),
    )
}
