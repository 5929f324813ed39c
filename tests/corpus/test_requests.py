"""What an app may send, and what reaches an endpoint of it: every raw case over both transports.

Keys of a case, beside its steps:

    over: tcp | unix              only there; default: both
    limits: hurried               the daemon whose timeouts are short
    llm: silent                   the endpoint answers nothing; it has to see the sidecar hang up
    forwarded: METHOD TARGET      an endpoint receives this, with exactly the `field:` and `body:` that follow
    interim: 100                  the app reads an interim answer
    answer: STATUS [HEAD]         the app reads the endpoint's answer
    error: STATUS CODE            … the sidecar's own error; the connection goes on
    refused: STATUS CODE          … the sidecar's own error, then the end of the connection
    silent: WHY                   the connection ends without a further byte
    connection: closed            after its last answer; default: open, which one more request proves
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator

import httptools
import pytest

from sidecar.daemon import Daemon

from .cases import Bytes, Case, Marker, Step, read_cases
from .endpoint import PATIENCE, Endpoint, Got, linger_no_more
from .stage import TRANSPORTS, Answer, App, Stage

CASES = read_cases("requests")
AFTER = "/v1/afterwards"
DRIPPED = 2000  # a longer case is dripped in larger pieces
ALWAYS_ADDED = ("host", "accept-encoding", "traceparent")


class Play:
    """The daemons that the cases are sent to and the endpoint behind them."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.llm = self.stage.endpoint()
        self.patient = self._daemon("10s")
        self.hurried = self._daemon("400ms")

    def _daemon(self, timeout: str) -> Daemon:
        folder = tempfile.mkdtemp(prefix="sidecar-corpus-")
        limits = {
            "max_request_body": "64KiB",
            "max_header": "8KiB",
            "head_timeout": timeout,
            "body_idle_timeout": timeout,
            "keepalive_timeout": timeout,
        }
        service = {
            "name": "llm",
            "url": f"http://{self.llm.address}/v1",
            "passive_health": {"enforce": False},
        }
        keyed = {**service, "name": "keyed", "credential": {"bearer": "of-the-service"}}
        own_key = {"match": {"path_prefix": "/keyed"}, "services": ["keyed"]}
        return self.stage.daemon(
            {
                "listen": [f"unix:{folder}/llm.sock", "127.0.0.1:0"],
                "admin": {"enabled": False},
                "ops": {"enabled": False},
                "limits": limits,
                "allowed_origins": ["https://app.example"],
                "policy": {"services": [service, keyed], "routes": [{"services": ["llm"]}, own_key]},
            }
        )


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    play = Play()
    yield play
    play.stage.close()


def transports(case: Case) -> tuple[str, ...]:
    only = case.fact("over")
    return (only,) if only else TRANSPORTS


def is_accepted(case: Case) -> bool:
    return bool(case.all("forwarded")) and not case.all("refused")


def is_plain(case: Case) -> bool:
    """Nothing but bytes: what comes of it does not depend on when they come."""
    at_once = len(case.steps) == 1 and isinstance(case.steps[0], Bytes)
    return at_once and not case.fact("llm") and b"100-continue" not in case.sent(">").lower()


@pytest.mark.parametrize(
    ("case", "over"),
    [pytest.param(c, over, id=f"{c.file}: {c.name} ({over})") for c in CASES for over in transports(c)],
)
def test_a_request_is_refused_or_forwarded_exactly_as_written(play: Play, case: Case, over: str) -> None:
    """What two parsers may read in two ways is how requests are smuggled, so there is one reading or none."""
    play.stage.run(Performance(play, case, over, case.steps).perform())


@pytest.mark.parametrize("case", [pytest.param(c, id=f"{c.file}: {c.name}") for c in CASES if is_plain(c)])
def test_a_request_is_the_same_byte_by_byte(play: Play, case: Case) -> None:
    """How the network splits a request must not change whether it is one, and which."""
    data = case.sent(">")
    size = len(data) // DRIPPED + 1
    pieces: list[Step] = [Bytes(">", data[at : at + size]) for at in range(0, len(data), size)]
    play.stage.run(Performance(play, case, transports(case)[0], pieces).perform())


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=f"{c.file}: {c.name}")
        for c in CASES
        if is_accepted(c) and not c.all("error") + c.all("llm")
    ],
)
def test_httptools_reads_what_the_endpoint_receives(case: Case) -> None:
    """A second opinion: where both accept, method, number of requests and bodies are the same."""
    opinion = Opinion()
    try:
        opinion.parser.feed_data(case.sent(">"))
    except httptools.HttpParserError:
        assert case.fact("httptools") == "refuses it"
        return
    assert not case.fact("httptools")
    assert opinion.requests == [(e.line.split(" ")[0], e.body) for e in forwards(case)]


def test_there_are_enough_cases_and_each_has_a_name_of_its_own_and_a_source() -> None:
    """A case that nobody can trace to a rule, an attack or a server proves little."""
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
    assert [case.name for case in CASES if not case.fact("source")] == []
    outcomes = {"forwarded", "refused", "error", "silent"}
    assert [case.name for case in CASES if not outcomes & {key for key, _ in case.facts}] == []


