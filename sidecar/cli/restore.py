"""`sidecar restore SERVICE ENDPOINT`: puts an ejected endpoint back."""

from __future__ import annotations

from argparse import Namespace

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command

EXAMPLES = """\
  sidecar restore self-hosted 10.0.0.7:8000
"""


def add_parser(subparsers: Subparsers) -> None:
    about = (
        "Puts an endpoint back into rotation, however it was ejected, together with the keys, models and all of its "
        "service that were left alone. Failing active checks still keep it out."
    )
    parser = command(subparsers, "restore", "put an ejected endpoint back", about=about, examples=EXAMPLES)
    parser.add_argument("service", metavar="SERVICE", help="name of the service, as in the policy")
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its address, as `sidecar endpoints` prints it")
    add_json_option(parser)
    add_admin_options(parser)


def run(args: Namespace) -> int:
    with connect(args) as admin:
        endpoint = admin.restore(args.service, args.endpoint)
    from sidecar.cli.plain import plain

    told = plain(endpoint, complete=True)
    if args.json:
        import json

        print(json.dumps(told))
    else:
        print(f"{endpoint.service} {endpoint.endpoint} is {told['state']}")
    return 0
