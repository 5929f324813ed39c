"""What the demo tells, line by line; the clock is moved by hand."""

from __future__ import annotations

from sidecar.demo.app import Answer
from sidecar.demo.gpu import Died, Gpu, GpuSpec, Loading, Serving
from sidecar.demo.schedule import LoadPhase
from sidecar.demo.story import Story
from sidecar.failure import Failure, FailureKind
from sidecar.record import AttemptRecord, RequestRecord

SELF, VENDOR = "self-hosted", "vendor"
EJECTED = {
    "time": "2026-01-31T12:00:00.000Z",
    "event": "endpoint_ejected",
    "service": SELF,
    "endpoint": "127.0.0.1:8000",
    "reason": "failure_percentage",
    "failure_percentage": 62.5,
    "requests": 16,
    "ejection_multiplier": 2,
    "until": "2026-01-31T12:00:10.500Z",
    "enforced": True,
}


class Stage:
    """A story that has begun at 100 s, its lines, and a GPU that rests."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        self.gpu = Gpu(GpuSpec(), self.now)
        self.story = Story(self.lines.append, lambda text, _: text, lambda: self.now)
        self.story.begin()

    def answered(self, service: str, count: int = 1) -> None:
        for _ in range(count):
            self.story.answered(Answer(self.now, service, 1, 0.1, ""))

    def second(self) -> str:
        """Its line; what else it made the story tell is left in `lines`."""
        self.now += 1.0
        self.lines.clear()
        self.story.second(self.gpu)
        return self.lines.pop(0)

    def change(self, event: str, **fields: object) -> str:
        self.lines.clear()
        self.story.change({"event": event, "service": SELF, **fields})
        return "\n".join(self.lines)


def rescued(reason: str) -> RequestRecord:
    """A request that the vendor answered."""
    record = RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0)
    attempt = AttemptRecord(2, VENDOR, "127.0.0.1:8001", b"%016x" % 2, 0.2, reason)
    attempt.fallback_from = SELF
    record.attempts.append(attempt)
    return record


def test_a_phase_tells_its_rate_and_names_the_columns() -> None:
    """A reader who joins later finds them again."""
    stage = Stage()
    stage.story.phase(LoadPhase("surge", 8.0, 21.6, "4 times what the primary can do"))
    assert stage.lines[0] == "   0.0s  SURGE: 21.6 requests a second: 4 times what the primary can do"
    assert stage.lines[1].split()[:4] == ["time", "load", "ok", "failed"]


def test_each_second_has_a_line_of_its_own_answers() -> None:
    """Shares, times, and what the primary's GPU has to bear."""
    stage = Stage()
    stage.story.phase(LoadPhase("calm", 5.0, 2.7))
    stage.gpu.submit(1, 24, stage.now)
    stage.answered(SELF, 1)
    stage.answered(VENDOR, 3)
    assert " ".join(stage.second().split()) == "1s calm 4 0 25% 75% 100 ms / 100 ms 1 60% in rotation"
    assert stage.second().split()[:6] == ["2s", "calm", "0", "0", "-", "-"]


def test_a_line_is_under_its_columns() -> None:
    """Or nobody can read it."""
    stage = Stage()
    stage.story.phase(LoadPhase("calm", 5.0, 2.7))
    columns = stage.lines[1]
    stage.answered(SELF)
    line = stage.second()
    assert line[: columns.index("  state")].endswith("%")
    assert line[: columns.index("  first packet")].endswith("0%")
    assert line[: columns.index("  vendor")].endswith("100%")


def test_failures_are_told_once_a_second_with_their_number() -> None:
    """Ten cut streams are one piece of news."""
    stage = Stage()
    for _ in range(10):
        stage.story.answered(Answer(stage.now, SELF, 1, None, "the answer is cut"))
    assert stage.second().split()[2] == "10"
    assert stage.lines == ["   1.0s  FAILED: 10 times: the answer is cut"]


def test_an_ejection_is_told_with_its_length_reason_and_k() -> None:
    """All that an operator asks first."""
    told = Stage().change(**EJECTED)  # type: ignore[arg-type]
    assert "EJECTED: self-hosted (127.0.0.1:8000) for 10.5 s, until " in told
    assert "too many failures; 62.5 % of 16 requests failed, k=2" in told


