"""What a surge is, what is varied about it, and what is noted while it runs.

Units:   seconds since the load began; loads are shares of the primary's capacity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from sidecar.demo.app import Answer
from sidecar.demo.config import PRIMARY
from sidecar.demo.gpu import GpuSpec
from sidecar.demo.llm import Opening

CALM, SURGE, AFTER = 10.0, 40.0, 60.0
CALM_LOAD, SURGE_LOAD = 0.5, 4.0


class Contender(Enum):
    """Who stands between the apps and the services. The values are what the table says."""

    DIRECT = "direct"
    ENVOY = "Envoy"
    ENVOY_IDLE = "Envoy, idle timeout"
    HAPROXY = "HAProxy"
    HAPROXY_MAXCONN = "HAProxy, maxconn known"
    SIDECAR = "sidecar"
    SIDECAR_LIMITED = "sidecar, max_concurrency known"
    SIDECAR_EJECTING = "sidecar, ejection only"


@dataclass(frozen=True, slots=True)
class Case:
    """One run."""

    contender: Contender = Contender.SIDECAR
    sidecars: int = 1
    cancels: bool = True
    opening: Opening = Opening.HEAD
    killed: bool = False  # the primary is, 20 s into the surge
    quick_return: bool = False  # passive health for a primary that restarts by itself, not the reference's
    seed: int = 1

    @property
    def length(self) -> float:
        return CALM + SURGE + AFTER * (1 + self.killed)

    @property
    def name(self) -> str:
        many = f"{self.sidecars} sidecars" if self.sidecars > 1 else self.contender.value
        return many + (", quick return" if self.quick_return else "")


@dataclass(slots=True)
class Asked:
    """One request of an app."""

    at: float
    tokens: int
    answer: Answer | None = None
    ended_at: float = 0.0
    service: str = ""  # that answered; empty: none did

    @property
    def by_primary(self) -> bool:
        return self.service == PRIMARY

    @property
    def whole(self) -> bool:
        return self.answer is not None and not self.answer.problem

    @property
    def broken(self) -> bool:
        """It began with 200 and is garbled, empty or cut: an app may take it for an answer."""
        return self.answer is not None and self.answer.status == 200 and bool(self.answer.problem)

    @property
    def first_packet(self) -> float | None:
        return None if self.answer is None else self.answer.first_packet


class Sample(NamedTuple):
    """The primary at a moment, and what the sidecars think it can bear, together."""

    at: float
    in_flight: int
    memory: float
    limit: float | None


@dataclass(slots=True)
class Notes:
    spec: GpuSpec
    asked: list[Asked] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    died: list[float] = field(default_factory=list)
    returned: list[float] = field(default_factory=list)
    ejected: list[float] = field(default_factory=list)
    missing: str = ""  # why the contender could not be had
