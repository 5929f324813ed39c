"""An OTLP/HTTP receiver that keeps what it is sent, and misbehaves by a script.

In:      one Turn for each POST, the last of them for all that come after; certificates for TLS.
Out:     Posts: path, fields and body as sent, and the request they decode to.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TAKEN = ExportTraceServiceResponse().SerializeToString()


@dataclass(frozen=True)
class Turn:
    """How one POST is answered."""

    status: int = 200
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = TAKEN
    hangs: bool = False  # never answers
    dies: bool = False  # closes without an answer
    closes: bool = False  # closes behind a whole answer, without a word of it before
    nonsense: bytes = b""  # is sent instead, before it closes


@dataclass(frozen=True)
class Post:
    path: str
    fields: Mapping[str, str]  # names in lower case
    sent: bytes
    connection: int  # which of the connections that were made, from 1

    @cached_property
    def request(self) -> ExportTraceServiceRequest:
        zipped = self.fields.get("content-encoding") == "gzip"
        return ExportTraceServiceRequest.FromString(gzip.decompress(self.sent) if zipped else self.sent)

    def spans(self) -> list[Span]:
        return [s for r in self.request.resource_spans for scope in r.scope_spans for s in scope.spans]


class HttpCollector:
    def __init__(self, *turns: Turn, tls: ssl.SSLContext | None = None) -> None:
        self.posts: list[Post] = []
        self.connections = 0
        self._turns = list(turns) or [Turn()]
        self._arrived = threading.Condition()
        self._ended = threading.Event()
        self._server = _Server(self)
        self.port: int = self._server.server_port
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def spans(self) -> list[Span]:
        return [span for post in list(self.posts) for span in post.spans()]

    def wait_for_posts(self, count: int) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.posts) >= count, timeout=30)

    def stop(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, post: Post) -> Turn:
        with self._arrived:
            turn = self._turns[min(len(self.posts), len(self._turns) - 1)]
            self.posts.append(post)
            self._arrived.notify_all()
        if turn.hangs:
            self._ended.wait(30)
        return turn


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, collector: HttpCollector) -> None:
        self.collector = collector
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, or whose certificate is refused, is part of the story."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self._collector = cast(_Server, self.server).collector
        self._collector.connections += 1
        self._number = self._collector.connections
        super().setup()

    def do_POST(self) -> None:
        fields = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(fields["content-length"]))
        turn = self._collector.take(Post(self.path, fields, body, self._number))
        self.close_connection = turn.dies or turn.closes or bool(turn.nonsense)
        if turn.nonsense:
            self.wfile.write(turn.nonsense)
            return
        if turn.hangs or turn.dies:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(turn.status)
        fields = {
            "content-type": "application/x-protobuf",
            "content-length": str(len(turn.body)),
            **turn.fields,
        }
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(turn.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to tell."""
