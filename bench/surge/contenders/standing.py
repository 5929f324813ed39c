"""What every contender has in common: where the services are, where apps ask, and a process that is ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.terms import Address, TcpAddress, UnixAddress
from tests.itest.peers.install import PeerMissing

READY_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Services:
    """What the contender stands before."""

    primary: TcpAddress
    fallback: TcpAddress


def no_limit() -> None:
    """Nothing adapts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A contender that accepts requests."""

    listen: Sequence[Address]
    limit: Callable[[], float | None] = no_limit  # what it lets through at a time, all of it together
    unnamed: str = ""  # the service behind an answer that does not name one


@asynccontextmanager
async def process(command: Sequence[str], listen: UnixAddress, log: Path) -> AsyncIterator[None]:
    """Runs a peer until the block ends; it is ready when it accepts."""
    with log.open("wb") as output:
        running = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not await _accepts(listen):
                if running.returncode is not None:
                    raise PeerMissing(f"{Path(command[0]).name} ended at once: {_last_words(log)}")
                await asyncio.sleep(0.05)
        yield
    except TimeoutError:
        raise PeerMissing(f"{Path(command[0]).name} does not listen: {_last_words(log)}") from None
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def _accepts(listen: UnixAddress) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(listen.path)
    except OSError:
        return False
    writer.close()
    return True


def _last_words(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
