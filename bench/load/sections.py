"""Everything `make bench` can measure, by name, in the order in which it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.load import calls, late, standing, startup
from bench.load.cases import CASES, Case
from bench.load.figures import figures
from bench.load.peers import PEERS
from bench.load.rounds import Field, Told, play
from bench.load.tables import case_table

SMALL = {"sidecar-bare", "sidecar", "sidecar-all", "haproxy"}  # whose size and start-up a quick run looks at


@dataclass(frozen=True)
class Options:
    peers: list[str] | None  # None: those of each section
    rounds: int
    seconds: float
    quick: bool

    def of(self, usual: tuple[str, ...]) -> list[str]:
        return list(usual) if self.peers is None else [name for name in self.peers if name in PEERS]


@dataclass(frozen=True)
class Section:
    run: Callable[[Field, Options, Told], dict[str, Any]]
    show: Callable[[dict[str, Any]], str]
    quick: bool


def _of_case(case: Case) -> Section:
    def run(at: Field, options: Options, told: Told) -> dict[str, Any]:
        names = [
            name
            for name in options.of(case.peers)
            if case.kind in PEERS[name].kinds and (PEERS[name].unix or not case.unix)
        ]
        return figures(case, play(at, case, names, options.rounds, options.seconds, told))

    return Section(run, lambda found: case_table(case.name, found), case.quick)


def _small(names: tuple[str, ...], options: Options) -> list[str]:
    return [name for name in options.of(names) if name in names and (not options.quick or name in SMALL)]


def _startup(at: Field, options: Options, told: Told) -> dict[str, Any]:
    return startup.startup(_small(startup.STARTED, options), options.rounds, told)


def _standing(at: Field, options: Options, told: Told) -> dict[str, Any]:
    names = _small(standing.STANDING, options)
    return standing.standing(names, told, idle_seconds=2.0 if options.quick else 6.0, hour=not options.quick)


def _late(at: Field, options: Options, told: Told) -> dict[str, Any]:
    return late.late(4.0 if options.quick else 20.0, told)


def _calls(at: Field, options: Options, told: Told) -> dict[str, Any]:
    return calls.calls(
        at, options.of(("sidecar",) if options.quick else ("haproxy", "sidecar", "sidecar-log")), told
    )


SECTIONS = {
    **{name: _of_case(case) for name, case in CASES.items()},
    "startup": Section(_startup, startup.show, quick=True),
    "standing": Section(_standing, standing.show, quick=True),
    "late": Section(_late, late.show, quick=True),
    "calls": Section(_calls, calls.show, quick=True),
}
