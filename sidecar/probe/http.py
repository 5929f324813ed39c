"""One probe: a GET over a connection of its own, and the status of its answer.

In:      a service with active_health, one of its endpoint addresses.
Out:     the final status; interim answers (1xx) are passed over. The body is not read.
Errors:  ProbeFailed with a failure kind's word and what happened. Time is up to the caller, who cancels;
         the connection is aborted in every case, for a polite TLS close could wait on a dead peer.
Limits:  16 KiB for the heads.
Note:    the request bears the service's `set` headers and its credential, for some gateways serve nobody
         without; a service that overrides Host does so for its probes too.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable

from sidecar.failure import FailureKind
from sidecar.policy.snapshot import ActiveHealth, Service
from sidecar.terms import Address, UnixAddress

MAX_HEADS = 16 * 1024
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
# A secret read from a file must not be able to add a header of its own.
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class ProbeFailed(Exception):
    """No status came."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(f"{kind.value}: {detail}" if detail else kind.value)


class HttpProbe:
    """Sends probes over HTTP/1.1; TLS and credentials come from whoever knows them."""

    def __init__(
        self,
        ssl_context: Callable[[Service], ssl.SSLContext | None],
        credential: Callable[[Service], tuple[str, str] | None],
    ) -> None:
        self._ssl_context = ssl_context
        self._credential = credential

    async def __call__(self, service: Service, address: Address) -> int:
        assert service.active_health is not None
        request = request_head(service, service.active_health, self._credential(service))
        try:
            reader, writer = await self._connect(service, address)
        except ssl.SSLError as error:
            raise ProbeFailed(FailureKind.TLS_ERROR, error.reason or "") from error
        except OSError as error:
            raise ProbeFailed(FailureKind.CONNECT_FAILURE, error.strerror or str(error)) from error
        try:
            writer.write(request)
            return await final_status(reader)
        except OSError as error:
            raise ProbeFailed(FailureKind.RESET, error.strerror or str(error)) from error
        finally:
            writer.transport.abort()

    async def _connect(
        self, service: Service, address: Address
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = self._ssl_context(service) if service.url.scheme == "https" else None
        name = (service.tls.server_name or service.url.host) if context is not None else None
        if isinstance(address, UnixAddress):
            return await asyncio.open_unix_connection(
                address.path, ssl=context, server_hostname=name, limit=MAX_HEADS
            )
        return await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=name, limit=MAX_HEADS
        )


def request_head(service: Service, check: ActiveHealth, credential: tuple[str, str] | None) -> bytes:
    """The whole request; a later field of the same name replaces an earlier one."""
    fields = {
        "host": service.url.authority,
        "user-agent": "llm-ha-sidecar",
        "accept": "*/*",
        **dict(service.set_headers),
        "connection": "close",
    }
    if credential is not None:
        fields[credential[0].lower()] = credential[1]
    for name, value in fields.items():
        if not FIELD_VALUE.fullmatch(value):
            raise ProbeFailed(FailureKind.AUTH, f"the value for {name} is no header value")
    lines = [f"GET {check.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def final_status(reader: asyncio.StreamReader) -> int:
    """Reads heads up to that of the final answer."""
    read = 0
    while read <= MAX_HEADS:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            kind = FailureKind.BAD_RESPONSE if error.partial else FailureKind.RESET
            raise ProbeFailed(kind, "closed before the end of the head") from error
        except asyncio.LimitOverrunError as error:
            raise ProbeFailed(FailureKind.BAD_RESPONSE, "the head is too long") from error
        line = STATUS_LINE.match(head)
        if line is None:
            raise ProbeFailed(FailureKind.BAD_RESPONSE, "no HTTP/1 status line")
        if (status := int(line[1])) >= 200:
            return status
        read += len(head)
    raise ProbeFailed(FailureKind.BAD_RESPONSE, "too many interim answers")
