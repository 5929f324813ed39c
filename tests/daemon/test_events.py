"""The health events as a reader over gRPC has them: never wrong under load, never a burden, never silent."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import grpc
import httpx
import yaml
from llmsidecar.v1 import health_pb2 as pb
from llmsidecar.v1 import policy_pb2
from llmsidecar.v1.health_pb2_grpc import HealthServiceStub
from llmsidecar.v1.policy_pb2_grpc import PolicyServiceStub

from sidecar.terms import TcpAddress

from .admin import health, policies
from .llm import CHAT, Answer, Llm, Received, json_answer
from .loop import run
from .process import Process
from .sidecar import ask, chat, config, free_port, service, sidecar
from .waiting import begin

Key = tuple[str, str]


@dataclass
class Facts:
    """What a reader knows of one endpoint; several may hold at once, the first in this order is its state."""

    ejected: str = ""  # the reason
    cooling: bool = False
    unhealthy: bool = False
    on_probation: bool = False

    @property
    def state(self) -> tuple[str, str]:
        if self.ejected:
            return "EJECTED", self.ejected
        if self.cooling:
            return "COOLING", "retry_after"
        if self.unhealthy:
            return "PROBE_FAILED", ""
        return ("PROBATION", "") if self.on_probation else ("IN_ROTATION", "")


@dataclass
class Reader:
    """Rebuilds how every endpoint stands, and what is left alone, from nothing but the stream."""

    sequence: int = 0
    endpoints: dict[Key, Facts] = field(default_factory=dict)
    cooling: dict[tuple[str, str, str], str] = field(
        default_factory=dict
    )  # the reason, by service, scope, name
    gaps: list[pb.Gap] = field(default_factory=list)
    snapshots: int = 0
    seen: set[str] = field(default_factory=set)
    lost: bool = False  # something was missed and no snapshot has made up for it yet

    def read(self, event: pb.HealthEvent) -> None:
        assert event.type == event.WhichOneof("event")
        match event.type:
            case "snapshot":
                assert event.sequence >= self.sequence
                self.snapshots, self.lost = self.snapshots + 1, False
                self.endpoints = {key_of(e): facts_of(e) for e in event.snapshot.endpoints}
                self.cooling = cooling_of(event.snapshot.cooling)
            case "gap":
                assert event.gap.first_missed == self.sequence + 1
                assert event.gap.last_missed == event.sequence
                self.gaps.append(event.gap)
                self.lost = True
            case _:
                assert event.sequence == self.sequence + 1, "a hole that no gap has told of"
                if not self.lost:
                    self._change(event)
        self.sequence = event.sequence
        self.seen.add(event.type)

    def _change(self, event: pb.HealthEvent) -> None:
        about = getattr(event, event.type)
        match event.type:
            case "endpoint_added":
                self.endpoints[key_of(about)] = Facts()
            case "endpoint_removed":
                del self.endpoints[key_of(about)]
            case "endpoint_ejected" if about.enforced:
                facts = self.endpoints[key_of(about)]
                if about.reason == "retry_after":
                    facts.cooling = True
                else:
                    facts.ejected, facts.on_probation = about.reason, False
            case "endpoint_probation":
                facts = self.endpoints[key_of(about)]
                facts.ejected, facts.on_probation = "", True
            case "endpoint_returned":
                facts = self.endpoints[key_of(about)]
                if about.reason in ("retry_after_ended", "manual"):
                    facts.cooling = False
                if about.reason != "retry_after_ended":
                    facts.ejected, facts.on_probation = "", False
            case "scope_cooled":
                self.cooling |= cooling_of([about])
            case "scope_returned":
                del self.cooling[about.service, about.scope, about.name]
            case "probe_changed":
                self.endpoints[key_of(about)].unhealthy = not about.healthy

    @property
    def states(self) -> dict[Key, tuple[str, str]]:
        return {key: facts.state for key, facts in self.endpoints.items()}


def cooling_of(scopes: Iterable[pb.ScopeCooled]) -> dict[tuple[str, str, str], str]:
    return {(s.service, s.scope, s.name): s.reason for s in scopes if s.enforced}


def key_of(about: Any) -> Key:
    return about.service, about.endpoint


def facts_of(endpoint: pb.Endpoint) -> Facts:
    holds = {pb.EndpointState.Name(state) for state in (endpoint.state, *endpoint.beneath)}
    return Facts(
        # a reason is that of the topmost state, and nothing stands above an ejection
        ejected=endpoint.reason if "ENDPOINT_STATE_EJECTED" in holds else "",
        cooling="ENDPOINT_STATE_COOLING" in holds,
        unhealthy="ENDPOINT_STATE_PROBE_FAILED" in holds,
        on_probation="ENDPOINT_STATE_PROBATION" in holds,
    )


def state_of(endpoint: pb.Endpoint) -> tuple[str, str]:
    """A ramp is a share of the rotation; its end is no event."""
    state = pb.EndpointState.Name(endpoint.state).removeprefix("ENDPOINT_STATE_")
    if state in ("AVAILABLE", "RAMP"):
        return "IN_ROTATION", ""
    return state, endpoint.reason if state in ("EJECTED", "COOLING") else ""


def states_of(endpoints: Iterable[pb.Endpoint]) -> dict[Key, tuple[str, str]]:
    return {key_of(endpoint): state_of(endpoint) for endpoint in endpoints}


def moody(rng: Random) -> Answer:
    """Good, failing, or asking to be left alone, as it comes; its health check too."""
    answers = [
        json_answer(CHAT),
        json_answer({}, 500),
        json_answer({}, 429, "retry-after-ms: 30\r\nretry-after: 1\r\n"),
    ]

    async def answer(received: Received, reader: Any, writer: Any) -> None:
        await rng.choices(answers, (6, 6, 1))[0](received, reader, writer)

    return answer


def short(rng: Random) -> Answer:
    """Of a vendor whose key may often do nothing for a moment."""
    answers = [json_answer(CHAT), json_answer({}, 429, "retry-after-ms: 20\r\nretry-after: 1\r\n")]

    async def answer(received: Received, reader: Any, writer: Any) -> None:
        await rng.choice(answers)(received, reader, writer)

    return answer


QUICK = {
    "interval": "20ms",
    "window": "100ms",
    "base_ejection_time": "20ms",
    "max_ejection_time": "60ms",
    "ramp": "20ms",
    "consecutive_failures": 3,
}
PROBES = {"interval": "10ms", "timeout": "500ms", "unhealthy_threshold": 1, "healthy_threshold": 1}


def test_a_reader_that_rebuilds_the_state_is_right_at_every_number_though_it_reconnects() -> None:
    """Ejections, probes, policies, operators and resolvers at once: whoever shows the stream must show the truth."""

    async def test() -> None:
        rng = Random(11)
        async with (
            Llm(moody(rng)) as one,
            Llm(moody(rng)) as two,
            Llm(moody(rng)) as three,
            Llm(short(rng)) as four,
        ):
            a = service(
                "a", one, endpoints=[one.address, two.address], passive_health=QUICK, active_health=PROBES
            )
            b = service("b", f"http://localhost:{three.address.rpartition(':')[2]}/v1", passive_health=QUICK)
            c = service("c", four, credential={"bearer": {"literal": "key"}}, passive_health=QUICK)
            written = config(a, b, c, admin={"listen": ["127.0.0.1:0"]})
            async with (
                sidecar(written) as daemon,
                grpc.aio.insecure_channel(daemon.admin_listen[0]) as channel,
            ):
                stub: Any = HealthServiceStub(channel)  # type: ignore[no-untyped-call]
                policy_stub: Any = PolicyServiceStub(channel)  # type: ignore[no-untyped-call]
                steady, reconnecting = Reader(), Reader()
                truth: dict[int, tuple[dict[Key, tuple[str, str]], dict[tuple[str, str, str], str]]] = {}
                done = asyncio.Event()

                async def follow(reader: Reader, hang_up_every: int | None) -> int:
                    """How many times it was compared with the truth."""
                    compared = 0
                    while True:
                        watch = stub.WatchHealthEvents(
                            pb.WatchHealthEventsRequest(after_sequence=reader.sequence)
                        )
                        left = hang_up_every
                        while left is None or left > 0:
                            event = await asyncio.wait_for(watch.read(), 20)
                            reader.read(event)
                            left = None if left is None else left - 1
                            if (now := truth.get(reader.sequence)) is not None and event.type != "snapshot":
                                assert (reader.states, reader.cooling) == now, (reader.sequence, event)
                                compared += 1
                            if done.is_set() and reader.sequence >= max(truth):
                                watch.cancel()
                                return compared
                        watch.cancel()

                async def note() -> None:
                    listed = await stub.ListEndpoints(pb.ListEndpointsRequest())
                    truth[listed.sequence] = states_of(listed.endpoints), cooling_of(listed.cooling)

                readers = [begin(follow(steady, None)), begin(follow(reconnecting, 7))]
                gone = f"127.0.0.1:{free_port()}"
                for turn in range(60):
                    asked = [begin(ask(daemon, chat(stream=False))) for _ in range(8)]
                    await note()
                    match turn % 6:
                        case 0:
                            key = rng.choice(list(states_of(daemon._hub.endpoints())))
                            await stub.EjectEndpoint(pb.EjectEndpointRequest(service=key[0], endpoint=key[1]))
                        case 1:
                            for key in states_of(daemon._hub.endpoints()):
                                await stub.RestoreEndpoint(
                                    pb.RestoreEndpointRequest(service=key[0], endpoint=key[1])
                                )
                        case 2 | 3:
                            policy = (await policy_stub.GetPolicy(policy_pb2.GetPolicyRequest())).policy
                            present = [one.address, two.address] if turn % 6 == 3 else [two.address, gone]
                            policy.services[0].endpoints[:] = present
                            policy.services[2].credential.bearer.literal = f"key {turn % 4}"
                            await policy_stub.UpdatePolicy(policy_pb2.UpdatePolicyRequest(policy=policy))
                        case _:  # what the resolver would say next
                            hosts = rng.sample(["127.0.0.1", "127.0.0.2", "127.0.0.3"], rng.randint(1, 3))
                            port = int(three.address.rpartition(":")[2])
                            daemon._in_force._resolved("b", [TcpAddress(host, port) for host in hosts])
                    await note()
                    await asyncio.gather(*asked)
                    await note()
                done.set()
                await stub.EjectEndpoint(  # one more event, so that whoever waits for news gets some
                    pb.EjectEndpointRequest(service="a", endpoint=two.address)
                )
                compared = await asyncio.gather(*readers)
                assert min(compared) >= 60
                assert (steady.snapshots, reconnecting.snapshots) == (1, 1)
                assert steady.gaps == reconnecting.gaps == []
                assert steady.seen >= {
                    "endpoint_ejected",
                    "endpoint_probation",
                    "endpoint_returned",
                    "endpoint_added",
                    "endpoint_removed",
                    "probe_changed",
                    "policy_applied",
                    "fallback",
                    "scope_cooled",
                    "scope_returned",
                }

    run(test())


def test_a_reader_that_joins_during_an_ejection_knows_what_it_hides(tmp_path: Path) -> None:
    """When it ends, the probes that fail beneath it do not fail anew: there is no event to learn it from."""

    async def test() -> None:
        async with Llm(json_answer({}, 500)) as llm:
            probed = service("a", llm, active_health=PROBES, passive_health=QUICK)
            async with (
                sidecar(config(probed, admin={"listen": [f"unix:{tmp_path}/admin.sock"]})) as daemon,
                grpc.aio.insecure_channel(daemon.admin_listen[0]) as channel,
            ):
                stub: Any = HealthServiceStub(channel)  # type: ignore[no-untyped-call]
                key = ("a", llm.address)

                async def follow(reader: Reader, met: Callable[[], bool]) -> None:
                    watch = stub.WatchHealthEvents(
                        pb.WatchHealthEventsRequest(after_sequence=reader.sequence)
                    )
                    while not met():
                        reader.read(await asyncio.wait_for(watch.read(), 20))
                    watch.cancel()

                first, joined = Reader(), Reader()
                await follow(first, lambda: first.states.get(key) == ("PROBE_FAILED", ""))
                eject = pb.EjectEndpointRequest(service="a", endpoint=llm.address)
                eject.duration.FromMilliseconds(300)
                await stub.EjectEndpoint(eject)
                await follow(joined, lambda: joined.snapshots == 1)
                assert joined.states == {key: ("EJECTED", "manual")}
                await follow(joined, lambda: bool(joined.seen & {"endpoint_probation", "endpoint_returned"}))
                listed = await stub.ListEndpoints(pb.ListEndpointsRequest())
                assert states_of(listed.endpoints) == joined.states == {key: ("PROBE_FAILED", "")}

    run(test())


class _Ok(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def resident(pid: int) -> int:
    """MiB of memory that the process holds."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def crowd(number: int) -> list[str]:
    """A thousand addresses, others for odd numbers than for even ones; no one is ever sent there."""
    return [f"127.1.{number % 2}.{n % 250}:{1 + n // 250}" for n in range(1000)]


