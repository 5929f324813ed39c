"""Binding an ops address: a TCP port, or a Unix socket that is its owner's alone.

In:      an address; what serves a connection.
Out:     the server and the address as bound (port 0 resolved).
Errors:  OSError, also when a live process serves the Unix socket already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.sockets import claim, literal_socket, owner_only, seal
from sidecar.terms import Address, TcpAddress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def listen(address: Address, serve: Serve, *, limit: int) -> tuple[asyncio.Server, Address]:
    if isinstance(address, TcpAddress):
        if (literal := literal_socket(address)) is not None:
            server = await asyncio.start_server(serve, sock=literal, limit=limit)
        else:
            server = await asyncio.start_server(serve, address.host, address.port, limit=limit)
        return server, TcpAddress(address.host, server.sockets[0].getsockname()[1])
    claim(address.path)
    with owner_only():
        server = await asyncio.start_unix_server(serve, address.path, limit=limit)
    seal(address.path)
    return server, address