class Expected:
    """One request as an endpoint must receive it."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.fields: list[tuple[str, str]] = []
        self.body = b""


def forwards(case: Case) -> list[Expected]:
    found: list[Expected] = []
    for key, value in case.facts:
        if key == "forwarded":
            found.append(Expected(value))
        elif key == "field":
            name, _, rest = case.text(value).decode("latin-1").partition(": ")
            found[-1].fields.append((name, rest))
        elif key == "body":
            found[-1].body += case.text(value)
    return found


class Opinion:
    """What httptools hears."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.requests: list[tuple[str, bytes]] = []
        self._body = b""

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.requests.append((self.parser.get_method().decode(), self._body))


class Performance:
    """One case, sent once."""

    def __init__(self, play: Play, case: Case, over: str, steps: list[Step]) -> None:
        self._llm: Endpoint = play.llm
        self._daemon = play.hurried if case.fact("limits") == "hurried" else play.patient
        self._case = case
        self._over = over
        self._steps = steps
        self._read = asyncio.Semaphore(0)  # one up for each answer read

    async def perform(self) -> None:
        case, llm = self._case, self._llm
        llm.play([Marker("silence")] if case.fact("llm") == "silent" else [])
        app = await App.connect(self._daemon, self._over)
        sending = asyncio.ensure_future(self._send(app))
        try:
            await self._hear(app)
            await sending
            if self._stays_open():
                await self._ask_again(app)
        finally:
            sending.cancel()
            await app.close()
        if case.fact("llm") == "silent":
            await asyncio.wait_for(llm.received[0].hung_up.wait(), PATIENCE)
        self._check_received()

    async def _send(self, app: App) -> None:
        try:
            for step in self._steps:
                if isinstance(step, Bytes):
                    app.writer.write(step.data)
                    await asyncio.sleep(0)
                else:
                    await self._mark(step.word, app)
        except ConnectionError:
            assert self._case.all("refused") or self._case.all("silent")

    async def _mark(self, word: str, app: App) -> None:
        match word.split():
            case ["pause"]:
                await asyncio.sleep(0.02)
            case ["pause", seconds, "ms"]:
                await asyncio.sleep(int(seconds) / 1000)
            case ["asked"]:
                await asyncio.wait_for(self._llm.asked.wait(), PATIENCE)
            case ["answered"]:
                await asyncio.wait_for(self._read.acquire(), PATIENCE)
            case ["half", "close"]:
                app.writer.write_eof()
            case ["hang", "up"]:
                app.writer.close()
            case ["reset"]:
                linger_no_more(app.writer)
            case _:
                raise AssertionError(f"no marker of an app: {word}")

    async def _hear(self, app: App) -> None:
        for key, value in self._case.facts:
            words = value.split()
            match key:
                case "interim":
                    assert (await self._next(app)).status == int(value)
                case "answer":
                    answer = await self._next(app, words[-1])
                    assert (answer.status, answer.whole) == (int(words[0]), True)
                    assert answer.get("x-sidecar-service") in ("llm", "keyed")
                case "error" | "refused":
                    answer = await self._next(app, (words[2:] or [""])[0])
                    assert (answer.status, answer.error_code if answer.body else words[1]) == (
                        int(words[0]),
                        words[1],
                    )
                    if key == "refused":
                        assert answer.get("connection") == "close"
                        assert await app.ended() == b""
                case "silent":
                    assert await app.ended() == b""
                case "connection":
                    assert await app.ended() == b""

    async def _next(self, app: App, method: str = "") -> Answer:
        answer = await app.answer(method)
        self._read.release()
        return answer

    def _stays_open(self) -> bool:
        return not {"refused", "silent", "connection"} & {key for key, _ in self._case.facts}

    async def _ask_again(self, app: App) -> None:
        """The connection is where it should be: the next request on it is understood."""
        app.writer.write(f"GET {AFTER} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        answer = await app.answer()
        assert (answer.status, answer.body) == (200, b'{"ok":true}')

    def _check_received(self) -> None:
        received = [got for got in self._llm.received if AFTER not in got.line]
        expected = forwards(self._case)
        assert [got.line for got in received] == [f"{e.line} HTTP/1.1" for e in expected]
        if not expected and not self._stays_open():
            assert self._llm.raw == b""
        for got, wanted in zip(received, expected, strict=True):
            assert sorted(self._fields(got)) == sorted(wanted.fields)
            assert got.body == wanted.body

    def _fields(self, got: Got) -> list[tuple[str, str]]:
        """Those of the app, after what every request to an endpoint bears has been found exactly once."""
        added = [(name, value) for name, value in got.fields if name in ALWAYS_ADDED]
        assert sorted(name for name, _ in added) == sorted(ALWAYS_ADDED)
        assert ("host", self._llm.address) in added
        assert ("accept-encoding", "identity") in added
        return [field for field in got.fields if field not in added]
