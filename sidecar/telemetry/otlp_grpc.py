"""OTLP over gRPC: one call a batch, over one channel that is kept.

In:      an endpoint with `http://` (plain) or `https://` (TLS) before it; without either, a target of gRPC, TLS unless
         OTEL_EXPORTER_OTLP_INSECURE is true.
Note:    the SDK's exporter would bring its metrics and logs along, 5 MiB of a pod: docs/adr/0010-spans-as-messages.md.
Source:  OpenTelemetry Protocol 1, OTLP/gRPC: which statuses ask for another try, and when.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from time import monotonic

import grpc
from google.protobuf.message import DecodeError

from sidecar import __version__
from sidecar.telemetry.delivery import Exporter, Options, Refused, Taken, address, no_user, taken, trust

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_AGAIN = frozenset(
    (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
_CHANNEL = (
    ("grpc.primary_user_agent", f"llm-ha-sidecar/{__version__}"),
    # gRPC's own pauses grow to two minutes, in which a collector that is back gets nothing.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
# What gRPC would refuse at each call, and show with its value.
_NAME = re.compile(r"[0-9a-z_.-]+(?<!-bin)")
_VALUE = re.compile(r"[\x20-\x7e]*")


class GrpcExporter(Exporter):
    def __init__(self, endpoint: str, options: Options, *, insecure: bool = False) -> None:
        scheme = endpoint.partition("://")[0].lower()
        if scheme in ("http", "https"):
            target, insecure = address(endpoint).netloc, scheme == "http"
            super().__init__(f"{scheme}://{target}", options)
        else:
            no_user(endpoint)
            target = endpoint
            super().__init__(endpoint, options)
        self._metadata = tuple(options.headers.items())
        for name, value in self._metadata:
            if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
                raise ValueError(f"OTEL_EXPORTER_OTLP_HEADERS: {name!r} cannot be sent over gRPC")
        compression = grpc.Compression.Gzip if options.compressed else grpc.Compression.NoCompression
        if insecure:
            self._channel = grpc.insecure_channel(target, _CHANNEL, compression)
        else:
            self._channel = grpc.secure_channel(target, _credentials(options), _CHANNEL, compression)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(_EXPORT)

    def _send(self, batch: bytes, give_up: float) -> Taken | Refused:
        try:
            return taken(self._export(batch, timeout=give_up - monotonic(), metadata=self._metadata))
        except grpc.RpcError as error:
            return self._refused(error)

    def _refused(self, error: grpc.RpcError) -> Refused:
        wait = _wish(error)
        code = error.code()
        return Refused(
            f"answers {code.name}: {error.details() or ''}",
            # Who is exhausted for good does not say when to come again.
            again=code in _AGAIN or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and wait is not None),
            wait=wait,
        )

    def _call_off(self) -> None:
        self._channel.close()

    def _hang_up(self) -> None:
        self._channel.close()


def _credentials(options: Options) -> grpc.ChannelCredentials:
    def content(path: str) -> bytes | None:
        return Path(path).read_bytes() if path else None

    # gRPC ends the process at a certificate without a key, and takes other files that it cannot use for none.
    trust(options)
    return grpc.ssl_channel_credentials(
        content(options.ca_file),
        content(options.client_key_file or options.client_cert_file),
        content(options.client_cert_file),
    )


def _wish(error: grpc.RpcError) -> float | None:
    """Seconds that the collector wishes us to wait, from the details of its status."""
    from google.rpc.error_details_pb2 import RetryInfo
    from grpc_status import rpc_status

    with contextlib.suppress(ValueError, DecodeError):  # details of another status than the call's, or none
        status = rpc_status.from_call(error)
        for detail in status.details if status is not None else ():
            info = RetryInfo()
            if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
