"""OTLP over HTTP: one POST a batch, over one connection that is kept.

In:      an endpoint, whose path and query are sent as they are written.
Limits:  an answer's first 64 KiB are read. No redirect, no proxy, no cookie.
Rule:    429, 502, 503, 504 and a connection that fails ask for another try, after `Retry-After` where it is given.
Source:  OpenTelemetry Protocol 1, OTLP/HTTP.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import socket
from time import monotonic
from typing import Any

from sidecar import __version__
from sidecar.telemetry.delivery import Exporter, Options, Refused, Taken, address, taken, trust

_AGAIN = frozenset((429, 502, 503, 504))
_MOST_READ = 64 * 1024
_GZIP_LEVEL = 1  # of three times fewer bytes; the next levels take twice the time for a tenth
_TYPE = "application/x-protobuf"
_TARGET = re.compile(r"[\x21-\x7e]*")
_NO_TIME = 0.001  # seconds: a socket takes none for a wish not to wait


class HttpExporter(Exporter):
    def __init__(self, endpoint: str, options: Options) -> None:
        url = address(endpoint)
        super().__init__(f"{url.scheme}://{url.netloc}", options)
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        if not _TARGET.fullmatch(self._target):
            raise ValueError("the OTLP endpoint's path or query has a character that is not percent-encoded")
        self._compressed = options.compressed
        self._headers = {
            "content-type": _TYPE,
            "user-agent": f"llm-ha-sidecar/{__version__}",
            **({"content-encoding": "gzip"} if options.compressed else {}),
            **options.headers,
        }
        self._trust = trust(options) if url.scheme == "https" else None
        self._host, self._port = url.hostname or "", url.port or (80 if self._trust is None else 443)
        self._connection: http.client.HTTPConnection
        if self._trust is None:
            self._connection = http.client.HTTPConnection(self._host, self._port)
        else:
            self._connection = http.client.HTTPSConnection(self._host, self._port, context=self._trust)
        self._socket: socket.socket | None = None  # of the connection, from the moment that it is dialled

    def deliver(self, batch: bytes) -> Taken:
        return super().deliver(gzip.compress(batch, _GZIP_LEVEL) if self._compressed else batch)

    def _call_off(self) -> None:
        if (hanging := self._socket) is not None:
            # Not the method of an SSLSocket: that takes its state away under the thread that reads.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(hanging, socket.SHUT_RDWR)

    def _send(self, batch: bytes, give_up: float) -> Taken | Refused:
        """A connection that the collector closed while nobody used it does not count as a try."""
        kept = self._socket is not None
        try:
            return self._post(batch, give_up)
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            if kept and not isinstance(error, TimeoutError):
                return self._send(batch, give_up)
            return Refused(str(error) or type(error).__name__, again=True)

    def _post(self, body: bytes, give_up: float) -> Taken | Refused:
        connection, waiting = self._connection, self._socket or self._dial(give_up)
        waiting.settimeout(_until(give_up))
        connection.sock = waiting  # it forgets it where the answer is the last
        connection.request("POST", self._target, body, self._headers)
        with connection.getresponse() as answer:
            said = answer.read(_MOST_READ)
            if not answer.isclosed() or answer.will_close:
                self._hang_up()
            if 200 <= answer.status < 300:
                return taken(said) if answer.headers.get_content_type() == _TYPE else Taken()
            return Refused(
                f"answers {answer.status} {answer.reason}",
                again=answer.status in _AGAIN,
                wait=_seconds(answer.getheader("retry-after", "")),
            )

    def _dial(self, give_up: float) -> socket.socket:
        """A connection to one of the addresses, each of which gets its share of the time that is left."""
        places = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for left, (family, kind, protocol, _, place) in zip(range(len(places), 0, -1), places, strict=True):
            try:
                return self._connect(socket.socket(family, kind, protocol), place, _until(give_up) / left)
            except OSError:
                self._hang_up()
                if left == 1:
                    raise
        raise OSError("has no address")

    def _connect(self, dialled: socket.socket, place: tuple[Any, ...], seconds: float) -> socket.socket:
        self._wait_on(dialled)
        dialled.settimeout(seconds)
        dialled.connect(place)
        dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are two writes
        if self._trust is None:
            return dialled
        secured = self._trust.wrap_socket(dialled, server_hostname=self._host, do_handshake_on_connect=False)
        self._wait_on(secured)
        secured.do_handshake()
        return secured

    def _wait_on(self, waiting: socket.socket) -> None:
        """From here on whoever calls off finds it; who has done so before is seen here."""
        self._socket = waiting
        if self._closing.is_set():
            raise OSError("was not waited for")

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._connection.close()


def _until(give_up: float) -> float:
    return max(give_up - monotonic(), _NO_TIME)


def _seconds(text: str) -> float | None:
    """A date is not read: ours would have to be the collector's clock."""
    return float(text) if text.isascii() and text.isdigit() else None
