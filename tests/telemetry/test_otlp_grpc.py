"""OTLP over gRPC: what is sent, what is tried again, and what a bad collector costs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import grpc
import pytest

from sidecar.frozen import replace
from sidecar.telemetry.delivery import NotTaken, Options, Refused, Taken, options
from sidecar.telemetry.otlp_grpc import GrpcExporter
from tests.telemetry.collector import Answer, Collector
from tests.telemetry.delivered import BATCH, shut_down, started
from tests.upstream.authority import Authority

PLAIN = options({})
Start = Callable[..., Collector]


@pytest.fixture
def start() -> Iterator[Start]:
    yield from started(Collector)


@contextmanager
def exporter(endpoint: str, settings: Options = PLAIN, *, insecure: bool = False) -> Iterator[GrpcExporter]:
    made = GrpcExporter(endpoint, settings, insecure=insecure)
    yield made
    made.shutdown()


def refused(code: grpc.StatusCode, wait_ms: int | None = None) -> Answer:
    return Answer(code, wait_ms)


def test_a_batch_is_one_call(start: Start) -> None:
    """Any collector reads it; headers and the name of who sends come along."""
    collector = start()
    settings = options({"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20k%2Bk, x-tenant = 7"})
    with exporter(collector.endpoint, settings) as made:
        made.deliver(BATCH)
    assert [span.name for span in collector.spans()] == ["POST /v1", "chat gpt-4o", "chat gpt-4o"]
    [metadata] = collector.metadata
    assert (metadata["authorization"], metadata["x-tenant"]) == ("Bearer k+k", "7")
    assert metadata["user-agent"].startswith("llm-ha-sidecar/")


@pytest.mark.parametrize(
    ("form", "insecure"), [("127.0.0.1:{}", True), ("HTTP://127.0.0.1:{}/v1/traces", False)]
)
def test_an_endpoint_may_have_no_scheme_or_a_path(start: Start, form: str, insecure: bool) -> None:
    """As OpenTelemetry's own exporter takes them; without a scheme, OTEL_EXPORTER_OTLP_INSECURE decides."""
    collector = start()
    with exporter(form.format(collector.port), insecure=insecure) as made:
        made.deliver(BATCH)
    assert len(collector.requests) == 1


def test_a_batch_may_be_compressed(start: Start) -> None:
    """What arrives is the same; the channel says that it was."""
    collector = start()
    with exporter(collector.endpoint, replace(PLAIN, compressed=True)) as made:
        made.deliver(BATCH)
    assert len(collector.spans()) == 3


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ],
)
def test_an_answer_that_asks_for_no_other_try_gets_none(start: Start, code: grpc.StatusCode) -> None:
    """The next batch is worth more than this one."""
    collector = start(refused(code))
    told = f"{collector.endpoint} answers {code.name}: not today"
    with exporter(collector.endpoint) as made, pytest.raises(NotTaken, match=told):
        made.deliver(BATCH)
    assert len(collector.metadata) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_collector_that_is_busy_is_asked_again_when_it_wishes(start: Start, code: grpc.StatusCode) -> None:
    """RetryInfo in the details of the status, as the protocol has it."""
    collector = start(refused(code, 1), Answer())
    with exporter(collector.endpoint) as made:
        began = monotonic()
        made.deliver(BATCH)
        assert monotonic() - began < 0.7  # the first pause of our own is 0.8 at least
    assert (len(collector.metadata), len(collector.requests)) == (2, 1)


@pytest.mark.parametrize(
    "answer", [refused(grpc.StatusCode.ABORTED), Answer(grpc.StatusCode.UNAVAILABLE, garbled=True)]
)
def test_one_without_a_wish_is_asked_again_after_a_pause(start: Start, answer: Answer) -> None:
    """Nor is it one that cannot be read."""
    collector = start(answer, Answer())
    with exporter(collector.endpoint) as made:
        began = monotonic()
        made.deliver(BATCH)
        assert monotonic() - began >= 0.8
    assert len(collector.requests) == 1


def test_a_batch_that_is_taken_in_part_is_not_sent_again(start: Start) -> None:
    """By the protocol; what is rejected is told, in the collector's own words as far as they are few."""
    collector = start(Answer(rejected=2))
    with exporter(collector.endpoint) as made:
        assert made.deliver(BATCH) == Taken(2, "too old" + "!" * 193)
    assert len(collector.requests) == 1


