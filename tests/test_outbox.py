"""What is written in one turn of the loop goes out at its end, in order, whatever becomes of one connection."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sidecar.outbox import LARGE, Outbox, Turn
from tests.daemon.loop import run


class Writes(asyncio.Transport):
    """Remembers each write, in the order of all that share a list."""

    def __init__(self, order: list[tuple[str, bytes]], name: str = "one") -> None:
        super().__init__()
        self.order = order
        self.name = name
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closing:
            raise RuntimeError("the handle is closed")
        self.order.append((self.name, bytes(data)))

    def is_closing(self) -> bool:
        return self.closing


class Broken(Writes):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise RuntimeError("out of order")

    def abort(self) -> None:
        self.order.append((self.name, b"aborted"))


def test_nothing_is_written_before_the_turn_ends_and_then_everything_in_one() -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        outbox = Outbox(Turn(asyncio.get_running_loop()), Writes(order))
        outbox.send(b"a")
        outbox.send(b"")
        outbox.send(b"b")
        assert (order, outbox.unsent) == ([], b"ab")
        await asyncio.sleep(0)
        assert (order, outbox.unsent) == ([("one", b"ab")], None)
        outbox.send(b"c")
        await asyncio.sleep(0)
        assert order[1:] == [("one", b"c")]

    run(test())


def test_connections_are_written_to_in_the_order_they_came() -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        turn = Turn(asyncio.get_running_loop())
        outboxes = {name: Outbox(turn, Writes(order, name)) for name in ("first", "second", "third")}
        for name in ("second", "first", "third", "second"):
            outboxes[name].send(name.encode())
        await asyncio.sleep(0)
        assert order == [("second", b"secondsecond"), ("first", b"first"), ("third", b"third")]

    run(test())


def test_what_is_large_goes_at_once_behind_what_was_kept() -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        outbox = Outbox(Turn(asyncio.get_running_loop()), Writes(order))
        outbox.send(b"head")
        outbox.send(b"x" * LARGE)
        assert [data[:4] for _, data in order] == [b"head", b"xxxx"]
        outbox.send(b"tail")
        await asyncio.sleep(0)
        assert order[2:] == [("one", b"tail")]

    run(test())


def test_less_than_large_is_kept_however_often_one_sends() -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        outbox = Outbox(Turn(asyncio.get_running_loop()), Writes(order))
        piece = b"x" * (LARGE // 3)
        for _ in range(100):
            outbox.send(piece)
            assert outbox.unsent is None or len(outbox.unsent) < LARGE
        await asyncio.sleep(0)
        assert b"".join(data for _, data in order) == piece * 100

    run(test())


def test_a_flush_leaves_nothing_for_the_end_of_the_turn() -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        outbox = Outbox(Turn(asyncio.get_running_loop()), Writes(order))
        outbox.send(b"bye")
        outbox.flush()
        assert order == [("one", b"bye")]
        await asyncio.sleep(0)
        assert order == [("one", b"bye")]

    run(test())


def test_a_connection_that_has_ended_gets_nothing_and_costs_nothing() -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        turn = Turn(asyncio.get_running_loop())
        gone, there = Writes(order, "gone"), Writes(order, "there")
        for transport in (gone, there):
            Outbox(turn, transport).send(b"a")
        gone.closing = True
        await asyncio.sleep(0)
        assert order == [("there", b"a")]

    run(test())


def test_one_write_that_fails_ends_its_connection_and_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        order: list[tuple[str, bytes]] = []
        turn = Turn(asyncio.get_running_loop())
        for transport in (Writes(order, "before"), Broken(order, "broken"), Writes(order, "behind")):
            Outbox(turn, transport).send(b"a")
        await asyncio.sleep(0)
        assert order == [("before", b"a"), ("broken", b"aborted"), ("behind", b"a")]
        Outbox(turn, Writes(order, "next turn")).send(b"a")
        await asyncio.sleep(0)
        assert order[3:] == [("next turn", b"a")]

    with caplog.at_level(logging.ERROR):
        run(test())
    assert [record.message for record in caplog.records] == ["a write failed"]