def test_a_manual_ejection_has_no_end() -> None:
    """A spectator may try `sidecar eject`."""
    told = Stage().change(**{**EJECTED, "reason": "manual", "until": None})  # type: ignore[arg-type]
    assert "until it is restored: manual" in told


def test_the_way_back_is_told_step_by_step() -> None:
    """Probation, return, and the first second that the primary serves alone."""
    stage = Stage()
    stage.change(**EJECTED)  # type: ignore[arg-type]
    stage.change("service_unavailable", reason="ejected")
    stage.answered(SELF)
    stage.answered(VENDOR)
    assert stage.second().endswith("ejected")
    assert stage.lines == []
    stage.answered(VENDOR)
    stage.second()
    assert "FALLBACK: vendor answers everything" in stage.lines[0]
    assert "1 request to prove itself" in stage.change("endpoint_probation", requests=1)
    assert stage.second().endswith("on probation")
    assert "RETURNED: self-hosted: it passed its probation" in stage.change(
        "endpoint_returned", reason="probation_passed"
    )
    stage.change("service_recovered")
    stage.answered(SELF)
    assert stage.second().endswith("growing share")
    assert "RECOVERED: self-hosted answers everything again" in stage.lines[0]
    assert stage.second().endswith("in rotation")


def test_a_reason_of_fallback_is_told_once_a_phase() -> None:
    """A line for each of a thousand requests would bury the story."""
    stage = Stage()
    for _ in range(3):
        stage.story.request_finished(rescued("first_packet_timeout"))
    assert stage.lines == [
        "   0.0s  fallback: vendor answered for self-hosted: no first packet within 200 ms"
    ]
    stage.story.phase(LoadPhase("calm", 5.0, 2.7))
    stage.lines.clear()
    stage.story.request_finished(rescued("first_packet_timeout"))
    assert len(stage.lines) == 1


def test_a_request_that_nobody_rescued_is_no_fallback() -> None:
    """It failed in both places, or never left the first."""
    stage = Stage()
    failed = rescued("reset")
    failed.failure = Failure(FailureKind.RESET)
    stage.story.request_finished(failed)
    stage.story.request_finished(RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0))
    assert stage.lines == []


def test_death_and_restart_are_told() -> None:
    """And the state says so for as long as it lasts."""
    stage = Stage()
    for job in range(GpuSpec().limit):
        told = stage.gpu.submit(job, 24, stage.now)
    for event in told:
        stage.story.gpu(event)
    assert any("DEAD: self-hosted is out of memory; 86 requests lost" in line for line in stage.lines)
    assert stage.second().endswith("0%  in rotation, down")
    stage.story.gpu(Loading(150.0))
    stage.story.gpu(Serving())
    assert "loads its weights" in stage.lines[0]
    assert "can serve again" in stage.lines[1]


def test_what_happened_before_the_load_is_no_part_of_the_story() -> None:
    """The daemon's start changes states too."""
    lines: list[str] = []
    story = Story(lines.append, lambda text, _: text)
    story.change({"event": "policy_applied", "generation": 1})
    story.request_finished(rescued("unhealthy"))
    assert lines == []


def test_the_summary_adds_everything_up() -> None:
    """Requests, who answered, how fast, why elsewhere, what the primary went through."""
    stage = Stage()
    stage.answered(SELF, 3)
    stage.second()
    stage.answered(VENDOR, 1)
    stage.story.request_finished(rescued("unhealthy"))
    stage.change(**EJECTED)  # type: ignore[arg-type]
    stage.story.gpu(Died((1, 2), 0.0, 0.0))
    stage.lines.clear()
    stage.story.summary(stage.gpu)
    assert stage.lines[1:] == [
        "Summary of 1 s",
        "  requests      4: 4 answered whole, 0 failed",
        "  answered by   self-hosted 3, vendor 1",
        "  first packet  p50 100 ms, p99 100 ms",
        "  fallbacks     1: not in rotation 1",
        "  self-hosted   ejected once, died once; at most 0 requests in flight (86 kill it)",
    ]
