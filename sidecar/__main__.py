"""The command `sidecar`: finds the command asked for, imports its module only, runs it.

Out:     an exit code: 0 done, 1 failed at run time, 2 bad usage or config, 3 daemon not reachable.
Rule:    `run` in its plain form is understood without argparse, which would stay in every pod: 1 MiB, and 5 ms.
Errors:  Stop is printed as it is; anything else as one line, with its traceback only under SIDECAR_DEBUG=1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from sidecar.cli.stop import Stop


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_standard_streams()
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


def _open_standard_streams() -> None:
    """Whoever started us has closed some: the next socket would get the number of one, with what is printed there, and
    print(file=None) takes standard output."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(free)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _run(arguments: list[str]) -> int:
    match arguments:
        case ["run", *rest] if (config := _plainly(rest)) is not None:
            from sidecar.cli.run import serve

            return serve(config)
    from importlib import import_module

    from sidecar.cli.parser import parse

    try:
        args = parse(arguments)
    except SystemExit as stop:  # argparse has said what is wrong, or has printed the help
        return stop.code if isinstance(stop.code, int) else 2
    code: int = import_module(f"sidecar.cli.{args.command}").run(args)
    return code


def _plainly(arguments: list[str]) -> str | None:
    """The config file that `run` is given, empty for the usual one; None: argparse has to look at it."""
    match arguments:
        case []:
            return ""
        case ["--config", path] if not path.startswith("-"):
            return path
    return None


if __name__ == "__main__":
    sys.exit(main())
