"""What the stories here have in common: a config, scripted LLM services beside the test, and waiting for the world.

In:      a folder of the test's own; services as tests.daemon.sidecar writes them; answers of tests.daemon.llm.
Out:     a config whose every listener is open; an LLM service that answers while the test blocks on a real peer.
Units:   seconds.
Errors:  what does not come true in time is an AssertionError that names it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.daemon.llm import Answer, Llm
from tests.daemon.process import Process, running

T = TypeVar("T")


def config(
    folder: Path, *services: dict[str, Any], route: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """One route over the services in order; data, admin and ops sockets in the folder and on free ports."""
    rule = {"services": [service["name"] for service in services], **(route or {})}
    return {
        "listen": [f"unix:{folder}/llm.sock", "127.0.0.1:0"],
        "admin": {"listen": [f"unix:{folder}/admin.sock", "127.0.0.1:0"]},
        "ops": {"listen": ["127.0.0.1:0"]},
        "drain_timeout": "5s",
        "policy": {"services": list(services), "routes": [rule]},
        **more,
    }


@contextmanager
def daemon(written: dict[str, Any], folder: Path, **env: str) -> Iterator[Process]:
    """The daemon as a process; what it had to say stands beside a test that fails."""
    with running(written, folder, **env) as process:
        try:
            yield process
        finally:
            print(*process.stderr, *process.lines[-20:], sep="\n")


@contextmanager
def llm(*answers: Answer) -> Iterator[Llm]:
    """A scripted LLM service on a loop and in a thread of its own."""
    service, up = Llm(*answers), Future[Callable[[], object]]()

    async def serve() -> None:
        loop, down = asyncio.get_running_loop(), asyncio.Event()
        async with service:
            up.set_result(lambda: loop.call_soon_threadsafe(down.set))
            await down.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    end = up.result(10)
    try:
        yield service
    finally:
        end()
        thread.join(10)


def until(what: str, look: Callable[[], T], *, within: float = 20.0) -> T:
    """What `look` returns once that is true: for peers that can only be asked, not waited for."""
    give_up = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < give_up, f"not within {within:g} s: {what}"
        time.sleep(0.02)
    return found
