"""Rules of `sidecar top`: the model that is drawn, the plain view and the live one."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from llmsidecar.v1 import health_pb2
from rich.console import Console

from sidecar.cli.table import Cell, Styled
from sidecar.cli.top_model import EVENTS_SHOWN, STEPS, TopModel
from sidecar.cli.top_rich import sparkline, view
from tests.cli.terminal import sidecar
from tests.client.daemon import Daemon, Script
from tests.client.messages import START, endpoint, event, recovered


def attempt(at: int, first_packet: float | None, outcome: str = "success") -> health_pb2.HealthEvent:
    told = event(at, "attempt_finished", service="self-hosted", outcome=outcome)
    if first_packet is not None:
        told.attempt_finished.first_packet.FromMicroseconds(round(first_packet * 1e6))
    return told


def services(model: TopModel, at: int) -> list[list[str]]:
    section = model.sections([endpoint(in_flight=3)], datetime.fromtimestamp(START + at, UTC))[0]
    return [[text(cell) for cell in row] for row in section.rows]


def text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Styled) else cell


def test_first_packet_times_are_those_of_the_last_minute() -> None:
    """Older ones say nothing about now."""
    model = TopModel()
    model.feed(attempt(0, 0.9))
    for number in range(1, 101):
        model.feed(attempt(50, number / 1000))
    assert services(model, 61) == [["self-hosted", "1/1", "3", "1.7", "100%", "0", "50ms", "99ms", "0"]]
    assert services(model, 111) == [["self-hosted", "1/1", "3", "0.0", "-", "0", "-", "-", "0"]]


def test_failures_and_fallbacks_are_counted_where_they_began() -> None:
    """An app that hung up is no failure of the service. The rate is that of the four seconds there were events."""
    model = TopModel()
    for told in (
        attempt(1, None, "first_packet_timeout"),
        attempt(2, None, "cancelled"),
        attempt(3, 0.1),
        event(4, "fallback", **{"from": "self-hosted", "to": "bailian", "reason": "first_packet_timeout"}),
    ):
        model.feed(told)
    assert services(model, 5) == [["self-hosted", "1/1", "3", "0.2", "100%", "1", "100ms", "100ms", "1"]]


def test_shares_are_those_of_the_answers_and_the_course_is_their_medians() -> None:
    """A failed attempt answered nobody; a step without a first packet is a gap."""
    model = TopModel()
    for told in (
        attempt(1, 0.2),
        attempt(1, 0.4),
        attempt(1, 0.3),
        attempt(59, 0.1),
        attempt(59, None, "reset"),
    ):
        model.feed(told)
    other = attempt(30, 0.1)
    other.attempt_finished.service = "vendor"
    model.feed(other)
    own, vendor = model.services([endpoint()], datetime.fromtimestamp(START + 60, UTC))
    assert (own.share, vendor.share) == (0.8, 0.2)
    assert own.course[:2] == [0.3, None]
    assert sparkline(own.course, 0.3) == "█" + " " * (STEPS - 2) + "▃"


def test_fallbacks_are_counted_by_their_way() -> None:
    """In a surge there is one a request; the way and the reason are what matters."""
    model = TopModel()
    for number, reason in enumerate(("unhealthy", "first_packet_timeout", "unhealthy")):
        model.feed(event(number, "fallback", **{"from": "own", "to": "vendor", "reason": reason}))
    assert model.ways() == [
        (("own", "vendor", "unhealthy"), 2),
        (("own", "vendor", "first_packet_timeout"), 1),
    ]
    assert not model.recent
    model.services([], datetime.fromtimestamp(START + 61, UTC))
    assert sum(count for _, count in model.ways()) == 2, "the first is over a minute old"


def test_the_generation_is_that_of_the_newest_policy() -> None:
    """From the snapshot, then from every change."""
    model = TopModel()
    model.feed(event(1, "snapshot", policy_generation=3))
    assert model.generation == 3
    model.feed(event(2, "policy_applied", generation=4))
    assert model.generation == 4


def test_the_newest_events_are_listed_and_attempts_are_not() -> None:
    """There are too many of them to read."""
    model = TopModel()
    for number in range(EVENTS_SHOWN + 3):
        model.feed(recovered(number))
        model.feed(attempt(number, 0.1))
    rows = model.sections([], datetime.fromtimestamp(START, UTC))[3].rows
    assert [row[1] for row in rows] == ["service_recovered"] * EVENTS_SHOWN
    assert model.recent[-1].sequence == EVENTS_SHOWN + 2


def test_without_a_terminal_views_are_printed_one_after_the_other(daemon: Daemon) -> None:
    """Whether or not rich is there."""
    daemon.scripts = [Script([event(1, "snapshot")])]
    told = sidecar("top", "--count", "2", "--interval", "100ms")
    assert (told.code, told.err) == (0, "")
    assert told.out.count(f"connected to {daemon.address}") == 2
    assert told.out.count("Endpoints\n") == 2
    assert "self-hosted  10.0.0.7:8000  available" in told.out


def test_the_first_view_knows_what_happened_before(daemon: Daemon) -> None:
    """A single view goes into a bug report. What the daemon no longer holds is not told as a loss."""
    gap = event(3, "gap", first_missed=2, last_missed=3)
    way = {"from": "self-hosted", "to": "bailian", "reason": "unhealthy"}
    before = [gap, recovered(4), event(5, "fallback", **way), event(5, "snapshot", policy_generation=7)]
    daemon.scripts = [Script(before)]
    told = json.loads(sidecar("top", "--json", "--count", "1").out)
    assert daemon.asked_last().after_sequence == 1
    assert [one["type"] for one in told["events"]] == ["snapshot", "service_recovered"]
    assert told["policy_generation"] == 7


def test_the_rate_is_that_of_the_time_since_attempts_are_told() -> None:
    """What happened before came without its attempts."""
    model = TopModel()
    for told in (recovered(0), event(58, "snapshot"), attempt(59, 0.1)):
        model.feed(told)
    [figures] = model.services([endpoint()], datetime.fromtimestamp(START + 60, UTC))
    assert figures.rate == 0.5


def test_for_programs_a_view_is_one_line_of_json(daemon: Daemon) -> None:
    daemon.scripts = [Script([event(1, "snapshot")])]
    told = sidecar("top", "--json", "--count", "2", "--interval", "100ms")
    first, second = map(json.loads, told.out.splitlines())
    assert first["endpoints"][0]["endpoint"] == "10.0.0.7:8000"
    assert second["connected"] is True
    assert [service["name"] for service in second["services"]] == ["self-hosted", "bailian"]


def test_the_figures_for_programs_are_those_of_the_view() -> None:
    model = TopModel()
    for told in (attempt(1, 0.25), attempt(2, None, "reset"), recovered(3)):
        model.feed(told)
    figures = json.loads(json.dumps(model.figures([endpoint()], datetime.fromtimestamp(START + 4, UTC))))
    (service,) = figures["services"]
    assert (service["answers"], service["failed"], service["p50"]) == (1, 1, 0.25)
    assert [told["type"] for told in figures["events"]] == ["service_recovered"]


def test_the_live_view_shows_the_same_and_cannot_be_driven_from_outside() -> None:
    """Neither rich's own markup nor control characters in a reason are obeyed."""
    model = TopModel()
    model.feed(event(1, "service_unavailable", service="s", reason="[red]\x1b[2J"))
    screen = io.StringIO()
    now = datetime.fromtimestamp(START, UTC)
    Console(file=screen, width=160, color_system=None).print(view("connected", model, [endpoint()], now))
    shown = screen.getvalue()
    assert "10.0.0.7:8000" in shown
    assert "[red]\\x1b[2J" in shown
    assert "\x1b" not in shown


