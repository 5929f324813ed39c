"""What the data path costs in Python alone: the protocol classes, driven by transports that only remember.

Out:     microseconds a request or a chunk (best of rounds), and how many objects an exchange leaves behind.
Why:     sockets, the kernel and the machine's mood are not in it, so a change of the code shows as itself.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any, cast

import uvloop
import yaml

from sidecar.daemon import Daemon
from sidecar.downstream.connection import AppConnection
from sidecar.downstream.listener import Listener
from sidecar.outbox import Turn
from sidecar.pace import Pace
from sidecar.policy import load
from sidecar.upstream.connection import UpstreamConnection

POLICY = {
    "listen": ["127.0.0.1:0"],
    "admin": {"enabled": False},
    "ops": {"listen": ["127.0.0.1:0"]},
    "policy": {
        "services": [
            {"name": "a", "url": "http://127.0.0.1:9/v1"},
            {"name": "b", "url": "http://127.0.0.1:9/v1"},
        ],
        "routes": [{"services": ["a", "b"]}],
    },
}
ANSWER = json.dumps(
    {"id": "c", "choices": [{"message": {"content": "hello"}}], "usage": {"prompt_tokens": 3}}
).encode()


class Remembering(asyncio.Transport):
    """Takes what is written and does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


def request(*, stream: bool, number: int) -> bytes:
    """As the OpenAI SDK sends it. `number` makes the body's length differ."""
    text = "hello there " + "x" * (number % 40)
    body = json.dumps(
        {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}
    ).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8800\r\nAccept: application/json\r\n"
        "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: OpenAI/Python 3.54.0\r\n"
        "X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 3.54.0\r\nX-Stainless-OS: Linux\r\n"
        "Authorization: Bearer sk-1234\r\nX-Stainless-Retry-Count: 0\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def response() -> bytes:
    head = "HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
    return f"{head}content-length: {len(ANSWER)}\r\ncontent-type: application/json\r\n\r\n".encode() + ANSWER


class Turns:
    """Stands in for the loop where it is asked to call something at the end of its turn."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def end(self) -> None:
        for callback in self._soon:
            callback()
        self._soon.clear()


class Bench:
    """One app connection and one upstream connection of a running daemon, by hand."""

    def __init__(self, daemon: Daemon) -> None:
        side = daemon._side
        listener = Listener(side, over_tcp=True, hosts=frozenset({"127.0.0.1"}), origins=frozenset())
        self._turns = Turns()
        self.turn = listener.turn = Turn(
            cast(asyncio.AbstractEventLoop, self._turns), Pace(sleep=lambda seconds: None)
        )
        self.end_turn = self._turns.end
        self.app_transport, self.llm_transport = Remembering(), Remembering()
        self.app = AppConnection(listener)
        self.app.connection_made(self.app_transport)
        runtime = daemon._in_force.runtime()
        self.pool = runtime.services["a"].pool("127.0.0.1:9")
        self.pool.turn = self.turn
        self.llm = UpstreamConnection(self.pool)
        self.llm.connection_made(self.llm_transport)
        self.llm.served = 1
        self.pool.put_back(self.llm, monotonic())
        self.answer = response()

    def json(self, number: int) -> None:
        self.app.data_received(request_at(number, stream=False))
        self.end_turn()
        self.llm.data_received(self.answer)
        self.end_turn()
        self.app_transport.written.clear()
        self.llm_transport.written.clear()

    def stream(self, chunks: int) -> float:
        self.app.data_received(request_at(0, stream=True))
        self.end_turn()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.llm.data_received(head + event("first"))
        self.end_turn()
        data = [event(f"word{n}") for n in range(chunks)]
        began = perf_counter()
        for piece in data:
            self.llm.data_received(piece)
            self.end_turn()
        took = perf_counter() - began
        done = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        self.llm.data_received(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))
        self.end_turn()
        assert self.app_transport.written[-1].endswith(b"0\r\n\r\n")
        self.app_transport.written.clear()
        self.llm_transport.written.clear()
        return took / chunks


REQUESTS: dict[tuple[int, bool], bytes] = {}


def request_at(number: int, *, stream: bool) -> bytes:
    key = (number % 40, stream)
    if key not in REQUESTS:
        REQUESTS[key] = request(stream=stream, number=number)
    return REQUESTS[key]


def event(text: str) -> bytes:
    payload = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":{"content":"%b"},"logprobs":null,"finish_reason":null}]}\n\n' % text.encode()
    )
    return b"%x\r\n%b\r\n" % (len(payload), payload)


async def main(rounds: int, count: int, profile: bool) -> dict[str, float]:
    loaded = load(yaml.safe_dump(POLICY).encode())
    assert not loaded.problems, loaded.problems
    daemon = Daemon(loaded.config, log_fd=None)
    await daemon.start()
    bench = Bench(daemon)
    for number in range(200):
        bench.json(number)
    if profile:
        import cProfile
        import pstats

        profiler = cProfile.Profile()
        profiler.enable()
        for number in range(count):
            bench.json(number)
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(50)
    best = {"json_us": 1e9, "chunk_us": 1e9}
    for _ in range(rounds):
        began = perf_counter()
        for number in range(count):
            bench.json(number)
        best["json_us"] = min(best["json_us"], (perf_counter() - began) / count * 1e6)
        best["chunk_us"] = min(best["chunk_us"], bench.stream(count) * 1e6)
        await asyncio.sleep(0)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(count):
        bench.json(number)
    gc.collect()
    best["objects_left"] = (len(gc.get_objects()) - before) / count
    daemon.request_stop()
    daemon.request_stop()
    await daemon.run_until_stopped()
    return best


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(main(args.rounds, args.count, args.profile)), sys.stdout, indent=2)
        print()