def test_a_reader_that_stops_during_100000_events_costs_nothing_and_is_told_what_it_missed(
    tmp_path: Path,
) -> None:
    """Somebody's suspended terminal must not be the end of the app's calls."""
    reader_stops(tmp_path, seconds=0.0)


def reader_stops(tmp_path: Path, *, seconds: float) -> None:
    """Does not read during 100,000 events and at least so long, while an app goes on asking."""
    llm: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Ok)
    serving = threading.Thread(target=llm.serve_forever, daemon=True)
    serving.start()
    services = [
        {"name": "used", "url": f"http://127.0.0.1:{llm.server_address[1]}/v1"},
        {"name": "crowd", "url": "http://127.0.0.1:1/v1", "endpoints": crowd(0)},
    ]
    written = {
        "listen": ["127.0.0.1:0"],
        "admin": {"listen": [f"unix:{tmp_path}/admin.sock"]},
        "ops": {"enabled": False},
        "policy": {"services": services, "routes": [{"services": ["used"]}]},
    }
    path = tmp_path / "sidecar.yaml"
    path.write_text(yaml.safe_dump(written))
    process = Process(path, {})
    try:
        with health(process.admin[0]) as stub, policies(process.admin[0]) as policy_stub:
            policy = policy_stub.GetPolicy(policy_pb2.GetPolicyRequest()).policy

            def thousands_of_events(number: int) -> None:
                policy.services[1].endpoints[:] = crowd(number)
                policy_stub.UpdatePolicy(policy_pb2.UpdatePolicyRequest(policy=policy), timeout=20)

            reader, watch = Reader(), stub.WatchHealthEvents(pb.WatchHealthEventsRequest())
            reader.read(next(watch))
            assert reader.snapshots == 1
            for number in range(1, 8):  # the ring is full, and so is all that gRPC sends ahead
                thousands_of_events(number)
            before, began = resident(process.pid), sequence(stub)
            answered = 0
            with httpx.Client(base_url=f"http://{process.listen[0]}") as app:
                number, until = 7, monotonic() + seconds
                while sequence(stub) < began + 100_000 or monotonic() < until:
                    number += 1
                    thousands_of_events(number)
                    pause = monotonic() + seconds / 60.0
                    while monotonic() <= pause or answered < number - 7:
                        assert app.get("/v1/models").text == "ok"
                        answered += 1
            assert answered >= 50
            assert resident(process.pid) - before < 16
            newest = sequence(stub)
            while reader.sequence < newest or reader.lost:
                reader.read(next(watch))
            assert sum(gap.last_missed - gap.first_missed + 1 for gap in reader.gaps) > 50_000
            listed = stub.ListEndpoints(pb.ListEndpointsRequest())
            assert (listed.sequence, states_of(listed.endpoints)) == (reader.sequence, reader.states)
            watch.cancel()

        process.signal(signal.SIGKILL)
        process.stop()
        process = Process(path, {})
        with health(process.admin[0]) as stub:
            watch = stub.WatchHealthEvents(pb.WatchHealthEventsRequest(after_sequence=reader.sequence))
            told = len(reader.gaps)
            reader.read(next(watch))
            assert len(reader.gaps) == told + 1
            while reader.lost:
                reader.read(next(watch))
            watch.cancel()
            assert reader.states == states_of(stub.ListEndpoints(pb.ListEndpointsRequest()).endpoints)
    finally:
        process.stop()
        llm.shutdown()
        llm.server_close()
        serving.join(5)


def sequence(stub: Any) -> int:
    return int(stub.ListEndpoints(pb.ListEndpointsRequest(services=["used"])).sequence)