def test_the_live_view_says_at_once_what_is_out() -> None:
    """In words, for those who do not see colours."""
    shown = io.StringIO()
    out = endpoint(reason="failure_percentage", state=health_pb2.ENDPOINT_STATE_EJECTED)
    out.available = False
    now = datetime.fromtimestamp(START, UTC)
    Console(file=shown, width=160, color_system=None).print(view("connected", TopModel(), [out], now))
    assert "self-hosted OUT OF ROTATION" in shown.getvalue()


def test_whoever_looks_at_old_figures_is_told_why_on_any_terminal() -> None:
    model = TopModel(lost="not connected, trying again: nobody answers")
    for width in (80, 140):
        shown = io.StringIO()
        now = datetime.fromtimestamp(START, UTC)
        view_of = view(model.lost, model, [endpoint()], now, width=width)
        Console(file=shown, width=width, color_system=None).print(view_of)
        assert " BLIND " in shown.getvalue()
        assert "not connected, trying again" in shown.getvalue()


def test_what_is_left_alone_has_a_panel_and_the_headline() -> None:
    """Every endpoint is in rotation, and yet one key gets nothing."""
    model = TopModel()
    model.cooling = [
        health_pb2.ScopeCooled(service="bailian", scope="credential", name="env KEY", reason="auth")
    ]
    shown = io.StringIO()
    now = datetime.fromtimestamp(START, UTC)
    Console(file=shown, width=160, color_system=None).print(view("connected", model, [endpoint()], now))
    assert "bailian LEFT ALONE IN PART" in shown.getvalue()
    assert "credential  env KEY" in shown.getvalue()


