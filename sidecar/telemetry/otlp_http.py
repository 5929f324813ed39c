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
import socket
from time import monotonic

from sidecar import __version__
from sidecar.telemetry.delivery import Exporter, Options, Refused, address, trust

_AGAIN = frozenset((429, 502, 503, 504))
_MOST_READ = 64 * 1024
_GZIP_LEVEL = 1  # of three times fewer bytes; the next levels take twice the time for a tenth


class HttpExporter(Exporter):
    def __init__(self, endpoint: str, options: Options) -> None:
        url = address(endpoint)
        super().__init__(f"{url.scheme}://{url.netloc}", options)
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._compressed = options.compressed
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": f"llm-ha-sidecar/{__version__}",
            **({"content-encoding": "gzip"} if options.compressed else {}),
            **options.headers,
        }
        host = url.hostname or ""
        self._connection: http.client.HTTPConnection
        if url.scheme == "https":
            self._connection = http.client.HTTPSConnection(host, url.port, context=trust(options))
        else:
            self._connection = http.client.HTTPConnection(host, url.port)
        self._socket: socket.socket | None = None  # the connection forgets it while an answer is read

    def deliver(self, batch: bytes) -> None:
        super().deliver(gzip.compress(batch, _GZIP_LEVEL) if self._compressed else batch)

    def _call_off(self) -> None:
        if (hanging := self._socket) is not None:
            # Not the method of an SSLSocket: that takes its state away under the thread that reads.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(hanging, socket.SHUT_RDWR)

    def _send(self, batch: bytes, give_up: float) -> Refused | None:
        """A connection that the collector closed while nobody used it does not count as a try."""
        kept = self._socket is not None
        try:
            return self._post(batch, give_up)
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            if kept and not isinstance(error, TimeoutError) and not self._closing.is_set():
                return self._send(batch, give_up)
            return Refused(str(error) or type(error).__name__, again=True)

    def _post(self, body: bytes, give_up: float) -> Refused | None:
        connection, left = self._connection, give_up - monotonic()
        if left <= 0 or self._closing.is_set():
            return Refused("did not answer in time", again=False)
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
            return Refused(
                f"answers {answer.status} {answer.reason[:80]}",
                again=answer.status in _AGAIN,
                wait=_seconds(answer.getheader("retry-after", "")),
            )

    def _hang_up(self) -> None:
        self._socket = None
        self._connection.close()


def _seconds(text: str) -> float | None:
    """A date is not read: ours would have to be the collector's clock."""
    return float(text) if text.isascii() and text.isdigit() else None
