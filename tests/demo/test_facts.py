"""What the demo tells programs; the clock is moved by hand."""

from __future__ import annotations

import json
from typing import Any

from sidecar.demo.app import Answer
from sidecar.demo.facts import Facts
from sidecar.demo.gpu import Died, Gpu, GpuSpec, Token
from sidecar.demo.opening import Addresses
from sidecar.demo.schedule import LoadPhase

from .test_story import EJECTED, rescued

AT = Addresses("/d", "127.0.0.1:1", "/a", "127.0.0.1:2", "127.0.0.1:3")


def test_a_run_is_told_as_facts_from_the_addresses_to_the_summary() -> None:
    lines: list[str] = []
    now = 100.0
    facts, gpu = Facts(lines.append, lambda: now), Gpu(GpuSpec(), now)
    facts.addresses(AT)
    facts.change(EJECTED)  # the start of the daemon is no part of the story
    facts.begin()
    facts.phase(LoadPhase("surge", 8.0, 21.6, "why"))
    facts.answered(Answer(now, "vendor", 1, 0.1, ""))
    facts.answered(Answer(now, "", 0, None, "reset"))
    facts.request_finished(rescued("unhealthy"))
    facts.change(EJECTED)
    facts.gpu(Died((1, 2), 110.0, 120.0))
    facts.gpu(Token(1, 1, last=False))
    now = 101.0
    facts.second(gpu)
    facts.second(gpu)
    facts.summary(gpu)
    facts.change({"event": "stopped"})
    told: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [one["event"] for one in told] == [
        "addresses",
        "phase",
        "endpoint_ejected",
        "gpu_died",
        "second",
        "second",
        "summary",
    ]
    addresses, phase, ejected, died, second, quiet, summary = told
    assert (addresses["ops"], addresses["at"]) == ("127.0.0.1:3", None)
    assert (phase["phase"], phase["requests_a_second"], phase["at"]) == ("surge", 21.6, 0.0)
    assert ejected == EJECTED
    assert died["lost"] == 2
    assert (second["at"], second["answered"], second["failed"]) == (1.0, 1, 1)
    assert (second["by_service"], second["problems"]) == ({"vendor": 1}, {"reset": 1})
    assert (second["first_packet_p50"], quiet["first_packet_p50"], quiet["answered"]) == (0.1, None, 0)
    assert (summary["answered"], summary["fallbacks"]) == (1, {"unhealthy": 1})
