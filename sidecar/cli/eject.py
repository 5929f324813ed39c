"""`sidecar eject SERVICE ENDPOINT [--for 5m]`: takes an endpoint out of rotation by hand."""

from __future__ import annotations

from argparse import Namespace

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command, seconds

EXAMPLES = """\
  sidecar eject self-hosted 10.0.0.7:8000 --for 5m
  sidecar eject self-hosted 10.0.0.7:8000          until `sidecar restore`
"""


def add_parser(subparsers: Subparsers) -> None:
    about = "Takes an endpoint out of rotation, for a time or until it is restored. Requests in flight go on."
    parser = command(subparsers, "eject", "take an endpoint out of rotation", about=about, examples=EXAMPLES)
    parser.add_argument("service", metavar="SERVICE", help="name of the service, as in the policy")
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its address, as `sidecar endpoints` prints it")
    parser.add_argument(
        "--for",
        dest="duration",
        type=seconds,
        metavar="TIME",
        help="how long, such as 30s or 5m; otherwise until it is restored",
    )
    add_json_option(parser)
    add_admin_options(parser)


def run(args: Namespace) -> int:
    with connect(args) as admin:
        endpoint = admin.eject(args.service, args.endpoint, args.duration)
    if args.json:
        import json

        from sidecar.cli.plain import plain

        print(json.dumps(plain(endpoint, complete=True)))
        return 0
    from sidecar.cli.describe import date_and_time

    length = (
        f"until {date_and_time(endpoint.until)}" if endpoint.HasField("until") else "until it is restored"
    )
    print(f"{endpoint.service} {endpoint.endpoint} is ejected {length}")
    return 0
