"""One probe: a request over a connection of its own, and what its answer says.

In:      a service with active_health, one of its endpoint addresses.
Out:     the final status; interim answers (1xx) are passed over. A GET is not read beyond its head, but for a 503 that
         may say that the server is still loading. An inference is read to the first packet that counts, and then
         hung up on, so that the LLM stops computing.
Errors:  ProbeFailed with a failure kind's word and what happened. Time is up to the caller, who cancels;
         the connection is aborted in every case, for a polite TLS close could wait on a dead peer.
Limits:  16 KiB for the heads, the gate's own for an inference.
Note:    the request bears the service's `set` headers and its credential, for some gateways serve nobody
         without; a service that overrides Host does so for its probes too.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from sidecar.exchange.gate import Gate, Terms
from sidecar.failure import Failure, FailureKind
from sidecar.health.active import LOADING
from sidecar.policy.snapshot import AnswerLimits, InferenceCheck, Service
from sidecar.terms import Address, UnixAddress
from sidecar.wire.dialect import Shape, shape_of
from sidecar.wire.head_cache import ResponseHeads

MAX_HEADS = 16 * 1024
BODY_GRACE = 0.1  # seconds, for what stands behind a 503
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
# A secret read from a file must not be able to add a header of its own.
# llama.cpp says "Loading model"; text-generation and embedding servers have words of their own for it.
LOADING_WORDS = re.compile(rb"loading|warming|starting|initiali[sz]ing", re.IGNORECASE)
NO_BODY = re.compile(rb"\r\ncontent-length:[ \t]*0[ \t]*\r\n", re.IGNORECASE)
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class ProbeFailed(Exception):
    """No status came."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(f"{kind.value}: {detail}" if detail else kind.value)


class Loading(ProbeFailed):
    """The server is there, and says that it is not ready yet."""

    def __init__(self) -> None:
        Exception.__init__(self, LOADING)


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
        check = service.active_health
        assert check is not None
        async with self._asked(service, address, self._request(service, check.path, check.request)) as reader:
            if check.request is None:
                return await final_status(reader)
            return await inference_status(reader, service, check.request)

    async def get(self, service: Service, address: Address, path: str, *, most: int) -> bytes:
        """A whole answer of at most so many bytes; ProbeFailed for any status but 200."""
        terms = _terms("GET", Shape.OTHER, stream=False, limits=AnswerLimits(max_held=most))
        async with self._asked(service, address, self._request(service, path, None)) as reader:
            gate = Gate(terms)
            failure = await _answered(reader, gate)
        if failure is not None and failure.kind is not FailureKind.STATUS:
            raise ProbeFailed(failure.kind, failure.detail)
        assert gate.head is not None
        if gate.head.status != 200:
            raise ProbeFailed(FailureKind.STATUS, str(gate.head.status))
        if not gate.is_complete:
            raise ProbeFailed(FailureKind.ANSWER_TOO_LARGE, f"over {most} bytes")
        return gate.body()

    def _request(self, service: Service, path: str, inference: InferenceCheck | None) -> bytes:
        credential = self._credential(service)
        if inference is None:
            return request_head(service, f"GET {path} HTTP/1.1", credential)
        extra = {"content-type": "application/json", "content-length": str(len(inference.body))}
        if service.dialect == "anthropic":
            extra["anthropic-version"] = "2023-06-01"
        line = f"POST {service.url.path}{inference.path} HTTP/1.1"
        return request_head(service, line, credential, extra) + inference.body

    @asynccontextmanager
    async def _asked(
        self, service: Service, address: Address, request: bytes
    ) -> AsyncIterator[asyncio.StreamReader]:
        try:
            reader, writer = await self._connect(service, address)
        except ssl.SSLError as error:
            raise ProbeFailed(FailureKind.TLS_ERROR, error.reason or "") from error
        except OSError as error:
            raise ProbeFailed(FailureKind.CONNECT_FAILURE, error.strerror or str(error)) from error
        try:
            writer.write(request)
            yield reader
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


def request_head(
    service: Service, line: str, credential: tuple[str, str] | None, extra: Mapping[str, str] | None = None
) -> bytes:
    """A whole head; a later field of the same name replaces an earlier one."""
    fields = {
        "host": service.url.authority,
        "user-agent": "llm-ha-sidecar",
        "accept": "*/*",
        **(extra or {}),
        **dict(service.set_headers),
        "connection": "close",
    }
    if credential is not None:
        fields[credential[0].lower()] = credential[1]
    for name, value in fields.items():
        if not FIELD_VALUE.fullmatch(value):
            raise ProbeFailed(FailureKind.AUTH, f"the value for {name} is no header value")
    lines = [line, *(f"{name}: {value}" for name, value in fields.items())]
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
        status = int(line[1])
        if status == 503 and LOADING_WORDS.search(await _beginning(reader, head)):
            raise Loading
        if status >= 200:
            return status
        read += len(head)
    raise ProbeFailed(FailureKind.BAD_RESPONSE, "too many interim answers")


async def _beginning(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Of a body that should be here with its head; nothing of one that is not."""
    if NO_BODY.search(head):
        return b""
    try:
        return await asyncio.wait_for(reader.read(MAX_HEADS), BODY_GRACE)
    except TimeoutError:
        return b""


async def inference_status(reader: asyncio.StreamReader, service: Service, check: InferenceCheck) -> int:
    """Reads until the answer has begun, be it with a thought, or is complete without a word."""
    gate = Gate(_terms("POST", shape_of(check.path), stream=True, limits=service.limits))
    failure = await _answered(reader, gate)
    finished = gate.reader is not None and gate.reader.finished
    if failure is not None and failure.kind is FailureKind.EMPTY_STREAM and finished:
        failure = None  # it thought for as long as it was allowed to
    if failure is not None and failure.status == 503 and LOADING_WORDS.search(gate.body()):
        raise Loading
    if failure is not None and failure.kind is not FailureKind.STATUS:
        raise ProbeFailed(failure.kind, failure.detail)
    assert gate.head is not None
    return gate.head.status


async def _answered(reader: asyncio.StreamReader, gate: Gate) -> Failure | None:
    """Until the gate has decided; None: it opened."""
    while True:
        data = await reader.read(65536)
        decided = gate.feed(data) if data else gate.ended()
        if decided is not None:
            return decided if isinstance(decided, Failure) else None


def _terms(method: str, shape: Shape, *, stream: bool, limits: AnswerLimits) -> Terms:
    return Terms(
        method=method,
        shape=shape,
        stream=stream,
        first_packet_is=None,
        complete=False,
        own_credential=False,
        fallback_on=frozenset(),
        heads=ResponseHeads(),
        limits=limits,
    )
