"""OTLP over HTTP: what is sent, what is tried again, and what a bad collector costs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from sidecar.frozen import replace
from sidecar.telemetry.delivery import NotTaken, Options, Taken, options
from sidecar.telemetry.otlp_http import HttpExporter
from tests.telemetry.collector import taken_but_for
from tests.telemetry.delivered import BATCH, shut_down, started
from tests.telemetry.http_collector import HttpCollector, Turn
from tests.upstream.authority import Authority, server_context

PLAIN = Options({}, timeout=10.0, compressed=False, ca_file="", client_cert_file="", client_key_file="")
Start = Callable[..., HttpCollector]


@pytest.fixture
def start() -> Iterator[Start]:
    yield from started(HttpCollector)


@contextmanager
def exporter(
    collector: HttpCollector, settings: Options = PLAIN, path: str = "/v1/traces"
) -> Iterator[HttpExporter]:
    made = HttpExporter(collector.endpoint + path, settings)
    yield made
    made.shutdown()


def test_a_batch_is_one_post(start: Start) -> None:
    """Any collector reads it: content type, path and message are the protocol's."""
    collector = start()
    with exporter(collector) as made:
        made.deliver(BATCH)
    [post] = collector.posts
    assert (post.path, post.fields["content-type"]) == ("/v1/traces", "application/x-protobuf")
    assert "content-encoding" not in post.fields
    assert post.fields["user-agent"].startswith("llm-ha-sidecar/")
    assert [span.name for span in post.spans()] == ["POST /v1", "chat gpt-4o", "chat gpt-4o"]


def test_a_path_and_query_are_sent_as_written(start: Start) -> None:
    """Vendors put a tenant there."""
    collector = start()
    with exporter(collector, path="/in/traces?tenant=7") as made:
        made.deliver(BATCH)
    with exporter(collector, path="") as made:
        made.deliver(BATCH)
    assert [post.path for post in collector.posts] == ["/in/traces?tenant=7", "/"]


def test_batches_share_a_connection(start: Start) -> None:
    """A handshake for each would cost more than the batch."""
    collector = start()
    with exporter(collector) as made:
        for _ in range(5):
            made.deliver(BATCH)
    assert {post.connection for post in collector.posts} == {1}


def test_a_connection_closed_while_idle_costs_no_batch_and_no_pause(start: Start) -> None:
    """Collectors close what nobody used for a while, and do not say so before."""
    collector = start(Turn(closes=True))
    with exporter(collector) as made:
        began = monotonic()
        made.deliver(BATCH)
        made.deliver(BATCH)
        assert monotonic() - began < 0.5
    assert [post.connection for post in collector.posts] == [1, 2]


@pytest.mark.parametrize(
    "turn", [Turn(fields={"connection": "close"}), Turn(body=b"x" * 200_000)], ids=["close", "long"]
)
def test_a_connection_that_cannot_be_kept_is_not(start: Start, turn: Turn) -> None:
    """Because the collector says so, or because its answer is longer than anybody wants to read."""
    collector = start(turn)
    with exporter(collector) as made:
        made.deliver(BATCH)
        made.deliver(BATCH)
    assert [post.connection for post in collector.posts] == [1, 2]


def test_headers_and_compression_are_those_of_the_environment(start: Start) -> None:
    """A vendor's key goes there; a signal's own variable goes before the general one."""
    settings = options(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "x-general=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Bearer%20k%2Bk, x-tenant = 7",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    )
    collector = start()
    with exporter(collector, settings) as made:
        made.deliver(BATCH)
    [post] = collector.posts
    assert (post.fields["authorization"], post.fields["x-tenant"]) == ("Bearer k+k", "7")
    assert "x-general" not in post.fields
    assert post.fields["content-encoding"] == "gzip"
    assert len(post.spans()) == 3
    assert len(post.sent) < len(post.request.SerializeToString())


