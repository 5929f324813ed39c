"""Names to addresses: asked again in time, told once a change, and never given up."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

import pytest

from sidecar.terms import TcpAddress
from sidecar.upstream import dns
from sidecar.upstream.dns import Resolver, is_literal, resolve
from tests.daemon.loop import run
from tests.daemon.waiting import until

Answers = dict[str, list[str]]


class Zone(asyncio.SelectorEventLoop):
    """A loop whose system resolver is a table: names to addresses, none to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Answers = {}
        self.asked: list[str] = []

    async def getaddrinfo(self, host, port, **_):  # type: ignore[no-untyped-def]
        self.asked.append(host)
        if ".." in host:
            raise UnicodeError("label empty or too long")
        if not self.names.get(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind, proto = socket.SOCK_STREAM, socket.IPPROTO_TCP
        families = [(socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in self.names[host]]
        return [(family, kind, proto, "", (a, port)) for family, a in families]


class Heard:
    """What a Resolver has told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, list[str]]] = []

    def __call__(self, service: str, addresses: Sequence[TcpAddress]) -> None:
        self.changes.append((service, [str(a) for a in addresses]))

    async def until(self, count: int) -> None:
        await until(lambda: len(self.changes) >= count)


@pytest.fixture
def zone() -> Zone:
    return Zone()


def in_zone(zone: Zone, test) -> None:  # type: ignore[no-untyped-def]
    with asyncio.Runner(loop_factory=lambda: zone) as runner:
        runner.run(test())


def test_addresses_are_told_apart_from_names() -> None:
    assert [is_literal(h) for h in ("127.0.0.1", "::1", "localhost", "1.2.3")] == [True, True, False, False]


def test_localhost_is_resolved_by_the_system() -> None:
    async def test() -> None:
        found = await resolve(asyncio.get_running_loop(), "localhost", 80)
        assert found == (TcpAddress("127.0.0.1", 80),)

    run(test())


def test_a_name_of_both_families_counts_its_ipv4_addresses_in_order(zone: Zone) -> None:
    zone.names = {"both": ["::1", "10.0.0.2", "10.0.0.1"], "six": ["fd00::2"]}

    async def test() -> None:
        assert list(map(str, await resolve(zone, "both", 1))) == ["10.0.0.1:1", "10.0.0.2:1"]
        assert list(map(str, await resolve(zone, "six", 1))) == ["[fd00::2]:1"]

    in_zone(zone, test)


def test_a_change_is_told_and_an_equal_answer_is_not(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "REFRESH", 0.005)
    zone.names = {"llm": ["10.0.0.1"]}

    async def test() -> None:
        heard = Heard()
        resolver = Resolver(zone, heard)
        resolver.watch({"a": TcpAddress("llm", 1)})
        await heard.until(1)
        asked = len(zone.asked)
        await until(lambda: len(zone.asked) >= asked + 3)
        zone.names["llm"] = ["10.0.0.1", "10.0.0.2"]
        await heard.until(2)
        assert heard.changes == [("a", ["10.0.0.1:1"]), ("a", ["10.0.0.1:1", "10.0.0.2:1"])]
        resolver.stop()

    in_zone(zone, test)


@pytest.mark.parametrize("name", ["llm", "a..b"])
def test_a_name_that_fails_is_asked_again_and_keeps_its_last_answer(
    name: str, zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "RETRY", 0.005)
    monkeypatch.setattr(dns, "REFRESH", 0.005)

    async def test() -> None:
        heard = Heard()
        resolver = Resolver(zone, heard)
        resolver.watch({"a": TcpAddress(name, 1)})
        await until(lambda: len(zone.asked) >= 3)
        assert heard.changes == []
        if name == "llm":
            zone.names["llm"] = ["10.0.0.1"]
            await heard.until(1)
            zone.names.clear()
            asked = len(zone.asked)
            await until(lambda: len(zone.asked) >= asked + 3)
            assert heard.changes == [("a", ["10.0.0.1:1"])]
        resolver.stop()

    in_zone(zone, test)


def test_a_listener_that_fails_does_not_end_the_asking(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dns, "REFRESH", 0.005)
    caplog.set_level(logging.ERROR)
    zone.names = {"llm": ["10.0.0.1"]}

    async def test() -> None:
        heard = Heard()

        def changed(service: str, addresses: Sequence[TcpAddress]) -> None:
            heard(service, addresses)
            if len(heard.changes) == 1:
                raise ZeroDivisionError

        resolver = Resolver(zone, changed)
        resolver.watch({"a": TcpAddress("llm", 1)})
        await heard.until(1)
        zone.names["llm"] = ["10.0.0.2"]
        await heard.until(2)
        resolver.stop()

    in_zone(zone, test)
    assert "could not be taken over" in caplog.text


def test_a_new_policy_leaves_those_that_stay_alone(zone: Zone) -> None:
    zone.names = {"one": ["10.0.0.1"], "two": ["10.0.0.2"], "three": ["10.0.0.3"]}

    async def test() -> None:
        heard = Heard()
        resolver = Resolver(zone, heard)
        resolver.watch({"a": TcpAddress("one", 1), "b": TcpAddress("two", 1)})
        await heard.until(2)
        resolver.watch({"a": TcpAddress("one", 1), "b": TcpAddress("three", 1)})
        await heard.until(3)
        assert zone.asked == ["one", "two", "three"]
        assert heard.changes[-1] == ("b", ["10.0.0.3:1"])
        resolver.stop()
        assert not resolver._tasks

    in_zone(zone, test)
