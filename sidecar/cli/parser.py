"""The command line as argparse reads it: every command's parser, or only that of the one asked for.

In:      the arguments.
Out:     what they say; SystemExit once argparse has said what is wrong, or has printed the help.
Rule:    a command's module declares its parser in add_parser() and imports what is heavy in run().
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

COMMANDS = (
    *("run", "demo", "check", "doctor", "policy", "endpoints", "eject", "restore"),
    *("events", "explain", "top"),
)
VERSION_FLAGS = ("-V", "--version")

EPILOG = """\
examples:
  sidecar demo                          see it work, with nothing to set up
  sidecar check sidecar.yaml            every problem of a config, one a line
  sidecar run --config sidecar.yaml     the daemon
  sidecar doctor --config sidecar.yaml  what is wrong, and the remedy
  sidecar endpoints                     what is in rotation, what is ejected and why
  sidecar explain --model gpt-4o        where such a request would go now, and why
  sidecar policy apply sidecar.yaml --revert-after 60s

`sidecar COMMAND --help` tells all about one of them.

exit codes: 0 done, 1 failed at run time, 2 bad usage or bad config, 3 daemon not reachable
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    return _parser(_commands_to_import(arguments)).parse_args(arguments)


def _commands_to_import(arguments: list[str]) -> tuple[str, ...]:
    """The command asked for; all of them for --help and for a mistyped one."""
    first = arguments[0] if arguments else ""
    if first in VERSION_FLAGS:
        return ()
    return (first,) if first in COMMANDS else COMMANDS


def _parser(commands: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sidecar",
        description="Keeps an app's LLM calls alive: first-packet timeouts, ejection, fallback.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(*VERSION_FLAGS, action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in commands:
        import_module(f"sidecar.cli.{command}").add_parser(subparsers)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: that reads the installed distribution's metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"sidecar {version('llm-ha-sidecar')}")
        parser.exit()
