"""The data listeners: bound all or none, with the modes the config asks for.

In:      addresses and what makes a protocol for each connection.
Out:     servers, and the addresses as bound (port 0 resolved).
Errors:  OSError in words that name the address and the remedy.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sidecar.sockets import claim, literal_socket, owner_only
from sidecar.terms import Address, TcpAddress, UnixAddress

BACKLOG = 1024

Make = Callable[[], Any]  # of something with the methods of asyncio.Protocol


async def listen(
    loop: asyncio.AbstractEventLoop, addresses: Sequence[tuple[Address, Make]], socket_mode: int
) -> tuple[list[asyncio.AbstractServer], list[Address]]:
    """Binds every address, or none."""
    servers: list[asyncio.AbstractServer] = []
    bound: list[Address] = []
    try:
        for address, make in addresses:
            server, where = await _bind(loop, address, make, socket_mode)
            servers.append(server)
            bound.append(where)
    except OSError:
        for server in servers:
            server.close()
        remove_sockets(map(str, bound))
        raise
    return servers, bound


def remove_sockets(bound: Iterable[str]) -> None:
    """Takes away the files of Unix sockets that were ours."""
    for address in bound:
        if address.startswith("unix:"):
            with contextlib.suppress(OSError):
                os.unlink(address.removeprefix("unix:"))


async def _bind(
    loop: asyncio.AbstractEventLoop, address: Address, make: Make, socket_mode: int
) -> tuple[asyncio.AbstractServer, Address]:
    if isinstance(address, UnixAddress):
        claim(address.path)
        try:
            with owner_only():  # nobody may connect before the mode is what the config says
                server = await loop.create_unix_server(make, address.path, backlog=BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"{address}: {error.strerror or error}") from error
        os.chmod(address.path, socket_mode)
        return server, address
    try:
        if (literal := literal_socket(address)) is not None:
            server = await loop.create_server(make, sock=literal, backlog=BACKLOG)
        else:
            server = await loop.create_server(make, address.host, address.port, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"{address}: address in use by another process") from error
        raise OSError(error.errno, f"{address}: {error.strerror or error}") from error
    return server, TcpAddress(address.host, server.sockets[0].getsockname()[1])
