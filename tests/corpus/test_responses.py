"""What an endpoint may send, and what the app gets of it: every raw case over both transports.

Keys of a case, beside its steps:

    ask: chat | chat stream | …   what the app asks for, see ASKS; default: chat stream
    route:, service:              more of the policy, as YAML
    fallback: none                the route has this one service; default: another one stands behind it
    finding: WHAT                 what the sidecar does instead, known and not yet mended: the case has to fail
    at once: WHY                  what becomes of it depends on how much of it comes in one read
    attempt: OUTCOME              of the attempt on the endpoint; default: success
    attempts: N                   in all; default: 1, with the fallback 2
    asks to wait: SECONDS         the Retry-After that was understood; `not`: none was
    app: fallback                 nothing of the endpoint has reached the app
    app: STATUS whole             the answer, with exactly the `body:` that follows, has ended as it should
    app: STATUS broken CODE       … ends with the dialect's error event, and then no proper end; `silently`: without
    app: STATUS CODE              the sidecar's own error
    body begins:, body of:        in place of `body:` where its end depends on the reads: it begins so, is part of that
    field: NAME: VALUE, no field: NAME
    afterwards: reused | new      whether the endpoint's connection carries the next request; `replayed`: it tried,
                                  died, and nobody noticed. Default: reused after a success, else new
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import httptools
import pytest
import yaml
from _pytest.mark import ParameterSet

from sidecar.daemon import Daemon
from sidecar.record import RequestRecord

from .cases import Bytes, Case, Marker, Step, read_cases
from .endpoint import PATIENCE, Endpoint
from .stage import TRANSPORTS, Answer, App, Stage

CASES = read_cases("responses")
FALLBACK = b'{"from":"the fallback"}'
DRIPPED = 2500  # a longer answer is not dripped

# What the app asks: method, path, body.
ASKS: dict[str, tuple[str, str, bytes]] = {
    "chat": ("POST", "/v1/chat/completions", b'{"model":"m"}'),
    "chat stream": ("POST", "/v1/chat/completions", b'{"model":"m","stream":true}'),
    "large chat": ("POST", "/v1/chat/completions", b'{"model":"m","x":"%b"}' % (b"x" * 4_000_000)),
    "completions stream": ("POST", "/v1/completions", b'{"model":"m","stream":true}'),
    "responses": ("POST", "/v1/responses", b'{"model":"m"}'),
    "responses stream": ("POST", "/v1/responses", b'{"model":"m","stream":true}'),
    "messages": ("POST", "/v1/messages", b'{"model":"m"}'),
    "messages stream": ("POST", "/v1/messages", b'{"model":"m","stream":true}'),
    "embeddings": ("POST", "/v1/embeddings", b'{"model":"m","input":"x"}'),
    "other stream": ("POST", "/v1/generate", b'{"model":"m","stream":true}'),
    "get": ("GET", "/v1/models", b""),
    "head": ("HEAD", "/v1/models", b""),
    "delete": ("DELETE", "/v1/files/f", b""),
}


class Play:
    """One daemon; a service, an endpoint and a route for each case, so that no case can spoil another's health."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.fallback = self.stage.endpoint(FALLBACK)
        self.endpoints = {case.name: self.stage.endpoint() for case in CASES}
        services = [self._service("fallback", self.fallback)]
        routes = []
        for number, case in enumerate(CASES):
            name = f"case-{number}"
            more = yaml.safe_load(case.fact("service") or "{}")
            services.append(self._service(name, self.endpoints[case.name], **more))
            routes.append(
                {
                    "match": {"headers": {"x-case": str(number)}},
                    "services": [name] if case.fact("fallback") else [name, "fallback"],
                    "retries_per_service": 0,
                    **yaml.safe_load(case.fact("route") or "{}"),
                }
            )
        folder = tempfile.mkdtemp(prefix="sidecar-corpus-")
        self.daemon: Daemon = self.stage.daemon(
            {
                "listen": [f"unix:{folder}/llm.sock", "127.0.0.1:0"],
                "admin": {"enabled": False},
                "ops": {"enabled": False},
                "policy": {"services": services, "routes": routes},
            }
        )

    @staticmethod
    def _service(name: str, endpoint: Endpoint, **more: Any) -> dict[str, Any]:
        """Its health never matters: it is not ejected, and a Retry-After is over at once."""
        health = {"enforce": False, "base_ejection_time": "10ms", "max_ejection_time": "10ms"}
        return {
            "name": name,
            "url": f"http://{endpoint.address}/v1",
            "passive_health": health,
            "adaptive_concurrency": {"enabled": False},
            **more,
        }


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    play = Play()
    yield play
    play.stage.close()


