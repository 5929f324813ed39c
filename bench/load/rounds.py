"""Rounds: every contender of a case once, then again, so that a mood of the machine meets them all.

In:      a case, and a Field that starts each contender when it is first asked for and keeps it until the end.
Out:     the samples of each contender, by round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load.cases import Case
from bench.load.driver import Sample, drive
from bench.load.peers import PEERS, Kind, Serving, Setting
from bench.load.tools import free_ports
from bench.load.upstream import Upstream, tls_before, upstream

Samples = dict[str, list[Sample]]
Told = Callable[[str], None]  # what is going on


class Field:
    """One upstream, and the contenders in front of it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder
        self.upstream: Upstream = stack.enter_context(upstream(folder))
        self._serving: dict[tuple[str, Kind], Serving] = {}
        self._tls = False
        self._settings = 0

    def serving(self, name: str, kind: Kind) -> Serving:
        """A contender; all others rest, for one that has not noticed that its apps are gone would take the core."""
        self.rest()
        key = name, kind
        serving = self._serving.get(key)
        if serving is None:
            peer = PEERS[name]
            self._serving[key] = serving = self._stack.enter_context(peer.serve(self.setting(name, kind)))
            if serving.process is not None:
                self._stack.callback(serving.process.wake)  # or it could not be told to end
            if peer.lesson is not None:
                drive(peer.lesson, serving.tcp, serving.process)
        elif serving.process is not None:
            serving.process.wake()
        return serving

    def rest(self) -> None:
        """Every contender."""
        for serving in self._serving.values():
            if serving.process is not None:
                serving.process.rest()

    def setting(self, name: str, kind: Kind) -> Setting:
        """An empty folder and the upstream of that kind."""
        if kind is Kind.TLS and not self._tls:
            self._stack.enter_context(tls_before(self.upstream))
            self._tls = True
        self._settings += 1
        folder = self.folder / f"{self._settings}-{name}-{kind.value}"
        folder.mkdir()
        (port,) = free_ports(1)
        return Setting(self.upstream, kind, folder, port)


@contextmanager
def field() -> Iterator[Field]:
    with TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)  # nginx's worker is somebody else
        yield Field(stack, Path(folder))


def play(at: Field, case: Case, names: list[str], rounds: int, seconds: float, told: Told) -> Samples:
    samples: Samples = {name: [] for name in names}
    load = case.load.lasting(seconds)
    for number in range(rounds):
        for name in names:
            serving = at.serving(name, case.kind)
            to = serving.unix if case.unix else serving.tcp
            assert to is not None
            told(f"{case.name}: round {number + 1} of {rounds}, {name}")
            asked = replace(load, warm=PEERS[name].slow) if load.stream and PEERS[name].slow else load
            samples[name].append(drive(asked, to, serving.process, lenient=PEERS[name].lenient))
    at.rest()
    return samples
