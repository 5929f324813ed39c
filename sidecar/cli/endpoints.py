"""`sidecar endpoints`: every endpoint's state, with the reason for it."""

from __future__ import annotations

import sys
from argparse import Namespace

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command

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
        endpoints = admin.endpoints(args.services)
    if args.json:
        import json

        from sidecar.cli.plain import plain

        print(json.dumps([plain(endpoint, complete=True) for endpoint in endpoints], indent=2))
        return 0
    from datetime import UTC, datetime

    from sidecar.cli.describe import ENDPOINT_HEADER, endpoint_row
    from sidecar.cli.table import table, wants_colour

    now = datetime.now(UTC)
    rows = [endpoint_row(endpoint, now) for endpoint in endpoints]
    print("\n".join(table(ENDPOINT_HEADER, rows, colour=wants_colour(sys.stdout))))
    return 0
