"""The stream: its numbers, its snapshot, its gaps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmsidecar.v1 import health_pb2 as pb

from sidecar.admin.facts import Clock
from sidecar.admin.hub import EventHub
from sidecar.failure import Failure, FailureKind
from sidecar.health.events import EndpointAdded, ProbeChanged, Returned, ServiceRecovered
from sidecar.policy.problems import Problem
from sidecar.record import AttemptRecord, RequestRecord
from tests.admin.parts import A, B, HandClock, run, take

Watch = AsyncGenerator[pb.HealthEvent, None]
FIRST = HandClock().wall // 1000  # the number before the first event of such a process


def a_hub(capacity: int = 4096, clock: Clock | None = None) -> EventHub:
    return EventHub(lambda now: [], clock or HandClock().clock(), capacity)


def publish(hub: EventHub, count: int) -> None:
    """Events whose own text is their number, so that a mix-up shows."""
    hub.publish_health([Returned(A, str(hub.sequence + n)) for n in range(1, count + 1)])


def a_request(*attempts: AttemptRecord) -> RequestRecord:
    request = RequestRecord(b"%032x" % 0xABCD, b"%016x" % 1, 1000.0, 0)
    request.attempts.extend(attempts)
    return request


def an_attempt(number: int = 1, fallback_from: str | None = None, reason: str | None = None) -> AttemptRecord:
    attempt = AttemptRecord(number, B.service, B.address, b"%016x" % 1, 1000.0, reason)
    attempt.fallback_from = fallback_from
    attempt.ended_at = 1001.5
    return attempt


def numbers(messages: list[pb.HealthEvent]) -> list[int]:
    return [message.sequence for message in messages]


def types(messages: list[pb.HealthEvent]) -> list[str]:
    return [message.type for message in messages]


def test_a_watch_begins_with_a_snapshot_of_the_newest_number() -> None:
    """A reader must know what it may build on before the first change comes."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub()
        publish(hub, 3)
        hub.policy_applied(9, "file", "")
        watch = hub.watch()
        return await take(watch, 1)

    (first,) = run(story())
    assert (first.type, first.sequence, first.snapshot.policy_generation) == ("snapshot", FIRST + 4, 9)


def test_thousands_of_events_arrive_in_order_without_a_hole() -> None:
    """The reader keeps up here, so nothing at all may be missing."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub()
        watch = hub.watch()
        got = await take(watch, 1)
        for _ in range(50):
            publish(hub, 100)
            got += await take(watch, 100)
        return got

    snapshot, *rest = run(story())
    assert snapshot.sequence == FIRST
    assert numbers(rest) == list(range(FIRST + 1, FIRST + 5001))
    assert all(message.endpoint_returned.reason == str(message.sequence) for message in rest)


def test_a_watch_that_waits_is_woken() -> None:
    """Reading what is there is the easy half."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub()
        watch = hub.watch()
        await anext(watch)
        waiting = asyncio.ensure_future(take(watch, 2))
        await asyncio.sleep(0)
        publish(hub, 1)
        await asyncio.sleep(0)
        publish(hub, 1)
        return await waiting

    assert numbers(run(story())) == [FIRST + 1, FIRST + 2]


def test_resuming_with_a_number_that_is_held_repeats_nothing_and_skips_nothing() -> None:
    """Whoever reconnects in time must not notice that it was away."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub()
        publish(hub, 1000)
        return await take(hub.watch(after_sequence=FIRST + 400), 600)

    got = run(story())
    assert set(types(got)) == {"endpoint_returned"}
    assert numbers(got) == list(range(FIRST + 401, FIRST + 1001))


def test_resuming_with_the_newest_number_waits_for_the_next_event() -> None:
    """Nothing was missed, so nothing is repeated: not even a snapshot."""

    async def story() -> pb.HealthEvent:
        hub = a_hub()
        publish(hub, 5)
        watch = hub.watch(after_sequence=FIRST + 5)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        publish(hub, 1)
        return await waiting

    assert run(story()).sequence == FIRST + 6


def test_what_is_no_longer_held_is_told_as_a_gap_then_the_rest_then_a_snapshot() -> None:
    """The gap names exactly what is gone; the snapshot makes the reader's state right again."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub(capacity=100)
        publish(hub, 1000)
        return await take(hub.watch(after_sequence=FIRST + 10), 102)

    gap, *held, snapshot = run(story())
    assert (gap.gap.first_missed, gap.gap.last_missed) == (FIRST + 11, FIRST + 900)
    assert gap.sequence == FIRST + 900
    assert numbers(held) == list(range(FIRST + 901, FIRST + 1001))
    assert (snapshot.type, snapshot.sequence) == ("snapshot", FIRST + 1000)