def is_plain(case: Case) -> bool:
    """One short write, of which nothing depends on what comes in one read."""
    if case.fact("at once"):
        return False
    sent = [step for step in case.steps if isinstance(step, Bytes)]
    return len(sent) == 1 and len(sent[0].data) <= DRIPPED and case.steps[0] is sent[0]


def is_read_twice(case: Case) -> bool:
    """The app receives the one answer that the endpoint's steps are."""
    one = "next request" not in case.markers() and case.fact("attempts", "1") == "1"
    return one and case.fact("app").endswith("whole") and case.fact("ask") != "head"


def named(cases: Iterable[Case]) -> list[ParameterSet]:
    """Each as a parameter with its name; one with a finding has to fail until that is mended."""
    return [
        pytest.param(
            case,
            id=f"{case.file}: {case.name}",
            marks=[pytest.mark.xfail(strict=True, reason=why) for why in case.all("finding")],
        )
        for case in cases
    ]


@pytest.mark.parametrize("over", TRANSPORTS)
@pytest.mark.parametrize("case", named(CASES))
def test_a_response_reaches_the_app_whole_or_broken_or_not_at_all(play: Play, case: Case, over: str) -> None:
    """An app can always tell a whole answer from a broken one, and of a failed attempt it sees nothing."""
    play.stage.run(Performance(play, case, over, case.steps).perform())


@pytest.mark.parametrize("case", named(case for case in CASES if is_plain(case)))
def test_a_response_is_the_same_byte_by_byte(play: Play, case: Case) -> None:
    """How the network splits a response must not change what becomes of it."""
    steps: list[Step] = [Marker("drip"), *case.steps]
    play.stage.run(Performance(play, case, "unix", steps).perform())


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=f"{c.file}: {c.name}") for c in CASES if is_read_twice(c)]
)
def test_httptools_reads_what_the_app_receives(case: Case) -> None:
    """A second opinion: where both accept, status and body are the same."""
    opinion = Opinion()
    try:
        opinion.parser.feed_data(case.sent("<"))
    except httptools.HttpParserError:
        assert case.fact("httptools") == "refuses it"
        return
    if case.fact("httptools") == "reads on":
        return  # it takes what follows an answer for more of its body
    assert not case.fact("httptools")
    status, body = next(answer for answer in opinion.answers if answer[0] >= 200)
    assert (status, body) == (int(case.fact("app").split()[0]), body_of(case))


def test_there_are_enough_cases_and_each_has_a_name_of_its_own_and_a_source() -> None:
    """A case that nobody can trace to a rule or a server proves little."""
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)
    assert [case.name for case in CASES if not case.fact("source") or not case.fact("app")] == []


def body_of(case: Case) -> bytes:
    return b"".join(case.text(value) for value in case.all("body"))


