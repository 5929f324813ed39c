"""What a contender is: something between the load and the upstream, on the contender's core."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.load.driver import Load
from bench.load.process import Process
from bench.load.upstream import Upstream


class Kind(Enum):
    """What is behind the contender."""

    PLAIN = "plain"
    TLS = "tls"
    FALLBACK = "fallback"  # the first service fails every request, the second one answers


def accepts(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Serving:
    """A contender that serves."""

    process: Process | None
    tcp: str
    unix: str | None = None


@dataclass(frozen=True)
class Setting:
    """What a contender finds: the upstream, and where to serve: a port, and a socket in a folder of its own."""

    upstream: Upstream
    kind: Kind
    folder: Path
    port: int

    @property
    def socket(self) -> Path:
        return self.folder / "llm.sock"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.upstream.tls if self.kind is Kind.TLS else self.upstream.answering}"

    def ready(self) -> bool:
        return accepts(self.port)

    def served_by(self, process: Process) -> Serving:
        return Serving(process, f"127.0.0.1:{self.port}", f"unix:{self.socket}")


@dataclass(frozen=True)
class Peer:
    """`lenient`: it writes answers anew, so they are compared by what they say and not byte by byte.
    `lesson`: what it meets before it is measured. `slow`: seconds until 200 streams at once have begun."""

    name: str
    serve: Callable[[Setting], AbstractContextManager[Serving]]
    kinds: frozenset[Kind] = frozenset(Kind)
    unix: bool = True
    lenient: bool = False
    lesson: Load | None = None
    slow: float = 0.0
