"""OTLP over HTTP: spans in the SDK's own encoding, one POST a batch, over one connection that is kept.

In:      spans; where to; the OTEL_EXPORTER_OTLP_* variables for headers, timeout, compression and certificates,
         a signal's own before the general one.
Out:     SUCCESS once the collector has answered 2xx.
Units:   seconds, also of OTEL_EXPORTER_OTLP_TIMEOUT: so the SDK's exporter over gRPC reads it, and one setting
         must not mean two things.
Limits:  an answer's first 64 KiB are read. No redirect, no proxy, no cookie.
Errors:  NotTaken with the reason when a batch is given up: at an answer that asks for no other try, or when the
         timeout is over. 429, 502, 503, 504 and a connection that fails are tried again, after a pause that
         doubles, or as long as `Retry-After` wishes. ValueError for a setting that cannot be meant.
Note:    blocks, so only the exporting thread may call `export`; `shutdown` is for another thread, and ends it.
Source:  OpenTelemetry Protocol 1, OTLP/HTTP.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from random import Random
from time import monotonic
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers

from sidecar import __version__
from sidecar.frozen import Frozen
from sidecar.telemetry.otlp import first

_AGAIN = frozenset((429, 502, 503, 504))
_FIRST_PAUSE = 1.0
_MOST_READ = 64 * 1024
_GZIP_LEVEL = 1  # of three times fewer bytes; the next levels take twice the time for a tenth
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class NotTaken(Exception):
    """The collector did not take a batch."""


class Options(Frozen):
    headers: Mapping[str, str]
    timeout: float
    compressed: bool
    ca_file: str  # empty: the authorities that the machine trusts
    client_cert_file: str  # empty: none
    client_key_file: str


def options(environ: Mapping[str, str]) -> Options:
    def setting(name: str) -> str:
        return first(environ, f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}")

    compression = setting("COMPRESSION").lower()
    if compression not in ("", "none", "gzip"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression}; expected gzip or none")
    headers = parse_env_headers(setting("HEADERS"), liberal=True)
    for name, value in headers.items():  # a secret: never told, not even when it is wrong
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise ValueError(f"OTEL_EXPORTER_OTLP_HEADERS: {name!r} is no header field")
    return Options(
        headers=headers,
        timeout=float(setting("TIMEOUT") or 10),
        compressed=compression == "gzip",
        ca_file=setting("CERTIFICATE"),
        client_cert_file=setting("CLIENT_CERTIFICATE"),
        client_key_file=setting("CLIENT_KEY"),
    )


class HttpExporter(SpanExporter):
    def __init__(self, endpoint: str, options: Options) -> None:
        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("the OTLP endpoint is no address such as http://127.0.0.1:4318")
        if url.username is not None:
            raise ValueError(
                "the OTLP endpoint bears a user; put credentials into OTEL_EXPORTER_OTLP_HEADERS"
            )
        self._where = f"{url.scheme}://{url.netloc}"
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._timeout = options.timeout
        self._compressed = options.compressed
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": f"llm-ha-sidecar/{__version__}",
            **({"content-encoding": "gzip"} if options.compressed else {}),
            **options.headers,
        }
        self._connection: http.client.HTTPConnection
        if url.scheme == "https":
            self._connection = http.client.HTTPSConnection(url.hostname, url.port, context=_trust(options))
        else:
            self._connection = http.client.HTTPConnection(url.hostname, url.port)
        self._socket: socket.socket | None = None  # the connection forgets it while an answer is read
        self._exporting = threading.Lock()
        self._closing = threading.Event()
        self._random = Random()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._exporting:
            try:
                self._deliver(spans)
            finally:
                if self._closing.is_set():
                    self._hang_up()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._closing.set()
        if (hanging := self._socket) is not None:
            # Not the method of an SSLSocket: that takes its state away under the thread that reads.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(hanging, socket.SHUT_RDWR)
        if self._exporting.acquire(blocking=False):  # else the one who exports hangs up
            self._hang_up()
            self._exporting.release()

    def _deliver(self, spans: Sequence[ReadableSpan]) -> None:
        body = encode_spans(spans).SerializeToString()
        if self._compressed:
            body = gzip.compress(body, _GZIP_LEVEL)
        give_up = monotonic() + self._timeout
        pause = _FIRST_PAUSE
        while (refused := self._send(body, give_up)) is not None:
            wait = pause * self._random.uniform(0.8, 1.2) if refused.wait is None else refused.wait
            if not refused.again or monotonic() + wait >= give_up or self._closing.wait(wait):
                raise NotTaken(f"{self._where} {refused.why}")
            pause *= 2

    def _send(self, body: bytes, give_up: float) -> _Refused | None:
        """One try; a connection that the collector closed while nobody used it does not count as one."""
        kept = self._socket is not None
        try:
            return self._post(body, give_up)
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            if kept and not isinstance(error, TimeoutError) and not self._closing.is_set():
                return self._send(body, give_up)
            return _Refused(str(error) or type(error).__name__, again=True)

    def _post(self, body: bytes, give_up: float) -> _Refused | None:
        connection, left = self._connection, give_up - monotonic()
        if left <= 0 or self._closing.is_set():
            return _Refused("did not answer in time", again=False)
        connection.timeout = left
        if self._socket is None:
            connection.connect()
            self._socket = connection.sock
        else:
            self._socket.settimeout(left)
        connection.request("POST", self._target, body, self._headers)
        with connection.getresponse() as answer:
            answer.read(_MOST_READ)
            if not answer.isclosed() or answer.will_close:
                self._hang_up()
            if 200 <= answer.status < 300:
                return None
            return _Refused(
                f"answers {answer.status} {answer.reason[:80]}",
                again=answer.status in _AGAIN,
                wait=_seconds(answer.getheader("retry-after", "")),
            )

    def _hang_up(self) -> None:
        self._socket = None
        self._connection.close()


class _Refused(Frozen):
    why: str
    again: bool
    wait: float | None = None  # as the collector wishes


def _trust(options: Options) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_file or None)
    if options.client_cert_file:
        context.load_cert_chain(options.client_cert_file, options.client_key_file or None)
    return context


def _seconds(text: str) -> float | None:
    """A date is not read: ours would have to be the collector's clock."""
    return float(text) if text.isascii() and text.isdigit() else None
