"""The command `sidecar`: finds the command asked for, imports its module only, runs it.

Out:     an exit code: 0 done, 1 failed at run time, 2 bad usage or config, 3 daemon not reachable.
Rule:    a command's module declares its parser in add_parser() and imports what is heavy in run().
Errors:  Stop is printed as it is; anything else as one line, with its traceback only under SIDECAR_DEBUG=1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from sidecar.cli.stop import Stop

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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()  # a reader that went away shows here, not at exit
        return code
    except Stop as stop:
        for line in stop.lines:
            print(line, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is still buffered would be written at exit and fail there, loudly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("SIDECAR_DEBUG"):
            raise
        print(f"sidecar: {type(error).__name__}: {error} (SIDECAR_DEBUG=1 shows where)", file=sys.stderr)
        return 1


def _run(arguments: list[str]) -> int:
    parser = _parser(_commands_to_import(arguments))
    try:
        args = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has said what is wrong, or has printed the help
        return stop.code if isinstance(stop.code, int) else 2
    module = import_module(f"sidecar.cli.{args.command}")
    code: int = module.run(args)
    return code


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


if __name__ == "__main__":
    sys.exit(main())
