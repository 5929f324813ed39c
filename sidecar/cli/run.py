"""`sidecar run`: the daemon.

In:      --config, else $SIDECAR_CONFIG, else /etc/llm-sidecar/sidecar.yaml.
Out:     one line `ready listen=… admin=… ops=…` on stderr once every socket accepts; JSON lines on stdout.
Exit:    0 after a drain, 1 when it cannot start or fails, 2 when the config is bad.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sidecar.cli.stop import Stop

if TYPE_CHECKING:
    from argparse import Namespace

    from sidecar.cli.options import Subparsers
    from sidecar.policy import Loaded

GC_THRESHOLD = 20_000  # objects more than before; some hundred requests' worth in flight, a few MB at most
DEFAULT_CONFIG = "/etc/llm-sidecar/sidecar.yaml"

EXAMPLES = """\
  sidecar run --config sidecar.yaml
  SIDECAR_CONFIG=sidecar.yaml sidecar run

signals:
  SIGTERM, SIGINT   drain: stop accepting, let what is in flight end (at most drain_timeout), exit 0;
                    a second one ends at once
  SIGHUP            read the config file again (a changed file is also noticed by itself)
"""


def add_parser(subparsers: Subparsers) -> None:
    from sidecar.cli.options import command  # not at the top: it needs argparse, and `serve` does not

    about = "Runs the sidecar with a config file."
    parser = command(subparsers, "run", "the daemon", about=about, examples=EXAMPLES)
    parser.add_argument(
        "--config", metavar="FILE", help=f"config file; default: $SIDECAR_CONFIG, else {DEFAULT_CONFIG}"
    )


def run(args: Namespace) -> int:
    return serve(args.config)


def serve(config: str | None) -> int:
    """Runs the daemon with this config file, or else the usual one."""
    import signal

    # Of a file that changes before the daemon listens, its watch will tell.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    path = config or os.environ.get("SIDECAR_CONFIG") or DEFAULT_CONFIG
    text = _read(path)
    from sidecar.cli.later import UNUSED, load_later

    load_later(*UNUSED)
    import asyncio

    import uvloop

    from sidecar.policy import load

    loaded = load(text)
    for warning in loaded.warnings:
        print(f"{path}:{warning.line}: warning: {warning}", file=sys.stderr)
    if loaded.problems:
        raise Stop(2, *(f"{path}:{problem.line}: {problem}" for problem in loaded.problems))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded, path, text))


async def _serve(loaded: Loaded, path: str, text: bytes) -> int:
    import asyncio
    import signal

    from sidecar.daemon import Daemon, StartRefused, start_up_log
    from sidecar.policy import line_of

    start_up_log()
    daemon = Daemon(loaded.config, path=path, text=text)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.request_stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.reload)
    try:
        await daemon.start()
    except StartRefused as refused:
        bad_config = any(problem.field for problem in refused.problems)
        lines = [
            f"{path}:{line_of(loaded.lines, p.field)}: {p}" if p.field else str(p) for p in refused.problems
        ]
        raise Stop(2 if bad_config else 1, *lines) from None
    _settle_memory()
    print(daemon.ready_line, file=sys.stderr, flush=True)
    await daemon.run_until_stopped()
    return 0


def _settle_memory() -> None:
    """What is here stays, and no collection has to walk it again. A request leaves no cycles behind (a test counts), so
    there is little to look for: with Python's own threshold of 700 an eighth of the CPU went into looking. What the
    start has left behind was collected as it went; to look again now costs 7 ms and finds nothing worth them.
    """
    import gc

    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        hint = "; name one with --config FILE" if path == DEFAULT_CONFIG else ""
        raise Stop(2, f"{path}: cannot be read: {error.strerror}{hint}") from None