def test_a_collector_that_hangs_costs_its_timeout_and_the_batch(start: Start) -> None:
    collector = start(Answer(hangs=True))
    began = monotonic()
    with (
        exporter(collector.endpoint, replace(PLAIN, timeout=0.3)) as made,
        pytest.raises(NotTaken, match="DEADLINE_EXCEEDED"),
    ):
        made.deliver(BATCH)
    assert 0.3 <= monotonic() - began < 5


@pytest.mark.parametrize(
    "answer", [Answer(hangs=True), refused(grpc.StatusCode.UNAVAILABLE)], ids=["in a call", "in a pause"]
)
def test_a_shutdown_ends_what_waits(start: Start, answer: Answer) -> None:
    """From another thread: the daemon stops within its second whatever the collector does."""
    collector = start(answer)
    with exporter(collector.endpoint, replace(PLAIN, timeout=60.0)) as made:
        outcome = shut_down(made, lambda: collector.wait_for_refusals(1))
    assert len(outcome) == 1
    assert len(collector.metadata) == 1


def test_a_collector_that_comes_back_is_found_again(start: Start) -> None:
    """On the same port, within the timeout of a batch, though gRPC's own pauses grow to minutes."""
    missed = threading.Event()

    class Watched(GrpcExporter):
        def _refused(self, error: grpc.RpcError) -> Refused:
            missed.set()
            return super()._refused(error)

    first = start()
    made = Watched(first.endpoint, PLAIN)
    made.deliver(BATCH)
    first.stop()
    thread = threading.Thread(target=made.deliver, args=(BATCH,))
    thread.start()
    assert missed.wait(10)
    second = Collector(port=first.port)
    try:
        thread.join(20)
        assert len(second.requests) == 1
    finally:
        made.shutdown()
        second.stop()


@pytest.mark.parametrize("headers", ["x%21=sk-1", "x-raw-bin=sk-1", "x-key=sk-1%0ax"])
def test_a_header_that_grpc_cannot_send_is_refused_at_once(headers: str) -> None:
    """It would refuse each call, and show the value."""
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_HEADERS: 'x") as why:
        GrpcExporter("http://127.0.0.1:1", options({"OTEL_EXPORTER_OTLP_HEADERS": headers}))
    assert "sk-1" not in str(why.value)


@pytest.mark.parametrize("endpoint", ["http://u:sk-1@h:4317", "u:sk-1@h:4317"])
def test_an_endpoint_that_bears_a_password_is_refused(endpoint: str) -> None:
    """The log would show it each time it fails."""
    with pytest.raises(ValueError, match="the OTLP endpoint bears a user") as why:
        GrpcExporter(endpoint, PLAIN)
    assert "sk-1" not in str(why.value)


def test_a_key_in_the_query_of_an_endpoint_is_not_shown() -> None:
    """Path and query mean nothing to gRPC, but may have been copied along."""
    with exporter("http://127.0.0.1:1/v1/traces?key=sk-1") as made:
        assert made.where == "http://127.0.0.1:1"


def test_a_certificate_that_is_not_there_is_told_by_name() -> None:
    """Not as a connection that fails, every time."""
    settings = options({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/ca.pem"})
    with pytest.raises(ValueError, match=r"/no/such/ca\.pem .*No such file"):
        GrpcExporter("https://h:4317", settings)


def test_tls_is_checked_against_the_given_authority_and_both_sides_may_show_a_certificate(
    tmp_path: Path,
) -> None:
    """OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY."""
    authority = Authority(tmp_path)
    server, caller = authority.issue("server", "IP:127.0.0.1"), authority.issue("caller", "DNS:caller")
    pair = (server.key.read_bytes(), server.cert.read_bytes())
    collector = Collector(
        credentials=grpc.ssl_server_credentials([pair], authority.ca.read_bytes(), require_client_auth=True)
    )
    settings = options(
        {
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.ca),
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(caller.cert),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(caller.key),
        }
    )
    try:
        with exporter(collector.endpoint, settings) as made:
            made.deliver(BATCH)
        for wrong in (
            replace(settings, ca_file=""),
            replace(settings, client_cert_file="", client_key_file=""),
        ):
            with exporter(collector.endpoint, replace(wrong, timeout=0.5)) as made, pytest.raises(NotTaken):
                made.deliver(BATCH)
        assert len(collector.requests) == 1
    finally:
        collector.stop()