def test_settings_have_the_defaults_of_the_specification() -> None:
    """Ten seconds, no compression, nothing added."""
    assert options({}) == PLAIN
    assert options({"OTEL_EXPORTER_OTLP_COMPRESSION": "none"}) == PLAIN
    assert (
        options({"OTEL_EXPORTER_OTLP_TIMEOUT": "9", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2.5"}).timeout
        == 2.5
    )


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "rot13"}, "rot13"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "soon"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "x-key=sk-1%0d%0ax-more"}, "'x-key' is no header field"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(environ: dict[str, str], told: str) -> None:
    """With its name, and never with a secret."""
    with pytest.raises(ValueError, match=told) as refused:
        options(environ)
    assert "sk-1" not in str(refused.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:4318",
        "ftp://h/v1/traces",
        "http:///v1",
        "http://u:sk-1@h/v1",
        "http://h/v1?key=sk-1 2",
        "http://h/é",
    ],
)
def test_an_endpoint_that_cannot_be_meant_is_refused(endpoint: str) -> None:
    """One with a user in it, or one that cannot be sent, would be shown in the log each time it fails."""
    with pytest.raises(ValueError, match="the OTLP endpoint") as refused:
        HttpExporter(endpoint, PLAIN)
    assert "sk-1" not in str(refused.value)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500])
def test_an_answer_that_asks_for_no_other_try_gets_none(start: Start, status: int) -> None:
    """The next batch is worth more than this one."""
    collector = start(Turn(status, fields={"location": "http://127.0.0.1:1/"}))
    with (
        exporter(collector) as made,
        pytest.raises(NotTaken, match=f"{collector.endpoint} answers {status} "),
    ):
        made.deliver(BATCH)
    assert len(collector.posts) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_collector_that_is_busy_is_asked_again_when_it_wishes(start: Start, status: int) -> None:
    collector = start(Turn(status, fields={"retry-after": "0"}), Turn())
    with exporter(collector) as made:
        made.deliver(BATCH)
    assert collector.posts[0].sent == collector.posts[1].sent


def test_a_collector_that_wishes_for_no_pause_is_not_asked_without_end(start: Start) -> None:
    """`Retry-After: 0` for a whole timeout would be thousands of posts, and all of a core."""
    collector = start(Turn(503, fields={"retry-after": "0"}))
    with (
        exporter(collector, replace(PLAIN, timeout=0.35)) as made,
        pytest.raises(NotTaken, match="answers 503"),
    ):
        made.deliver(BATCH)
    assert len(collector.posts) <= 4


def test_a_wish_beyond_the_timeout_ends_the_batch_at_once(start: Start) -> None:
    """Waiting for it would only hold the next ones back."""
    collector = start(Turn(503, fields={"retry-after": "3600"}))
    with exporter(collector) as made, pytest.raises(NotTaken, match="answers 503"):
        made.deliver(BATCH)
    assert len(collector.posts) == 1


def test_a_collector_that_dies_is_asked_again_after_a_pause(start: Start) -> None:
    """It may be back by then, on the same address."""
    collector = start(Turn(dies=True), Turn())
    with exporter(collector) as made:
        began = monotonic()
        made.deliver(BATCH)
        assert monotonic() - began >= 0.8
    assert len(collector.posts) == 2


def test_a_batch_that_is_taken_in_part_is_not_sent_again(start: Start) -> None:
    """By the protocol; what is rejected is told, in the collector's own words as far as they are few."""
    collector = start(Turn(body=taken_but_for(2).SerializeToString()))
    with exporter(collector) as made:
        assert made.deliver(BATCH) == Taken(2, "too old" + "!" * 193)
    assert len(collector.posts) == 1


@pytest.mark.parametrize(
    "turn",
    [
        Turn(body=taken_but_for(2).SerializeToString(), fields={"content-type": "text/plain"}),
        Turn(body=b"{}"),
        Turn(body=taken_but_for(-2).SerializeToString()[:6]),
        Turn(204, body=b""),
    ],
)
def test_an_answer_that_is_not_understood_rejects_nothing(start: Start, turn: Turn) -> None:
    """The status says that the batch was taken."""
    collector = start(turn)
    with exporter(collector) as made:
        assert made.deliver(BATCH) == Taken()


