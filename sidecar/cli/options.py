"""What the commands' parsers share: the shape of help, options for the admin address, types of arguments."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

ADMIN_HELP = (
    "admin address, unix:/path or host:port (else $SIDECAR_ADMIN, else unix:/run/llm-sidecar/admin.sock)"
)


def command(
    subparsers: Subparsers, name: str, summary: str, *, about: str = "", examples: str = ""
) -> argparse.ArgumentParser:
    """A parser whose help has a description and examples that keep their lines."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=about or summary,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_admin_options(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """`again`: the parser belongs to one that has them too, and what stands before its name counts."""
    group = parser.add_argument_group("daemon", argument_default=argparse.SUPPRESS if again else None)
    group.add_argument("--admin", metavar="ADDRESS", help=ADMIN_HELP)
    group.add_argument("--admin-ca", metavar="FILE", help="CA of the daemon's certificate, for mutual TLS")
    group.add_argument("--admin-cert", metavar="FILE", help="own certificate, for mutual TLS")
    group.add_argument("--admin-key", metavar="FILE", help="key of the own certificate")


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def seconds(text: str) -> float:
    """An argument such as 200ms, 60s or 5m."""
    from sidecar.policy.units import SECOND, BadValue, read_duration  # imports protobuf

    try:
        return read_duration(text) / SECOND
    except BadValue as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def number(text: str) -> int:
    """An argument that counts: 0 or more."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; expected 0 or more")
    return int(text)
