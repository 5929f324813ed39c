"""What every exporter does alike: its certificates, and its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.frozen import replace
from sidecar.telemetry.delivery import Exporter, NotTaken, Options, options
from sidecar.telemetry.otlp_grpc import GrpcExporter
from sidecar.telemetry.otlp_http import HttpExporter
from tests.telemetry.delivered import BATCH
from tests.upstream.authority import Authority

PLAIN = options({})
Make = Callable[[str, Options], Exporter]

both = pytest.mark.parametrize("make", [GrpcExporter, HttpExporter])


@both
def test_a_certificate_without_its_key_is_refused_and_the_process_lives(make: Make, tmp_path: Path) -> None:
    """gRPC would end it, and the app's calls with it."""
    caller = Authority(tmp_path).issue("caller", "DNS:caller")
    with pytest.raises(ValueError, match=f"{caller.cert} cannot be used"):
        make("https://h:4317", replace(PLAIN, client_cert_file=str(caller.cert)))
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"):
        make("https://h:4317", replace(PLAIN, client_key_file=str(caller.key)))


@both
def test_a_key_may_stand_behind_its_certificate(make: Make, tmp_path: Path) -> None:
    """In one file, as many tools write them."""
    caller = Authority(tmp_path).issue("caller", "DNS:caller")
    pair = tmp_path / "pair.pem"
    pair.write_bytes(caller.cert.read_bytes() + caller.key.read_bytes())
    make("https://h:4317", replace(PLAIN, client_cert_file=str(pair))).shutdown()


@both
@pytest.mark.parametrize("content", ["", "no certificate"])
def test_authorities_that_cannot_be_read_are_refused(make: Make, content: str, tmp_path: Path) -> None:
    """gRPC would trust everybody's instead, or nobody, and say that the collector is not there."""
    ca = tmp_path / "ca.pem"
    ca.write_text(content)
    with pytest.raises(ValueError, match=f"{ca} cannot be used"):
        make("https://h:4317", replace(PLAIN, ca_file=str(ca)))


@both
def test_after_a_shutdown_nothing_is_sent(make: Make) -> None:
    """It would outlast the sidecar."""
    made = make("http://127.0.0.1:1", PLAIN)
    made.shutdown()
    with pytest.raises(NotTaken, match="was not asked"):
        made.deliver(BATCH)
