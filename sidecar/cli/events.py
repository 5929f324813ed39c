"""`sidecar events`: follows the health events, one line each, over any number of connections.

Out:     events on stdout; what happens to the connection on stderr, so that --json stays clean.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, command, number

if TYPE_CHECKING:
    from llmsidecar.v1.health_pb2 import HealthEvent

ABOUT = """\
Follows the health event stream until Ctrl-C. The first event is a snapshot, then comes every change in order. A lost
connection is made anew and resumed where it ended; what the daemon no longer holds is told by a `gap` event."""

EXAMPLES = """\
  sidecar events
  sidecar events --services self-hosted --attempts
  sidecar events --json | jq 'select(.type == "fallback") | .fallback'
  sidecar events --after 1761000000000123 --count 10
  sidecar events --after 1 --request 574d252b9660d28c --count 1
                                         why that request fell back, if the daemon still holds it
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = command(subparsers, "events", "follow the health events", about=ABOUT, examples=EXAMPLES)
    parser.add_argument(
        "--after", type=number, default=0, metavar="N", help="resume behind the event with this number"
    )
    parser.add_argument("--services", nargs="+", default=[], metavar="SERVICE", help="only these services")
    parser.add_argument(
        "--request", metavar="ID", help="only what concerns this request, see its x-sidecar-request-id"
    )
    parser.add_argument("--attempts", action="store_true", help="also every finished attempt")
    parser.add_argument("--count", type=number, metavar="N", help="end after so many events")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    add_admin_options(parser)


def run(args: Namespace) -> int:
    if args.count == 0:
        return 0
    try:
        return _follow(args)
    except KeyboardInterrupt:  # the ordinary way to end it
        return 0


def _follow(args: Namespace) -> int:
    with connect(args) as admin:
        stream = admin.events(args.after, args.services, include_attempts=args.attempts, on_lost=_tell_lost)
        wanted = (event for event in stream if not args.request or _request_of(event) == args.request)
        for count, event in enumerate(wanted, 1):
            print(_line(event, as_json=args.json), flush=True)
            if count == args.count:
                break
    return 0


def _request_of(event: HealthEvent) -> str | None:
    kind = event.WhichOneof("event")
    return getattr(getattr(event, kind), "request_id", None) if kind else None


def _line(event: HealthEvent, *, as_json: bool) -> str:
    if as_json:
        import json

        from sidecar.cli.plain import plain

        return json.dumps(plain(event, complete=True))
    from sidecar.cli.describe import event_line
    from sidecar.cli.table import wants_colour

    return event_line(event, colour=wants_colour(sys.stdout))


def _tell_lost(error: Exception, delay: float) -> None:
    print(f"sidecar: connection lost ({error}); trying again in {delay:.1f}s", file=sys.stderr, flush=True)
