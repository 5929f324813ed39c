"""The loop rests where many streams run, and nowhere else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest

from sidecar.outbox import Outbox, Turn
from sidecar.pace import OFTEN, PACE, WINDOW, Pace
from tests.daemon.loop import run
from tests.test_outbox import Writes


class Rests:
    """A clock that only moves by what is slept, and by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def turn(self) -> Turn:
        return Turn(asyncio.get_running_loop(), Pace(lambda: self.now, self._sleep))

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def pass_on(outboxes: Sequence[Outbox], rests: Rests, seconds: float, turns: int) -> None:
    """A piece for each in every turn, and a turn every so many seconds, however long the rests between."""
    for _ in range(turns):
        due = rests.now + seconds
        for outbox in outboxes:
            outbox.pass_on(b"piece")
        await asyncio.sleep(0)
        rests.now = max(rests.now, due)


def test_turns_that_pass_many_pieces_on_come_once_in_a_pace() -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        rests = Rests()
        turn = rests.turn()
        outboxes = [Outbox(turn, Writes(order)) for _ in range(4)]
        await pass_on(outboxes, rests, PACE, int(2.5 * WINDOW / PACE))
        order.clear()
        rests.slept.clear()
        for passed in (PACE / 4, PACE / 2, 2 * PACE, 0.0):
            rests.now += passed
            await pass_on(outboxes[:1], rests, 0.0, 1)
        assert order == [("one", b"piece")] * 4  # each written before the rest
        assert rests.slept == pytest.approx([PACE / 2, PACE])

    run(test())


def test_fewer_pieces_meet_no_rest_and_many_only_while_they_are_many() -> None:
    async def test() -> None:
        rests = Rests()
        outboxes = [Outbox(rests.turn(), Writes([]))]
        seldom, often = 1.1 / OFTEN, 0.9 / OFTEN
        await pass_on(outboxes, rests, seldom, int(10 * WINDOW / seldom))
        assert rests.slept == []
        await pass_on(outboxes, rests, often, int(2 * WINDOW / often))
        assert rests.slept
        await pass_on(outboxes, rests, seldom, int(2 * WINDOW / seldom))
        rests.slept.clear()
        await pass_on(outboxes, rests, seldom, int(10 * WINDOW / seldom))
        assert rests.slept == []

    run(test())


def test_nothing_rests_behind_what_somebody_needs_to_go_on() -> None:
    async def test() -> None:
        rests = Rests()
        turn = rests.turn()
        streams = [Outbox(turn, Writes([])) for _ in range(4)]
        await pass_on(streams, rests, 1.01 * PACE, int(3 * WINDOW / PACE))
        assert len(rests.slept) == 0  # a turn a pace needs none
        await pass_on(streams, rests, 0.0, 3)
        assert len(rests.slept) == 2
        other = Outbox(turn, Writes([]))
        for _ in range(3):
            other.send(b"answer")
            await pass_on(streams, rests, 0.0, 1)
        assert len(rests.slept) == 2
        await pass_on(streams, rests, 0.0, 1)  # the next turn is again one of streams alone
        assert len(rests.slept) == 3

    run(test())


def test_a_turn_that_takes_long_itself_is_not_followed_by_a_rest() -> None:
    async def test() -> None:
        rests = Rests()

        class Slow(Writes):
            def write(self, data: bytes | bytearray | memoryview) -> None:
                rests.now += PACE / 4

        turn = rests.turn()
        await pass_on([Outbox(turn, Slow([])) for _ in range(4)], rests, 0.0, int(3 * WINDOW / PACE))
        assert rests.slept == []

    run(test())


def test_what_was_read_is_with_the_app_before_the_rest() -> None:
    """Over a real transport: the loop's own writes must not be put off until the turn is over."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        ours, app = socket.socketpair()
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=ours)
        app.setblocking(False)
        rests, seen = Rests(), list[bytes]()

        def sleep(seconds: float) -> None:
            seen.append(app.recv(10_000))
            rests.now += seconds

        outbox = Outbox(Turn(loop, Pace(lambda: rests.now, sleep)), transport)
        try:
            for number in range(100):
                outbox.pass_on(b"%d\n" % number)
                await asyncio.sleep(0)
                if number == 80:  # so many in one window are often
                    rests.now += 1.01 * WINDOW
        finally:
            transport.abort()
            app.close()
            await asyncio.sleep(0)
        assert len(seen) > 10
        assert seen[1:] == [b"%d\n" % number for number in range(100 - len(seen) + 1, 100)]

    run(test())
