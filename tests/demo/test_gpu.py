"""The model of a GPU: scripts with invented time. Most run on two slots, where a job that is alone gives its
first token after 1 s and another each second, and half as fast when both slots are busy."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from sidecar.demo.gpu import Died, Event, Gpu, GpuSpec, Loading, Phase, Serving, Token

TWO_SLOTS = GpuSpec(
    slots=2,
    capacity=1 / 3,
    usual_tokens=3,
    prefill=1.0,
    slowdown=1.0,
    limit=6,
    weights=0.5,
    down=4,
    loading=8,
)


class Script:
    """What happens on the left, what is told on the right; silence has to be expected too."""

    def __init__(self, spec: GpuSpec = TWO_SLOTS) -> None:
        self.gpu = Gpu(spec, 0.0)
        self._told: list[Event] = []

    def submit(self, now: float, job: int, tokens: int) -> Script:
        self._told = self.gpu.submit(job, tokens, now)
        return self

    def hang_up(self, now: float, job: int) -> Script:
        self._told = self.gpu.hang_up(job, now)
        return self

    def deadline(self, expected: float) -> Script:
        due = self.gpu.next_deadline()
        assert due == pytest.approx(expected)
        assert due is not None
        self._told = self.gpu.advance(due)
        return self

    def tells(self, *events: Event) -> Script:
        assert self._told == list(events)
        return self

    def rests(self) -> None:
        assert self.gpu.next_deadline() is None


def test_a_job_that_is_alone_is_computed_at_full_speed() -> None:
    """The baseline that all slowness is measured against."""
    (
        Script()
        .submit(0, job=1, tokens=3).tells()
        .deadline(1).tells(Token(1, 1, last=False))
        .deadline(2).tells(Token(1, 2, last=False))
        .deadline(3).tells(Token(1, 3, last=True))
        .rests()
    )  # fmt: skip


def test_jobs_slow_each_other_down_from_the_moment_they_meet() -> None:
    """Continuous batching: what was done alone stays done, the rest takes twice as long."""
    (
        Script()
        .submit(0, job=1, tokens=1).tells()
        .submit(0.5, job=2, tokens=1).tells()
        .deadline(1.5).tells(Token(1, 1, last=True))  # half a second alone, the other half at half speed
        .deadline(2.0).tells(Token(2, 1, last=True))  # one second at half speed, the rest alone
        .rests()
    )  # fmt: skip


def test_who_finds_no_free_slot_waits_in_the_order_of_arrival() -> None:
    """Its first token comes late: this is the sign that the sidecar watches for."""
    (
        Script()
        .submit(0, job=1, tokens=1).tells()
        .submit(0, job=2, tokens=2).tells()
        .submit(0, job=3, tokens=1).tells()
        .submit(0, job=4, tokens=1).tells()
        .deadline(2).tells(Token(1, 1, last=True), Token(2, 1, last=False))
        .deadline(4).tells(Token(2, 2, last=True), Token(3, 1, last=True))
        .deadline(5).tells(Token(4, 1, last=True))
        .rests()
    )  # fmt: skip


def test_a_caller_that_hangs_up_gives_its_slot_to_the_next() -> None:
    """Cancelling what was given up is what lets an overloaded server recover."""
    (
        Script()
        .submit(0, job=1, tokens=9).tells()
        .submit(0, job=2, tokens=9).tells()
        .submit(0, job=3, tokens=1).tells()
        .hang_up(1, job=1).tells()
        .hang_up(1, job=2).tells()
        .deadline(2).tells(Token(3, 1, last=True))
        .rests()
    )  # fmt: skip


def test_a_server_that_does_not_cancel_computes_for_nobody() -> None:
    """Some do: then a request that was given up still costs a slot and memory."""
    script = Script(replace(TWO_SLOTS, cancels=False)).submit(0, job=1, tokens=1).hang_up(0.5, job=1).tells()
    assert script.gpu.in_flight == 1
    script.deadline(1).tells(Token(1, 1, last=True)).rests()


def test_the_job_that_fills_the_memory_kills_the_server_and_all_jobs() -> None:
    """Out of memory takes everybody along, those in the queue too; then nothing, then loading, then service."""
    script = Script()
    for job in range(1, 6):
        script.submit(0, job, tokens=5).tells()
    script.submit(0.5, job=6, tokens=5).tells(Died((1, 2, 3, 4, 5, 6), loading_at=4.5, serving_at=12.5))
    assert (script.gpu.phase, script.gpu.in_flight, script.gpu.memory) == (Phase.DOWN, 0, 0.0)
    script.deadline(4.5).tells(Loading(serving_at=12.5))
    assert (script.gpu.phase, script.gpu.memory) == (Phase.LOADING, 0.5)
    script.deadline(12.5).tells(Serving()).rests()
    script.submit(13, job=7, tokens=1).tells().deadline(14).tells(Token(7, 1, last=True)).rests()
    assert (script.gpu.deaths, script.gpu.most_in_flight) == (1, 6)


def test_a_job_for_a_server_that_is_down_is_a_mistake() -> None:
    """Whoever owns the sockets has refused it already."""
    gpu = Gpu(replace(TWO_SLOTS, limit=1), 0.0)
    gpu.submit(1, 1, now=0.0)
    with pytest.raises(AssertionError, match="down"):
        gpu.submit(2, 1, now=1.0)


def test_memory_is_filled_by_the_weights_and_by_every_job_in_flight() -> None:
    """The line that the demo shows climbing during a surge."""
    gpu = Gpu(TWO_SLOTS, 0.0)
    seen = [gpu.memory]
    for job in range(3):
        gpu.submit(job, 1, now=0.0)
        seen.append(gpu.memory)
    assert seen == pytest.approx([0.5, 0.5 + 0.5 / 6, 0.5 + 1.0 / 6, 0.75])


def test_the_usual_server_finishes_as_many_answers_as_its_capacity_says() -> None:
    """5.4 a second is the figure of the surge experiment; all others follow from it."""
    gpu, now = Gpu(GpuSpec(), 0.0), 0.0
    for job in range(10_000):
        gpu.submit(job, 24, now)
        while gpu.queued > 5:
            due = gpu.next_deadline()
            assert due is not None
            now = due
            gpu.advance(now)
        if now > 100:
            break
    assert gpu.finished / now == pytest.approx(5.4, rel=0.03)
    assert gpu.slot_seconds / (10 * now) == pytest.approx(1.0, rel=0.02)


def test_the_usual_server_is_in_time_until_its_slots_are_full_and_late_from_then_on() -> None:
    """Lateness over 200 ms means a queue: what the reference scenario takes it for."""
    gpu = Gpu(GpuSpec(), 0.0)
    for job in range(11):
        gpu.submit(job, 24, now=0.0)
    firsts = [event.job for event in gpu.advance(0.2) if isinstance(event, Token) and event.number == 1]
    assert firsts == list(range(10))


@pytest.mark.parametrize("seed", range(20))
def test_it_does_not_matter_how_often_one_looks(seed: int) -> None:
    """A timer that is late, or one that fires for nothing, must not change the story."""
    scene = _scene(Random(seed))
    assert _watch(scene, looks=[]) == _watch(
        scene, looks=sorted(Random(seed).uniform(0, 60) for _ in range(300))
    )


@pytest.mark.parametrize("seed", range(20))
def test_at_a_deadline_there_is_something_to_tell(seed: int) -> None:
    """Or a driver that arms its timer anew would spin."""
    rng, gpu, now = Random(seed), Gpu(TWO_SLOTS, 0.0), 0.0
    for job in range(200):
        now += rng.expovariate(0.5)
        while (due := gpu.next_deadline()) is not None and due <= now:
            assert gpu.advance(due)
        if gpu.phase is Phase.SERVING:
            gpu.submit(job, rng.randint(1, 5), now)
            if rng.random() < 0.2:
                gpu.hang_up(job, now)
    assert gpu.finished > 20


def _scene(rng: Random) -> list[tuple[float, int, int]]:
    """Moments, jobs, tokens."""
    moments = sorted(rng.uniform(0, 40) for _ in range(15))
    return [(at, job, rng.randint(1, 4)) for job, at in enumerate(moments)]


def _watch(scene: list[tuple[float, int, int]], looks: list[float]) -> list[Event]:
    gpu, told = Gpu(replace(TWO_SLOTS, limit=100), 0.0), list[Event]()
    for at, job, tokens in sorted([*scene, *((look, -1, 0) for look in looks)]):
        told += gpu.advance(at) if job < 0 else gpu.submit(job, tokens, at)
    return told + gpu.advance(1000.0)
