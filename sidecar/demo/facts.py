"""What happens in the demo for programs: one JSON object a line, each with its `event`.

In:      the same as Story gets.
Out:     lines by `say`: `addresses` first, then `phase`, `second`, what the primary's GPU does, and every change of
         state with the fields of the daemon's log; `summary` last.
Units:   seconds, since the load began where the field is `at`; shares are 0.0..1.0.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic

from sidecar.demo.app import Answer
from sidecar.demo.gpu import Died, Event, Gpu, Loading, Serving, Token
from sidecar.demo.opening import Addresses
from sidecar.demo.schedule import LoadPhase
from sidecar.demo.tally import Tally
from sidecar.record import RequestRecord


class Facts:
    """One run of the demo."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._say = say
        self._clock = clock
        self._began: float | None = None
        self._phase = ""
        self._now = Tally()  # of this second
        self._all = Tally()
        self._fallbacks: Counter[str] = Counter()

    def addresses(self, at: Addresses) -> None:
        self._tell("addresses", **at._asdict())

    def begin(self) -> None:
        self._began = self._clock()

    def phase(self, phase: LoadPhase) -> None:
        self._phase = phase.name
        self._tell("phase", phase=phase.name, requests_a_second=round(phase.rate, 3))

    def answered(self, answer: Answer) -> None:
        self._now.add(answer)
        self._all.add(answer)

    def request_finished(self, record: RequestRecord) -> None:
        last = record.attempts[-1] if record.attempts else None
        if self._began is not None and last is not None and last.fallback_from is not None:
            self._fallbacks[last.reason or "unknown"] += 1

    def change(self, fields: Mapping[str, object]) -> None:
        if self._began is not None:
            self._say(json.dumps(fields))

    def gpu(self, event: Event) -> None:
        match event:
            case Died():
                self._tell("gpu_died", lost=len(event.lost))
            case Loading():
                self._tell("gpu_loading")
            case Serving():
                self._tell("gpu_serving")
            case Token():
                pass

    def second(self, gpu: Gpu) -> None:
        tally, self._now = self._now, Tally()
        self._tell(
            "second",
            phase=self._phase,
            **_figures(tally),
            primary={"in_flight": gpu.in_flight, "memory": round(gpu.memory, 3), "is": gpu.phase.value},
        )

    def summary(self, gpu: Gpu) -> None:
        self._tell(
            "summary",
            **_figures(self._all),
            fallbacks=dict(self._fallbacks),
            primary={"most_in_flight": gpu.most_in_flight, "limit": gpu.spec.limit},
        )
        self._began = None  # the daemon's end is no part of the story either

    def _tell(self, event: str, **facts: object) -> None:
        at = None if self._began is None else round(self._clock() - self._began, 3)
        self._say(json.dumps({"event": event, "at": at, **facts}))


def _figures(tally: Tally) -> dict[str, object]:
    return {
        "answered": tally.whole,
        "failed": tally.failed,
        "by_service": dict(tally.by_service),
        "problems": dict(tally.problems),
        "first_packet_p50": tally.quantile(0.5),
        "first_packet_p99": tally.quantile(0.99),
    }
