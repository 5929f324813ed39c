"""A simulated LLM service: an OpenAI-compatible server on loopback whose GPU is the model of sidecar.demo.gpu.

Serves:  /v1/chat/completions and /v1/completions (streams or not), /v1/embeddings, /v1/models, /health.
As vLLM: a stream's head is sent before its request is even queued (`opening` chooses otherwise); a caller that
         hangs up ends its job (unless the GPU's `cancels` is off).
Death:   every connection is reset and the port refuses; the socket stays bound, so that nobody else gets the
         port; while it loads, everything is answered with 503, /health too.
Cost:    one Protocol a connection and one timer in all; a few hundred streams at once are nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Sequence
from enum import Enum
from time import monotonic
from types import TracebackType
from typing import Self, cast

from sidecar.demo import answers, http
from sidecar.demo.gpu import Died, Event, Gpu, GpuSpec, Loading, Phase, Token
from sidecar.terms import TcpAddress

BACKLOG = 1024
TICK = 0.001  # the loop's clock has a grain of 1 ms; a timer armed a tick late is never early
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Opening(Enum):
    """What of a stream is sent before its first token is there."""

    HEAD = "head"  # status and header fields
    ROLE = "role"  # those and the event that names the role
    NOTHING = "nothing"


def _ignore(_: Event) -> None:
    """Nobody wants to know."""


class SimulatedLlm:
    """`async with SimulatedLlm(name) as llm:` serves at `llm.url`. `told` hears of death, loading and return."""

    def __init__(
        self,
        name: str,
        spec: GpuSpec | None = None,
        *,
        opening: Opening = Opening.HEAD,
        told: Callable[[Event], None] = _ignore,
    ) -> None:
        self.name = name
        self.spec = spec or GpuSpec()
        self.opening = opening
        self._told = told
        self._loop = asyncio.get_running_loop()
        self.gpu = Gpu(self.spec, monotonic())
        self.address = TcpAddress("127.0.0.1", 0)
        self._callers: set[_Caller] = set()
        self._jobs: dict[int, _Job] = {}
        self._asked = 0
        self._timer: asyncio.TimerHandle | None = None
        self._server: asyncio.AbstractServer | None = None
        self._loading = asyncio.Event()
        self._return: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base URL of an SDK."""
        return f"http://{self.address}/v1"

    async def __aenter__(self) -> Self:
        bound = _bind(self.address)
        self.address = TcpAddress(*bound.getsockname())
        await self._listen(bound)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._return is not None:
            self._return.cancel()
            await asyncio.gather(self._return, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for caller in list(self._callers):
            caller.transport.abort()

    # What callers do.

    def joined(self, caller: _Caller) -> None:
        self._callers.add(caller)

    def left(self, caller: _Caller) -> None:
        self._callers.discard(caller)
        if caller.job is not None and self._jobs.pop(caller.job.number, None) is not None:
            self._carry_out(self.gpu.hang_up(caller.job.number, monotonic()))

    def handle(self, caller: _Caller, request: http.Request) -> None:
        """Answers, or gives the caller a job."""
        self._carry_out(self.gpu.advance(monotonic()))
        match request.method, request.path:
            case _ if self.gpu.phase is Phase.DOWN:  # accepted before the listener was closed
                caller.reset()
            case _ if self.gpu.phase is Phase.LOADING:
                caller.answer(503, answers.error("service_unavailable", "the model is loading"))
            case "GET", "/health":
                caller.answer(200, b"{}")
            case "GET", "/v1/models":
                caller.answer(200, answers.models((self.name,), self.name))
            case "POST", path if path in answers.PATHS:
                self._work(caller, request, answers.PATHS[path])
            case _, path if path in ("/health", "/v1/models", *answers.PATHS):
                caller.answer(405, answers.error("invalid_request_error", "this path wants another method"))
            case _:
                caller.answer(404, answers.error("invalid_request_error", "there is no such path"))

    def _work(self, caller: _Caller, request: http.Request, kind: answers.Kind) -> None:
        ask = answers.read_ask(kind, request.body, self.spec.usual_tokens)
        if isinstance(ask, str):
            caller.answer(400, answers.error("invalid_request_error", ask))
            return
        self._asked += 1
        job = self._jobs[self._asked] = caller.job = _Job(self._asked, caller, ask, self.opening)
        job.begin()
        self._carry_out(self.gpu.submit(job.number, ask.tokens, monotonic()))

    def kill(self) -> None:
        """Somebody ends the server; it starts again as after a death by overload."""
        self._carry_out(self.gpu.kill(monotonic()))

    # What the GPU does.

    def _carry_out(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Token):
                self._pass_on(event)
                continue
            if isinstance(event, Died):
                self._die()
            elif isinstance(event, Loading):
                self._loading.set()
            self._told(event)
        self._arm()

    def _pass_on(self, token: Token) -> None:
        job = self._jobs.get(token.job)
        if job is None:  # computed for nobody
            return
        if token.last:
            del self._jobs[token.job]
        job.token(token)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self.gpu.next_deadline()) is not None:
            self._timer = self._loop.call_later(max(0.0, due - monotonic()) + TICK, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._carry_out(self.gpu.advance(monotonic()))

    # Death and return.

    def _die(self) -> None:
        self._jobs.clear()
        for caller in self._callers:
            caller.reset()
        assert self._server is not None
        self._server.close()
        self._loading.clear()
        self._return = self._loop.create_task(self._come_back())

    async def _come_back(self) -> None:
        with await _hold(self.address) as held:
            await self._loading.wait()
            await self._listen(held.dup())

    async def _listen(self, bound: socket.socket) -> None:
        self._server = await self._loop.create_server(lambda: _Caller(self), sock=bound, backlog=BACKLOG)


class _Job:
    """One request for work and how its answer is written."""

    __slots__ = ("_ask", "_caller", "_is_open", "_opening", "_writer", "number")

    def __init__(self, number: int, caller: _Caller, ask: answers.Ask, opening: Opening) -> None:
        self.number = number
        self._caller = caller
        self._ask = ask
        self._opening = opening
        self._writer = answers.Writer(ask, number)
        self._is_open = False  # the role has been told

    def begin(self) -> None:
        if not self._ask.stream or self._opening is Opening.NOTHING:
            return
        self._caller.begin_stream()
        if self._opening is Opening.ROLE:
            self._is_open = True
            self._caller.send(http.chunk(self._writer.role()))

    def token(self, token: Token) -> None:
        caller = self._caller
        if not self._ask.stream:
            if token.last:
                caller.answer(200, self._writer.whole())
            return
        if token.number == 1 and self._opening is Opening.NOTHING:
            caller.begin_stream()
        said = self._writer.delta(token.number)
        if not self._is_open:
            self._is_open = True
            said = self._writer.role() + said
        caller.send(http.chunk(said))
        if token.last:
            caller.send(http.chunk(self._writer.closing()) + http.LAST_CHUNK)
            caller.done()


class _Caller(asyncio.Protocol):
    """One connection: one request at a time, the next waits in the buffer."""

    def __init__(self, llm: SimulatedLlm) -> None:
        self._llm = llm
        self._buffer = bytearray()
        self._busy = False
        self._keep_alive = True
        self.job: _Job | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._llm.joined(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._busy = True  # what is still in the buffer has nobody to be answered to
        self._llm.left(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._busy:
            return
        try:
            request = http.take(self._buffer)
        except http.Refused as refused:
            self._keep_alive = False
            self.answer(refused.status, answers.error("invalid_request_error", str(refused)))
            return
        if request is not None:
            self._busy, self._keep_alive = True, request.keep_alive
            self._llm.handle(self, request)

    def answer(self, status: int, body: bytes) -> None:
        self.send(http.answer(status, body, keep_alive=self._keep_alive))
        self.done()

    def begin_stream(self) -> None:
        self.send(http.stream_head(keep_alive=self._keep_alive))

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def done(self) -> None:
        """The answer is complete. The next request waits a turn of the loop: events of the GPU that have
        happened before it may still be on their way."""
        self.job = None
        if not self._keep_alive:
            self.transport.close()
            return
        asyncio.get_running_loop().call_soon(self._free)

    def _free(self) -> None:
        if not self.transport.is_closing():
            self._busy = False
            self._next()

    def reset(self) -> None:
        """As a killed process leaves its connections."""
        self.job = None
        self._busy = True
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
        )
        self.transport.abort()


def _bind(address: TcpAddress) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


async def _hold(address: TcpAddress) -> socket.socket:
    """Takes the port again as soon as the loop has let go of it, without listening: callers are refused."""
    while True:
        try:
            return _bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        await asyncio.sleep(0.005)
