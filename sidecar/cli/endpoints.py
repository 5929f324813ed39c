"""`sidecar endpoints`: every endpoint's state, with the reason for it, and the keys, models and services left alone."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command

if TYPE_CHECKING:
    from llmsidecar.v1.health_pb2 import ListEndpointsResponse

EXAMPLES = """\
  sidecar endpoints
  sidecar endpoints --services self-hosted
  sidecar endpoints --json | jq '.[] | select(.available | not)'
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = command(subparsers, "endpoints", "state of every endpoint, with reasons", examples=EXAMPLES)
    parser.add_argument("--services", nargs="+", default=[], metavar="SERVICE", help="only these services")
    add_json_option(parser)
    add_admin_options(parser)


def run(args: Namespace) -> int:
    with connect(args) as admin:
        standing = admin.list_endpoints(args.services)
    if args.json:
        _print_json(standing)
    else:
        _print(standing)
    return 0


def _print_json(standing: ListEndpointsResponse) -> None:
    """What is left alone stands with each endpoint of its service: a list of endpoints is what scripts want."""
    import json

    from sidecar.cli.plain import plain

    told = [
        {
            **plain(endpoint, complete=True),
            "left_alone": [
                plain(scope, complete=True) for scope in standing.cooling if scope.service == endpoint.service
            ],
        }
        for endpoint in standing.endpoints
    ]
    print(json.dumps(told, indent=2))


def _print(standing: ListEndpointsResponse) -> None:
    from datetime import UTC, datetime

    from sidecar.cli.describe import COOLING_HEADER, ENDPOINT_HEADER, cooling_row, endpoint_row
    from sidecar.cli.table import table, wants_colour

    now, colour = datetime.now(UTC), wants_colour(sys.stdout)
    rows = [endpoint_row(endpoint, now) for endpoint in standing.endpoints]
    print("\n".join(table(ENDPOINT_HEADER, rows, colour=colour)))
    if cooling := [cooling_row(scope, now) for scope in standing.cooling]:
        print("\nLeft alone\n" + "\n".join(table(COOLING_HEADER, cooling, colour=colour)))
