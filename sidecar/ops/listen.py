"""Binding an ops address: a TCP port, or a Unix socket whose old file may be in the way.

In:      an address; what serves a connection.
Out:     the server and the address as bound (port 0 resolved).
Errors:  OSError, also when a live process serves the Unix socket already.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable

from sidecar.terms import Address, TcpAddress, UnixAddress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def listen(address: Address, serve: Serve, *, limit: int) -> tuple[asyncio.Server, Address]:
    if isinstance(address, TcpAddress):
        server = await asyncio.start_server(serve, address.host, address.port, limit=limit)
        return server, TcpAddress(address.host, server.sockets[0].getsockname()[1])
    _clear_the_way(address)
    server = await asyncio.start_unix_server(serve, address.path, limit=limit)
    os.chmod(address.path, 0o600)
    return server, address


def _clear_the_way(address: UnixAddress) -> None:
    """Removes a socket file that nobody serves; asyncio itself would also remove one that is alive."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(address.path).st_mode):
            raise FileExistsError(errno.EEXIST, "is there and no socket", address.path)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(address.path)
            except ConnectionRefusedError:
                os.unlink(address.path)
                return
        raise OSError(errno.EADDRINUSE, "is served by a live process", address.path)
