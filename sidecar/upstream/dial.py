"""Opens a new connection to an endpoint.

In:      where to, with what TLS, within what time; the connection that is to be it.
Out:     `done`, called once, with it or with a Failure by its cause.
Why:     apart from the pool, so as not to be compiled (docs/adr/0008): a coroutine of mypyc passes exceptions on in a
         way that Python 3.12 warns about, and a dial is not what has to be fast.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import cast

from sidecar.failure import Failure, FailureKind
from sidecar.terms import Address, UnixAddress
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.tls import TlsReader


class Dial:
    """A dial in progress; `cancel()` ends it and `done` is not called any more."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()


async def dial(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    tls: TlsReader | None,
    server_name: str | None,
    connection: UpstreamConnection,
    timeout: float,
    done: Callable[[UpstreamConnection | Failure], None],
) -> None:
    result: UpstreamConnection | Failure = connection
    try:
        async with asyncio.timeout(timeout):
            context = tls.context(monotonic()) if tls is not None else None
            await _connect(loop, address, context, server_name, connection)
    except (OSError, ValueError) as error:  # ValueError: a host name that no resolver can be asked for
        result = connect_failure(error, timeout)
    done(result)


async def _connect(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    connection: UpstreamConnection,
) -> None:
    def protocol() -> asyncio.Protocol:
        return cast(asyncio.Protocol, connection)

    name = server_name if tls is not None else None
    if isinstance(address, UnixAddress):
        await loop.create_unix_connection(protocol, address.path, ssl=tls, server_hostname=name)
    else:
        await loop.create_connection(protocol, address.host, address.port, ssl=tls, server_hostname=name)


def connect_failure(error: BaseException, timeout: float) -> Failure:
    """The cause of a failed dial in words; `detail` goes to records, not to the app."""
    kind, silent = FailureKind.CONNECT_FAILURE, False
    match error:
        case ssl.SSLCertVerificationError():
            kind, detail = FailureKind.TLS_ERROR, f"certificate refused: {error.verify_message}"
        case ssl.SSLError():
            kind, detail = FailureKind.TLS_ERROR, f"TLS: {error.reason or error}"
        case TimeoutError():
            detail, silent = f"no connection within {timeout:g} s", True
        case socket.gaierror():
            detail = f"name not resolved: {error.strerror}"
        case OSError():
            detail = error.strerror or str(error)
        case _:
            detail = str(error)
    return Failure(kind, detail=detail, silent=silent)