def test_a_reader_that_is_overrun_is_told_what_it_missed_and_costs_no_memory() -> None:
    """A stalled watcher must harm neither the data path nor itself."""

    async def story() -> tuple[list[pb.HealthEvent], int, int]:
        hub = a_hub(capacity=100)
        watch = hub.watch()
        await anext(watch)
        publish(hub, 10)
        got = await take(watch, 1)
        publish(hub, 20_000)
        got += await take(watch, 9 + 1 + 100 + 1)
        return got, len(hub._events._entries), hub.missed

    got, held, missed = run(story())
    assert missed == 19_900
    assert numbers(got[:10]) == list(range(FIRST + 1, FIRST + 11))  # what it had already in hand
    assert (got[10].gap.first_missed, got[10].gap.last_missed) == (FIRST + 11, FIRST + 19_910)
    assert numbers(got[11:-1]) == list(range(FIRST + 19_911, FIRST + 20_011))
    assert got[-1].type == "snapshot"
    assert held == 100


def test_numbers_go_on_growing_over_a_restart_and_an_old_number_yields_a_gap() -> None:
    """A client that resumes at the next process must not take its first events for ones it has seen."""
    hands = HandClock()

    async def story() -> tuple[int, list[pb.HealthEvent], int]:
        before = a_hub(clock=hands.clock())
        publish(before, 5000)
        hands.pass_by(1.0)
        after = a_hub(clock=hands.clock())
        publish(after, 2)
        return before.sequence, await take(after.watch(after_sequence=before.sequence), 4), after.missed

    old, got, missed = run(story())
    assert missed == 0  # nobody knows how many there were
    start = hands.wall // 1000
    assert types(got) == ["gap", "endpoint_returned", "endpoint_returned", "snapshot"]
    assert (got[0].gap.first_missed, got[0].gap.last_missed) == (old + 1, start)


def test_a_number_from_the_future_gets_a_snapshot() -> None:
    """The wall clock may go back over a restart; such a reader must not wait for numbers that never come."""

    async def story() -> pb.HealthEvent:
        hub = a_hub()
        publish(hub, 1)
        return await anext(hub.watch(after_sequence=FIRST + 10**9))

    assert (event := run(story())).type == "snapshot"
    assert event.sequence == FIRST + 1


def test_a_watcher_of_one_service_gets_that_and_what_concerns_everybody() -> None:
    """Numbers of other services' events are passed over, not renumbered."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub()
        watch = hub.watch(services=[B.service])
        await anext(watch)
        hub.publish_health([EndpointAdded(A), EndpointAdded(B), ServiceRecovered(A.service)])
        hub.request_finished(a_request(an_attempt(fallback_from=A.service, reason="unhealthy")))
        hub.policy_applied(2, "api", "")
        return await take(watch, 3)

    got = run(story())
    assert types(got) == ["endpoint_added", "fallback", "policy_applied"]
    assert numbers(got) == [FIRST + 2, FIRST + 4, FIRST + 5]


def test_every_attempt_that_fell_back_is_one_event_and_a_retry_is_none() -> None:
    """Operators count rescues by these events; a retry in the same service is not one."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub()
        watch = hub.watch()
        await anext(watch)
        hub.request_finished(a_request(an_attempt()))
        retry, rescue = an_attempt(2, None, "reset"), an_attempt(3, A.service, "first_packet_timeout")
        hub.request_finished(a_request(an_attempt(), retry, rescue))
        hub.policy_applied(1, "file", "")
        return await take(watch, 2)

    fallback, marker = run(story())
    assert getattr(fallback.fallback, "from") == A.service
    assert (fallback.fallback.to, fallback.fallback.reason) == (B.service, "first_packet_timeout")
    assert fallback.fallback.trace_id == "0000000000000000000000000000abcd"
    assert marker.type == "policy_applied"


def test_attempts_reach_only_those_who_asked_and_make_no_hole_for_others() -> None:
    """There may be a thousand a second; a plain watcher must not see a trace of them."""

    async def story() -> tuple[list[pb.HealthEvent], list[pb.HealthEvent]]:
        hub = a_hub()
        plain, curious = hub.watch(), hub.watch(include_attempts=True)
        await anext(plain)
        await anext(curious)
        publish(hub, 1)
        late = an_attempt()
        late.failure = Failure(FailureKind.FIRST_PACKET_TIMEOUT)
        hub.attempts.finished(a_request(), late)
        publish(hub, 1)
        return await take(plain, 2), await take(curious, 3)

    plain, curious = run(story())
    assert numbers(plain) == [FIRST + 1, FIRST + 2]
    assert types(curious) == ["endpoint_returned", "attempt_finished", "endpoint_returned"]
    assert numbers(curious) == [FIRST + 1, FIRST + 1, FIRST + 2]
    assert curious[1].attempt_finished.outcome == "first_packet_timeout"
    assert curious[1].attempt_finished.duration.ToMilliseconds() == 1500