def test_a_service_at_its_limit_is_not_told_to_be_out() -> None:
    """Nobody need be woken: that is what the limit is for."""
    shown = io.StringIO()
    full = endpoint(reason="overloaded", in_flight=12, concurrency_limit=12.8)
    full.available = False
    now = datetime.fromtimestamp(START, UTC)
    Console(file=shown, width=160, color_system=None).print(view("connected", TopModel(), [full], now))
    assert "self-hosted AT ITS LIMIT" in shown.getvalue()
    assert "1/1" in shown.getvalue()


def test_the_live_view_fits_the_screen() -> None:
    """It is the oldest events that go."""
    model = TopModel()
    for number in range(50):
        model.feed(recovered(number))
    shown = io.StringIO()
    now = datetime.fromtimestamp(START, UTC)
    console = Console(file=shown, width=120, color_system=None)
    console.print(view("connected", model, [endpoint()], now, height=24))
    assert len(shown.getvalue().splitlines()) == 24
    assert shown.getvalue().count("self-hosted is back") > 5


def test_on_80_columns_nothing_that_counts_is_cut() -> None:
    """The size that most terminals open with; and a service's name may be long."""
    model = TopModel()
    for told in (attempt(1, 0.2), attempt(1, 3.5), attempt(2, None, "reset"), recovered(3)):
        model.feed(told)
    far = endpoint(service="a-service-with-a-name-that-is-long", address="203.0.113.177:65535")
    far.available, far.in_flight, far.concurrency_limit = False, 12, 12
    shown = io.StringIO()
    now = datetime.fromtimestamp(START + 5, UTC)
    console = Console(file=shown, width=80, color_system=None)
    console.print(view("connected", model, [endpoint(), far], now, width=80, height=24))
    above, endpoints = shown.getvalue().split("Endpoints")
    headline, services = above.split("Services")
    assert headline.count("…") == 1, "of the long name alone"
    assert [line for line in services.splitlines() if "…" in line and "a-service-with-…" not in line] == []
    for word in ("203.0.113.177:65535", "at its limit", "12 of 12", "UNTIL"):
        assert word in endpoints
    for word in ("AT ITS LIMIT", "answers/s", "policy generation"):
        assert word in headline
    for word in ("UP", "SHARE", "FAILED", "p50", "p99", "FIRST PACKET", "100%", "33%", "200ms", "3.50s"):
        assert word in services


def test_on_a_terminal_the_view_is_drawn_in_place(daemon: Daemon) -> None:
    """On the alternate screen, which is left as it was found."""
    daemon.scripts = [Script([event(1, "snapshot")])]
    code, shown = _top_on_a_terminal("from sidecar.__main__ import main")
    assert code == 0
    assert shown.startswith(b"\x1b[?1049h")
    assert shown.rstrip().endswith(b"\x1b[?1049l")
    assert b"10.0.0.7:8000" in shown


def test_without_rich_the_view_is_plain_and_says_why(daemon: Daemon) -> None:
    """The extra is optional; the answer is not."""
    daemon.scripts = [Script([event(1, "snapshot")])]
    code, shown = _top_on_a_terminal("sys.modules['rich'] = None; from sidecar.__main__ import main")
    assert code == 0
    assert b"a live view needs rich (pip install 'llm-ha-sidecar[cli]')" in shown
    assert shown.count(b"10.0.0.7:8000") == 2
    assert b"\x1b[?1049h" not in shown


def _top_on_a_terminal(preparation: str) -> tuple[int, bytes]:
    """`sidecar top` for two views on a pseudo terminal: its exit code and all that it wrote."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "140", "LINES": "40"}
    script = f"import sys; {preparation}; sys.exit(main(['top', '--count', '2', '--interval', '100ms']))"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b"".join(_until_closed(ours))
    os.close(ours)
    return process.returncode, shown


def _until_closed(terminal: int) -> Iterator[bytes]:
    """What arrives until the other side is gone, which Linux tells by an error."""
    with suppress(OSError):
        while chunk := os.read(terminal, 65536):
            yield chunk
