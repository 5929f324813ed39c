"""`sidecar top`: services, endpoints, first-packet times and fallbacks, live.

How:     a thread follows the event stream (attempts included) into a TopModel; the main thread asks for the
         endpoints and draws, once an interval. A daemon that goes away is waited for, and the view says so.
Out:     redrawn in place with rich on a terminal; otherwise, or with --plain, one plain view after the other;
         with --json one line a view.
"""

from __future__ import annotations

import sys
import threading
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command, number, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from llmsidecar.v1.health_pb2 import Endpoint
    from sidecar_client.admin import AdminClient

    from sidecar.cli.top_model import TopModel

    Draw = Callable[[str, TopModel, Sequence[Endpoint], datetime], None]

PATIENCE = 1.0
FROM_THE_BEGINNING = 1  # a number that no daemon holds any more

NO_RICH = "sidecar: a live view needs rich (pip install 'llm-ha-sidecar[cli]'); this is the plain one"

EXAMPLES = """\
  sidecar top
  sidecar top --interval 500ms
  sidecar top --plain --count 1          one view, for a bug report
  sidecar top --json                     one line a view, for a program
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = command(subparsers, "top", "a live view of services, endpoints and fallbacks", examples=EXAMPLES)
    parser.add_argument(
        "--interval", type=_interval, default=1.0, metavar="TIME", help="between two views [1s]"
    )
    parser.add_argument("--count", type=number, metavar="N", help="end after so many views")
    parser.add_argument(
        "--plain", action="store_true", help="print views one after the other, also on a terminal"
    )
    add_json_option(parser)
    add_admin_options(parser)


def run(args: Namespace) -> int:
    try:
        with connect(args) as admin, _display(plain=args.plain, as_json=args.json) as draw:
            _watch(admin, draw, args.interval, args.count)
    except KeyboardInterrupt:  # the ordinary way to end it
        pass
    return 0


def _watch(admin: AdminClient, draw: Draw, interval: float, count: int | None) -> None:
    from datetime import UTC, datetime

    from sidecar_client.errors import Unreachable

    from sidecar.cli.top_model import TopModel

    standing = admin.list_endpoints()  # a daemon that was never there ends the command here
    model, lock, stop, caught_up = TopModel(), threading.Lock(), threading.Event(), threading.Event()
    threading.Thread(target=_follow, args=(admin, model, lock, caught_up), daemon=True).start()
    caught_up.wait(PATIENCE)  # else the first view, perhaps the only one, would know of nothing
    drawn = 0
    while drawn != count:
        with lock:
            model.cooling = standing.cooling
            draw(model.lost or f"connected to {admin.address}", model, standing.endpoints, datetime.now(UTC))
        drawn += 1
        if drawn == count:
            return
        stop.wait(interval)
        lost = ""
        try:
            standing = admin.list_endpoints()
        except Unreachable as error:
            lost = f"not connected, trying again: {error}"
        with lock:
            model.lost = lost or model.blind


def _follow(admin: AdminClient, model: TopModel, lock: threading.Lock, caught_up: threading.Event) -> None:
    """From what the daemon still holds, which a snapshot ends."""
    from sidecar_client.errors import AdminError

    try:
        for event in admin.events(FROM_THE_BEGINNING, include_attempts=True, wait_for_daemon=True):
            with lock:
                model.feed(event)
            if event.type == "snapshot":
                caught_up.set()
    except AdminError as error:  # one that trying again cannot heal; the endpoints may still be seen
        with lock:
            model.blind = f"no events: {error}"
        caught_up.set()


@contextmanager
def _display(*, plain: bool, as_json: bool) -> Iterator[Draw]:
    if as_json:
        yield _print_json
        return
    if plain or not sys.stdout.isatty():
        yield _print_plain
        return
    try:
        from sidecar.cli.top_rich import live
    except ImportError:
        print(NO_RICH, file=sys.stderr)
        yield _print_plain
        return
    with live() as draw:
        yield draw


def _print_plain(status: str, model: TopModel, endpoints: Sequence[Endpoint], now: datetime) -> None:
    from sidecar.cli.table import table, wants_colour

    lines = [status]
    for section in model.sections(endpoints, now):
        lines += ["", section.title, *table(section.header, section.rows, colour=wants_colour(sys.stdout))]
    print("\n".join(lines), end="\n\n", flush=True)


def _print_json(status: str, model: TopModel, endpoints: Sequence[Endpoint], now: datetime) -> None:
    import json

    print(json.dumps(model.figures(endpoints, now)), flush=True)


def _interval(text: str) -> float:
    length = seconds(text)
    if not 0.1 <= length <= 3600:
        raise ArgumentTypeError(f"{text!r} is out of range; expected 100ms to 1h")
    return length