class Opinion:
    """What httptools hears: each response, the interim ones too, with its body."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.answers: list[tuple[int, bytes]] = []

    def on_headers_complete(self) -> None:
        self.answers.append((self.parser.get_status_code(), b""))

    def on_body(self, body: bytes) -> None:
        status, before = self.answers[-1]
        self.answers[-1] = (status, before + body)


class Performance:
    """One case, played once."""

    def __init__(self, play: Play, case: Case, over: str, steps: list[Step]) -> None:
        self._play = play
        self._case = case
        self._over = over
        self._steps = steps
        self._endpoint = play.endpoints[case.name]
        self._number = CASES.index(case)
        self._ask = case.fact("ask", "chat stream")

    async def perform(self) -> None:
        records = self._play.stage.records
        await self._endpoint.hang_up()
        records.clear()
        self._endpoint.play(self._steps)
        method, path, body = ASKS[self._ask]
        answer = await self._request(method, path, body)
        await asyncio.wait_for(self._endpoint.played.wait(), PATIENCE)
        self._check_answer(answer)
        (record,) = records
        self._check_record(record)
        await self._check_connection()

    async def _request(self, method: str, path: str, body: bytes) -> Answer:
        app = await App.connect(self._play.daemon, self._over)
        try:
            length = f"content-length: {len(body)}\r\n" if body else ""
            head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-case: {self._number}\r\n{length}\r\n"
            app.writer.write(head.encode() + body)
            return await app.answer(method)
        finally:
            await app.close()

    # -- what the app got ----------------------------------------------------------------------------------------

    def _check_answer(self, answer: Answer) -> None:
        case = self._case
        expected = case.fact("app").split()
        if expected == ["fallback"]:
            assert (answer.status, answer.body, answer.whole) == (200, FALLBACK, True)
            assert answer.get("x-sidecar-service") == "fallback"
        elif expected[1] == "whole":
            assert (answer.status, answer.body, answer.whole) == (int(expected[0]), body_of(case), True)
        elif expected[1] == "broken":
            body = answer.body
            if expected[2] != "silently":
                body, event = self._split_last_event(body)
                assert self._code_of(event) == expected[2]
            if begin := case.fact("body begins"):
                assert body.startswith(case.text(begin))
                assert case.text(case.fact("body of")).startswith(body)
            else:
                assert body == body_of(case)
            assert (answer.status, answer.whole) == (int(expected[0]), False)
        else:
            assert (answer.status, answer.error_code, answer.whole) == (int(expected[0]), expected[1], True)
        for field in case.all("field"):
            name, _, value = field.partition(": ")
            assert (name, value) in answer.fields
        for name in case.all("no field"):
            assert answer.get(name) is None

    @staticmethod
    def _split_last_event(body: bytes) -> tuple[bytes, dict[str, str]]:
        """The body before its last event, and that event's fields."""
        assert body.endswith(b"\n\n"), body[-200:]
        begin = body.rfind(b"\n\n", 0, -2) + 2 if b"\n\n" in body[:-2] else 0
        for mark in (b"\r\n\r\n", b"\r\r"):
            if (found := body.rfind(mark)) >= 0:
                begin = max(begin, found + len(mark))
        lines = [line.partition(": ") for line in body[begin:-2].decode().split("\n")]
        return body[:begin], {name: value for name, _, value in lines}

    def _code_of(self, event: dict[str, str]) -> str:
        """What the dialect's own SDK would find in the event that ends a broken stream."""
        said = json.loads(event["data"])
        if self._ask == "responses stream":
            assert event["event"] == said["type"] == "response.failed"
            assert said["response"]["status"] == "failed"
            return str(said["response"]["metadata"]["sidecar_code"])
        if self._ask == "messages stream":
            assert event["event"] == said["type"] == "error"
        else:
            assert "event" not in event
            assert said["error"]["type"] == "sidecar_error"
        return str(said["error"]["code"])

    # -- what was told of it -------------------------------------------------------------------------------------

    def _check_record(self, record: RequestRecord) -> None:
        case = self._case
        with_fallback = case.fact("app") == "fallback"
        first = record.attempts[0]
        assert first.outcome == case.fact("attempt", "success"), first.failure
        assert len(record.attempts) == int(case.fact("attempts", "2" if with_fallback else "1"))
        if with_fallback:
            assert record.attempts[-1].outcome == "success"
        wait = case.fact("asks to wait")
        if wait:
            assert first.failure is not None
            assert first.failure.retry_after == (
                None if wait == "not" else pytest.approx(float(wait), abs=1.5)
            )

    async def _check_connection(self) -> None:
        """One more request shows which connection it goes over."""
        used = self._endpoint.received[0].connection
        before = len(self._endpoint.received)
        again = await self._request("GET", "/v1/again", b"")
        assert (again.status, again.body) == (200, b'{"ok":true}')
        assert again.get("x-sidecar-attempts") == "1"
        over = [got.connection for got in self._endpoint.received[before:]]
        default = "reused" if self._case.fact("attempt", "success") == "success" else "new"
        match self._case.fact("afterwards", default):
            case "reused":
                assert over == [used]
            case "replayed":
                assert over[0] == used
                assert len(over) == 2
            case _:
                assert len(over) == 1
                assert over[0] > used
