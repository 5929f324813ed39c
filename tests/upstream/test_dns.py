"""Names to addresses: asked again in time, told once a change, and never given up."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import cast

import pytest

from sidecar.terms import TcpAddress
from sidecar.upstream import dns
from sidecar.upstream.dns import Ares, Found, Lookup, Resolver, found_in
from tests.daemon.loop import run
from tests.daemon.waiting import until

Answers = dict[str, list[str]]


class Zone:
    """A Lookup that is a table: names to addresses, none to fail."""

    def __init__(self) -> None:
        self.names: Answers = {}
        self.ttl = 0
        self.asked: list[str] = []

    async def find(self, host: str, port: int) -> Found:
        self.asked.append(host)
        if ".." in host:
            raise UnicodeError("label empty or too long")
        if not self.names.get(host):
            raise OSError("Domain name not found")
        families = [(socket.AF_INET6 if ":" in a else socket.AF_INET, a, self.ttl) for a in self.names[host]]
        return found_in(families, port)

    async def close(self) -> None: ...


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


def resolver_of(zone: Lookup, heard: Callable[[str, Sequence[TcpAddress]], None]) -> Resolver:
    return Resolver(asyncio.get_running_loop(), heard, Random(1), zone)


def test_localhost_is_resolved_by_the_system() -> None:
    """It stands in /etc/hosts."""

    async def test() -> None:
        lookup = Ares(asyncio.get_running_loop())
        assert await lookup.find("localhost", 80) == ((TcpAddress("127.0.0.1", 80),), 0)
        await lookup.close()

    run(test())


def test_a_name_of_both_families_counts_its_ipv4_addresses_in_order() -> None:
    nodes = [(socket.AF_INET6, "::1", 5), (socket.AF_INET, "10.0.0.2", 60), (socket.AF_INET, "10.0.0.1", 30)]
    found = found_in(nodes, 1)
    assert list(map(str, found.addresses)) == ["10.0.0.1:1", "10.0.0.2:1"]
    assert found.ttl == 30
    assert found_in([(socket.AF_INET, "10.0.0.2", 60), (socket.AF_INET, "10.0.0.1", 0)], 1).ttl == 0
    assert list(map(str, found_in([(socket.AF_INET6, "fd00::2", 9)], 1).addresses)) == ["[fd00::2]:1"]


def test_a_change_is_told_and_an_equal_answer_is_not(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "LEAST", 0.005)
    zone.names = {"llm": ["10.0.0.1"]}

    async def test() -> None:
        heard = Heard()
        resolver = resolver_of(zone, heard)
        resolver.watch({"a": TcpAddress("llm", 1)})
        await heard.until(1)
        asked = len(zone.asked)
        await until(lambda: len(zone.asked) >= asked + 3)
        zone.names["llm"] = ["10.0.0.1", "10.0.0.2"]
        await heard.until(2)
        assert heard.changes == [("a", ["10.0.0.1:1"]), ("a", ["10.0.0.1:1", "10.0.0.2:1"])]
        await resolver.stop()

    run(test())


@pytest.mark.parametrize("name", ["llm", "a..b"])
def test_a_name_that_fails_is_asked_again_and_keeps_its_last_answer(
    name: str, zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "RETRY", 0.005)
    monkeypatch.setattr(dns, "LEAST", 0.005)

    async def test() -> None:
        heard = Heard()
        resolver = resolver_of(zone, heard)
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
        await resolver.stop()

    run(test())


def test_a_listener_that_fails_does_not_end_the_asking(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dns, "LEAST", 0.005)
    caplog.set_level(logging.ERROR)
    zone.names = {"llm": ["10.0.0.1"]}

    async def test() -> None:
        heard = Heard()

        def changed(service: str, addresses: Sequence[TcpAddress]) -> None:
            heard(service, addresses)
            if len(heard.changes) == 1:
                raise ZeroDivisionError

        resolver = resolver_of(zone, changed)
        resolver.watch({"a": TcpAddress("llm", 1)})
        await heard.until(1)
        zone.names["llm"] = ["10.0.0.2"]
        await heard.until(2)
        await resolver.stop()

    run(test())
    assert "could not be taken over" in caplog.text


def test_a_new_policy_leaves_those_that_stay_alone(zone: Zone) -> None:
    zone.names = {"one": ["10.0.0.1"], "two": ["10.0.0.2"], "three": ["10.0.0.3"]}

    async def test() -> None:
        heard = Heard()
        resolver = resolver_of(zone, heard)
        resolver.watch({"a": TcpAddress("one", 1), "b": TcpAddress("two", 1)})
        await heard.until(2)
        resolver.watch({"a": TcpAddress("one", 1), "b": TcpAddress("three", 1)})
        await heard.until(3)
        assert zone.asked == ["one", "two", "three"]
        assert heard.changes[-1] == ("b", ["10.0.0.3:1"])
        await resolver.stop()
        assert not resolver._tasks

    run(test())


def test_a_name_is_asked_again_when_its_ttl_is_over(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """An LLM server that moved is found within the time that its zone allows, whatever other names allow."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def remember(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", remember)
    zone.names = {"llm": ["10.0.0.1"]}

    async def test() -> None:
        for ttl, least in ((7, 7.0), (1, 1.0), (0, dns.LEAST), (86_400, dns.MOST)):
            zone.ttl = ttl
            slept.clear()
            resolver = resolver_of(zone, lambda service, addresses: None)
            resolver.watch({"a": TcpAddress("llm", 1)})
            while len(slept) < 3:
                await sleep(0)
            await resolver.stop()
            assert all(least <= seconds <= least * 1.1 for seconds in slept), (ttl, slept)

    run(test())


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an A record with the addresses of the moment; other questions with nothing."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self.addresses: list[str] = []
        self.questions = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        end = data.index(b"\0", 12) + 5  # the name, its last zero, type and class
        question = data[12:end]
        is_a = question[-4:-2] == b"\0\1"
        self.questions += is_a
        answers = self.addresses if is_a else []
        flags = 0x8180 if self.addresses else 0x8183  # NXDOMAIN
        head = data[:2] + struct.pack(">5H", flags, 1, len(answers), 0, 0)
        record = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", self.ttl, 4)
        body = b"".join(record + socket.inet_aton(address) for address in answers)
        self._transport.sendto(head + question + body, addr)


def test_a_real_name_server_is_followed_by_its_ttl() -> None:
    """Over UDP, with the answer changing under it, failing, and coming back."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(
            lambda: NameServer(ttl=1), local_addr=("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        server.addresses = ["10.0.0.1", "10.0.0.2"]
        lookup = Ares(loop, [f"127.0.0.1:{port}"])
        heard = Heard()
        resolver = resolver_of(lookup, heard)
        assert (await lookup.find("llm.example", 8000)).ttl == 1
        resolver.watch({"a": TcpAddress("llm.example", 8000)})
        await heard.until(1)
        server.addresses = ["10.0.0.2", "10.0.0.3"]
        await heard.until(2)
        assert heard.changes == [
            ("a", ["10.0.0.1:8000", "10.0.0.2:8000"]),
            ("a", ["10.0.0.2:8000", "10.0.0.3:8000"]),
        ]
        server.addresses = []
        with pytest.raises(OSError, match="not found"):
            await lookup.find("other.example", 8000)
        await resolver.stop()
        transport.close()

    run(test())