def test_attempts_never_drive_health_events_out_of_the_ring() -> None:
    """An ejection of an hour ago must still be there to resume from after a busy minute."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub(capacity=100)
        curious = hub.watch(include_attempts=True)
        await anext(curious)
        publish(hub, 50)
        for _ in range(1000):
            hub.attempts.finished(a_request(), an_attempt())
        return await take(hub.watch(after_sequence=FIRST), 50)

    assert numbers(run(story())) == list(range(FIRST + 1, FIRST + 51))


def test_attempts_that_a_slow_reader_lost_are_counted() -> None:
    """They have no numbers, so the gap says how many there were."""

    async def story() -> list[pb.HealthEvent]:
        hub = a_hub(capacity=100)
        curious = hub.watch(include_attempts=True)
        await anext(curious)
        for _ in range(250):
            hub.attempts.finished(a_request(), an_attempt())
        return await take(curious, 101)

    gap, *rest = run(story())
    assert (gap.type, gap.gap.attempts_missed, gap.gap.first_missed) == ("gap", 150, 0)
    assert set(types(rest)) == {"attempt_finished"}


def test_nobody_asks_for_attempts_so_none_is_kept() -> None:
    """The data path pays for them only while somebody looks."""

    async def story() -> list[int]:
        hub = a_hub()
        hub.attempts.finished(a_request(), an_attempt())
        kept = [len(hub._attempts._entries)]
        watch = hub.watch(include_attempts=True)
        await anext(watch)
        hub.attempts.finished(a_request(), an_attempt())
        kept.append(len(hub._attempts._entries))
        await watch.aclose()
        hub.attempts.finished(a_request(), an_attempt())
        return [*kept, len(hub._attempts._entries), hub.watchers]

    assert run(story()) == [0, 1, 1, 0]


@pytest.mark.parametrize("reading", [True, False])
def test_closing_ends_every_watch_whether_it_waits_or_reads(reading: bool) -> None:
    """A stop must not wait for a watcher that nobody will ever wake."""

    async def story() -> list[str]:
        hub = a_hub()
        watch = hub.watch()
        await anext(watch)
        rest = asyncio.ensure_future(_all(watch))
        await asyncio.sleep(0)
        if reading:
            publish(hub, 1)
        hub.close()
        return types(await rest) + types(await _all(hub.watch()))

    assert run(story()) in ([], ["endpoint_returned"])


async def _all(watch: Watch) -> list[pb.HealthEvent]:
    return [message async for message in watch]


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 40)),
        st.tuples(st.just("attempts"), st.integers(1, 40)),
        st.tuples(st.just("read"), st.integers(1, 200)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_every_number_is_either_seen_once_in_order_or_named_by_a_gap(
    steps: list[Step],
) -> None:
    """The promise of the stream, for a ring so small that readers are overrun all the time."""
    got, attempts, last = run(_random_story(steps))
    expected = FIRST + 1
    for message in got:
        match message.type:
            case "snapshot":
                assert message.sequence == expected - 1
            case "gap" if message.gap.attempts_missed == 0:
                assert message.gap.first_missed == expected
                expected = message.gap.last_missed + 1
            case "probe_changed":
                assert message.sequence == expected
                expected += 1
    seen = sum(1 for message in got if message.type == "attempt_finished")
    assert expected == last + 1
    assert seen + sum(message.gap.attempts_missed for message in got) == attempts


class Reader:
    """Reads as far as there is something to read; the read that would wait is kept for the next time."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._next: asyncio.Future[pb.HealthEvent] | None = None
        self.got: list[pb.HealthEvent] = []

    async def read(self, count: int) -> None:
        for _ in range(count):
            self._next = self._next or asyncio.ensure_future(anext(self._watch))
            for _ in range(3):  # turns of the loop: to begin, to be woken, to answer
                await asyncio.sleep(0)
            if not self._next.done():
                return
            self.got.append(self._next.result())
            self._next = None


async def _random_story(steps: list[Step]) -> tuple[list[pb.HealthEvent], int, int]:
    hub = a_hub(capacity=30)
    reader, attempts = Reader(hub.watch(include_attempts=True)), 0
    await reader.read(1)
    for what, count in steps:
        match what:
            case "publish":
                hub.publish_health([ProbeChanged(A, True, "")] * count)
            case "attempts":
                attempts += count
                for _ in range(count):
                    hub.attempts.finished(a_request(), an_attempt())
            case _:
                await reader.read(count)
    await reader.read(10_000)
    return reader.got, attempts, hub.sequence


def test_refused_policies_are_counted_by_where_they_came_from() -> None:
    """Nobody reads the answer to a file: the count is what an alert sees. It begins at 0 for each source."""
    hub = a_hub()
    for source in ("file", "api", "file"):
        hub.policy_rejected(source, [Problem("policy.routes", "expected at least one")])
    assert hub.rejections == {"file": 2, "api": 1, "state": 0}
