"""Delivery of batches to a collector, whatever protocol carries them: settings, tries, and the end of one that hangs.

In:      batches as OTLP's own message; the OTEL_EXPORTER_OTLP_* variables for headers, timeout, compression and
         certificates, a signal's own before the general one.
Out:     `deliver` returns once the collector has taken the batch, and says what of it was rejected.
Units:   seconds, also of OTEL_EXPORTER_OTLP_TIMEOUT, as OpenTelemetry's own exporters for Python read it.
Errors:  NotTaken with the reason when a batch is given up: at an answer that asks for no other try, or when the
         timeout is over. What may pass is tried again, after a pause that doubles, or as long as the collector
         wishes. ValueError for a setting that cannot be meant.
Note:    blocks, so only the exporting thread may call `deliver`; `shutdown` is for another thread, and ends it, unless
         a name is being looked up.
Source:  OpenTelemetry Protocol 1; OpenTelemetry specification, OTLP exporter.
"""

from __future__ import annotations

import re
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from random import Random
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.util.re import parse_env_headers

from sidecar.frozen import Frozen
from sidecar.telemetry.otlp import first

_FIRST_PAUSE = 1.0
_LEAST_PAUSE = 0.1  # also of a collector that wishes for none
_MOST_TOLD = 200  # characters of the collector's own words, or of what it sent instead of an answer
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class NotTaken(Exception):
    """The collector did not take a batch."""


class Taken(Frozen):
    """The collector took the batch, but for some of its spans, which it does not want again."""

    rejected: int = 0
    why: str = ""


class Refused(Frozen):
    """What one try came to, where the collector did not take the batch."""

    why: str
    again: bool  # another try may help
    wait: float | None = None  # before it, as the collector wishes


class Options(Frozen):
    headers: Mapping[str, str]
    timeout: float
    compressed: bool
    ca_file: str  # empty: the authorities that the machine trusts
    client_cert_file: str  # empty: none
    client_key_file: str


class Exporter(ABC):
    def __init__(self, where: str, options: Options) -> None:
        self.where = where  # as the log shows it: without a query, which may bear a key
        self._timeout = options.timeout
        self._exporting = threading.Lock()
        self._closing = threading.Event()
        self._random = Random()

    def deliver(self, batch: bytes) -> Taken:
        """An ExportTraceServiceRequest."""
        with self._exporting:
            try:
                return self._try_until_taken(batch)
            finally:
                if self._closing.is_set():
                    self._hang_up()

    def shutdown(self) -> None:
        self._closing.set()
        self._call_off()
        if self._exporting.acquire(blocking=False):  # else the one who exports hangs up
            self._hang_up()
            self._exporting.release()

    @abstractmethod
    def _send(self, batch: bytes, give_up: float) -> Taken | Refused:
        """One try, until then at most."""

    @abstractmethod
    def _call_off(self) -> None:
        """Ends the call that waits in another thread, if there is one."""

    @abstractmethod
    def _hang_up(self) -> None: ...

    def _try_until_taken(self, batch: bytes) -> Taken:
        give_up = monotonic() + self._timeout
        wait, pause = 0.0, _FIRST_PAUSE
        refused = Refused("was not asked", again=True)
        while refused.again and monotonic() + wait < give_up and not self._closing.wait(wait):
            answer = self._send(batch, give_up)
            if isinstance(answer, Taken):
                return answer
            refused = answer
            wait = pause * self._random.uniform(0.8, 1.2)
            if refused.wait is not None:
                wait = max(refused.wait, _LEAST_PAUSE)
            pause *= 2
        stopped = ", and is asked no more: the sidecar stops" if self._closing.is_set() else ""
        raise NotTaken(f"{self.where} {refused.why[:_MOST_TOLD]}{stopped}")


def taken(answer: bytes) -> Taken:
    """What an ExportTraceServiceResponse says; one that cannot be read says nothing."""
    try:
        partly = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Taken()
    return Taken(max(partly.rejected_spans, 0), partly.error_message[:_MOST_TOLD])


def options(environ: Mapping[str, str]) -> Options:
    def setting(name: str) -> str:
        return first(environ, f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}")

    headers = _headers(setting("HEADERS"))
    compression = setting("COMPRESSION").lower()
    if compression not in ("", "none", "gzip"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression}; expected gzip or none")
    return Options(
        headers=headers,
        timeout=_timeout(setting("TIMEOUT")),
        compressed=compression == "gzip",
        ca_file=setting("CERTIFICATE"),
        client_cert_file=setting("CLIENT_CERTIFICATE"),
        client_key_file=setting("CLIENT_KEY"),
    )


def address(endpoint: str) -> SplitResult:
    """An endpoint with its scheme, host and port."""
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("the OTLP endpoint is no address such as http://127.0.0.1:4318")
    no_user(url.netloc)
    return url


def no_user(authority: str) -> None:
    """An endpoint is shown in the log, so it bears no password."""
    if "@" in authority:
        raise ValueError("the OTLP endpoint bears a user; put credentials into OTEL_EXPORTER_OTLP_HEADERS")


def trust(options: Options) -> ssl.SSLContext:
    """ValueError where a file cannot be used. The key may stand in the certificate's file."""
    if options.client_key_file and not options.client_cert_file:
        raise ValueError("OTEL_EXPORTER_OTLP_CLIENT_KEY is set without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
    file = options.ca_file
    try:
        context = ssl.create_default_context(cafile=file or None)
        if file := options.client_cert_file:
            # With a password, be it none: of a key that is locked OpenSSL would ask for it on the terminal.
            context.load_cert_chain(file, options.client_key_file or None, password="")
    except OSError as error:
        raise ValueError(f"{file} cannot be used: {error}") from error
    return context


def _headers(text: str) -> dict[str, str]:
    """OpenTelemetry leaves out what it cannot read, and the collector then refuses everything.

    Values are secrets: never told, not even when they are wrong.
    """
    headers: dict[str, str] = {}
    for place, part in enumerate(text.split(","), 1):
        read = parse_env_headers(part, liberal=True)
        if part.strip() and not read:
            raise ValueError(f"OTEL_EXPORTER_OTLP_HEADERS: part {place} is not name=value")
        headers.update(read)
    for name, value in headers.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise ValueError(f"OTEL_EXPORTER_OTLP_HEADERS: {name!r} is no header field")
    return headers


def _timeout(text: str) -> float:
    try:
        seconds = float(text or 10)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT is {text}; expected seconds, such as 10")
    return seconds