def test_nonsense_of_any_length_is_told_in_a_line(start: Start) -> None:
    """It goes into the log."""
    collector = start(Turn(nonsense=b"x" * 60_000 + b"\r\n"))
    with exporter(collector, replace(PLAIN, timeout=0.5)) as made, pytest.raises(NotTaken) as told:
        made.deliver(BATCH)
    assert len(str(told.value)) < 300


def test_a_collector_that_hangs_costs_its_timeout_and_the_batch(start: Start) -> None:
    collector = start(Turn(hangs=True))
    began = monotonic()
    with exporter(collector, replace(PLAIN, timeout=0.3)) as made, pytest.raises(NotTaken, match="timed out"):
        made.deliver(BATCH)
    assert 0.3 <= monotonic() - began < 5


@pytest.mark.parametrize("turn", [Turn(hangs=True), Turn(503)], ids=["in an answer", "in a pause"])
def test_a_shutdown_ends_what_waits(start: Start, turn: Turn) -> None:
    """From another thread: the daemon stops within its second whatever the collector does."""
    collector = start(turn)
    with exporter(collector, replace(PLAIN, timeout=60.0)) as made:
        outcome = shut_down(made, lambda: collector.wait_for_posts(1))
    assert len(outcome) == 1
    assert len(collector.posts) == 1


def test_a_port_that_nobody_serves_is_told() -> None:
    made = HttpExporter("http://127.0.0.1:1/v1/traces", replace(PLAIN, timeout=0.1))
    with pytest.raises(NotTaken, match=r"http://127\.0\.0\.1:1 .*refused"):
        made.deliver(BATCH)


def test_tls_is_checked_against_the_given_authority_and_both_sides_may_show_a_certificate(
    tmp_path: Path,
) -> None:
    """OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY."""
    authority = Authority(tmp_path)
    server, caller = authority.issue("server", "IP:127.0.0.1"), authority.issue("caller", "DNS:caller")
    collector = HttpCollector(tls=server_context(server, callers=authority.ca))
    settings = options(
        {
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.ca),
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(caller.cert),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(caller.key),
            "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",
        }
    )
    try:
        with exporter(collector, replace(settings, timeout=10.0)) as made:
            made.deliver(BATCH)
            made.deliver(BATCH)
        assert collector.connections == 1
        for wrong in (
            replace(settings, ca_file=""),
            replace(settings, client_cert_file="", client_key_file=""),
        ):
            with exporter(collector, wrong) as made, pytest.raises(NotTaken):
                made.deliver(BATCH)
        assert len(collector.posts) == 2
    finally:
        collector.stop()


def test_a_shutdown_ends_a_tls_connection_that_hangs(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    collector = HttpCollector(Turn(hangs=True), tls=server_context(authority.issue("server", "IP:127.0.0.1")))
    try:
        with exporter(collector, replace(PLAIN, timeout=60.0, ca_file=str(authority.ca))) as made:
            assert len(shut_down(made, lambda: collector.wait_for_posts(1))) == 1
    finally:
        collector.stop()


def test_a_shutdown_ends_a_handshake_that_nobody_answers() -> None:
    """As of a collector without TLS that waits for more, or of a load balancer with nobody behind it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        made = HttpExporter(f"https://127.0.0.1:{silent.getsockname()[1]}", replace(PLAIN, timeout=60.0))
        accepted: list[socket.socket] = []

        def greeted() -> None:
            accepted.append(silent.accept()[0])
            assert accepted[0].recv(1)

        assert len(shut_down(made, greeted)) == 1
        accepted[0].close()


def test_a_shutdown_ends_a_connection_that_is_never_made() -> None:
    """Nobody accepts, and the system's queue is full: as if every packet were lost."""
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        before = _dialling(port)
        made = HttpExporter(f"http://127.0.0.1:{port}", replace(PLAIN, timeout=60.0))
        assert len(shut_down(made, lambda: _until(lambda: _dialling(port) > before))) == 1


def _until(true: Callable[[], bool]) -> None:
    give_up = monotonic() + 20
    while not true():
        assert monotonic() < give_up


def _dialling(port: int) -> int:
    """How many connections to a port wait for their first answer."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2:4] == [f"0100007F:{port:04X}", "02"] for line in lines)
