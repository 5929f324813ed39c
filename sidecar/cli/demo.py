"""`sidecar demo`: the main job with nothing to set up.

How:     two simulated LLM services, the sidecar before them, a load that surges on a schedule; all in one
         process, everything on loopback and in a fresh folder that is removed at the end.
Out:     what to paste into another terminal, then the story, then a summary; with --json facts, see demo.facts.
Exit:    0 at its end, on Ctrl-C and when its terminal is closed; 1 when the sidecar cannot start.
"""

from __future__ import annotations

import errno
import math
import shlex
import shutil
import socket
import sys
from argparse import ArgumentTypeError, Namespace
from contextlib import asynccontextmanager
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from sidecar.cli.options import Subparsers, add_json_option, command, number, seconds
from sidecar.cli.stop import BAD_USAGE, FAILED, Stop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Coroutine

    from sidecar.daemon import Daemon
    from sidecar.demo.facts import Facts
    from sidecar.demo.llm import SimulatedLlm
    from sidecar.demo.opening import Addresses
    from sidecar.demo.schedule import LoadPhase
    from sidecar.demo.story import Story
    from sidecar.terms import Address, TcpAddress

    Teller = Story | Facts

ABOUT = """\
Two simulated LLM services, the sidecar before them, and a load that surges: late first packets, ejection,
fallback, return. Addresses to curl, grpcurl and open in a browser are printed first."""

EXAMPLES = """\
  sidecar demo                           until Ctrl-C
  sidecar demo --seconds 25              one whole cycle: calm, surge, calm
  sidecar demo --adaptive                the same, with a limit that adapts in place of ejection
  sidecar demo --surge 12 --no-cancel    a primary that goes on computing for callers who are gone
  sidecar demo --surge 100 --surge-for 1s
                                         dead before a first packet can be late; restart and return
  sidecar demo --seconds 25 --json       one object a line, for programs
"""

CALM_LOAD = 0.5  # of the primary's capacity
SHORTEST, LONGEST = 8, 48  # tokens of an answer; mostly about what the capacity is measured in


def add_parser(subparsers: Subparsers) -> None:
    parser = command(
        subparsers, "demo", "see it work, with nothing to set up", about=ABOUT, examples=EXAMPLES
    )
    parser.add_argument("--seconds", type=_positive, metavar="N", help="end by itself after so long [never]")
    parser.add_argument(
        "--surge", type=_positive, default=4.0, metavar="FACTOR", help="of the primary's capacity [4]"
    )
    parser.add_argument(
        "--calm", type=seconds, default=5.0, metavar="TIME", help="before the first surge [5s]"
    )
    parser.add_argument("--surge-for", type=seconds, default=8.0, metavar="TIME", help="each surge [8s]")
    parser.add_argument(
        "--recovery", type=seconds, default=12.0, metavar="TIME", help="calm after each surge [12s]"
    )
    parser.add_argument(
        "--adaptive", action="store_true", help="late first packets lower a limit and eject nobody"
    )
    parser.add_argument(
        "--no-cancel", action="store_true", help="the primary goes on computing when a caller hangs up"
    )
    add_json_option(parser)
    parser.add_argument("--seed", type=number, default=1, metavar="N", help="of the load's randomness [1]")


def run(args: Namespace) -> int:
    if not args.surge_for + args.recovery:
        raise Stop(BAD_USAGE, "sidecar: --surge-for and --recovery are both 0; expected one to be longer")
    import asyncio
    import tempfile

    import uvloop

    with (
        tempfile.TemporaryDirectory(prefix="sidecar-demo-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_show(args, folder))
    return 0


async def _show(args: Namespace, folder: str) -> None:
    import asyncio
    import signal

    from sidecar.demo.config import FALLBACK, FALLBACK_GPU, PRIMARY, primary_gpu
    from sidecar.demo.facts import Facts
    from sidecar.demo.llm import SimulatedLlm
    from sidecar.demo.opening import opening
    from sidecar.demo.story import Story

    stop = asyncio.Event()
    for number_of_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number_of_signal, stop.set)
    terminal = _Terminal(stop.set)
    story: Teller = Facts(terminal.say) if args.json else Story(terminal.say, terminal.paint)
    async with (
        SimulatedLlm(PRIMARY, primary_gpu(cancels=not args.no_cancel), told=story.gpu) as primary,
        SimulatedLlm(FALLBACK, FALLBACK_GPU) as fallback,
        _sidecar(folder, primary.url, fallback.url, story, adaptive=args.adaptive) as daemon,
    ):
        at = _addresses(daemon)
        if isinstance(story, Facts):
            story.addresses(at)
        else:
            for line in opening(at, primary.spec, _command_here()):
                terminal.say(line)
        await _tell(args, daemon.listen[0], primary, story, stop)
        story.summary(primary.gpu)


@asynccontextmanager
async def _sidecar(
    folder: str, primary_url: str, fallback_url: str, story: Teller, *, adaptive: bool
) -> AsyncIterator[Daemon]:
    """The daemon as `sidecar run` would run it, with the story listening."""
    from sidecar.daemon import StartRefused

    try:
        daemon = await _started(
            folder, (8800, 8801, 8802), primary_url, fallback_url, story, adaptive=adaptive
        )
    except StartRefused:  # somebody was faster to take one of the ports
        try:
            daemon = await _started(folder, (0, 0, 0), primary_url, fallback_url, story, adaptive=adaptive)
        except StartRefused as refused:
            raise Stop(FAILED, *(f"sidecar: {problem}" for problem in refused.problems)) from None
    try:
        yield daemon
    finally:
        daemon.request_stop()
        daemon.request_stop()  # what may still be in flight is a spectator's: the end does not wait for it
        await daemon.run_until_stopped()


async def _started(
    folder: str,
    ports: tuple[int, int, int],
    primary_url: str,
    fallback_url: str,
    story: Teller,
    *,
    adaptive: bool,
) -> Daemon:
    from sidecar.daemon import Daemon
    from sidecar.demo.config import config
    from sidecar.policy import load
    from sidecar.terms import UnixAddress

    data, admin, ops = map(_loopback, ports)
    text = config(
        listen=(UnixAddress(f"{folder}/llm.sock"), data),
        admin=(UnixAddress(f"{folder}/admin.sock"), admin),
        ops=(ops,),
        primary_url=primary_url,
        fallback_url=fallback_url,
        adaptive=adaptive,
    )
    loaded = load(text.encode())
    if loaded.problems:  # a folder for temporary files with too long a name, say
        raise Stop(FAILED, *(f"sidecar: the demo's config: {problem}" for problem in loaded.problems))
    daemon = Daemon(loaded.config, log_fd=None, listeners=[story.change], sinks=[story.request_finished])
    await daemon.start()
    return daemon


def _addresses(daemon: Daemon) -> Addresses:
    from sidecar.demo.opening import Addresses

    data_socket, data = map(str, daemon.listen)
    admin_socket, admin = map(str, daemon.admin_listen)
    return Addresses(
        data_socket.removeprefix("unix:"),
        data,
        admin_socket.removeprefix("unix:"),
        admin,
        str(daemon.ops_listen[0]),
    )


def _command_here() -> str:
    return "sidecar" if shutil.which("sidecar") else f"{shlex.quote(sys.executable)} -m sidecar"


async def _tell(
    args: Namespace, door: Address, primary: SimulatedLlm, story: Teller, stop: asyncio.Event
) -> None:
    """The load and the story, until the schedule ends or somebody stops it."""
    from sidecar.demo.app import ask
    from sidecar.demo.load import carry_out
    from sidecar.demo.schedule import load

    rng, end = Random(args.seed), args.seconds or math.inf
    schedule = load(*_phases(args, primary.spec.capacity), rng, end)
    story.begin()
    await _until_first(
        carry_out(
            schedule,
            lambda: ask(door, rng.randint(SHORTEST, LONGEST)),
            began=story.phase,
            answered=story.answered,
        ),
        _every_second(lambda: story.second(primary.gpu)),
        stop.wait(),
    )


def _phases(args: Namespace, capacity: float) -> tuple[LoadPhase, list[LoadPhase]]:
    """The first, and those that follow again and again."""
    from sidecar.demo.schedule import LoadPhase

    calm, surge = CALM_LOAD * capacity, args.surge * capacity
    return LoadPhase("calm", args.calm, calm, f"{CALM_LOAD:.0%} of what the primary can do"), [
        LoadPhase("surge", args.surge_for, surge, f"{args.surge:g} times what the primary can do"),
        LoadPhase("calm", args.recovery, calm, "as before"),
    ]


async def _every_second(tell: Callable[[], None]) -> None:
    import asyncio

    at = monotonic()
    while True:
        at += 1.0
        await asyncio.sleep(max(0.0, at - monotonic()))
        tell()


async def _until_first(*works: Coroutine[object, object, object]) -> None:
    """Until one ends; the others are cancelled."""
    import asyncio

    tasks = [asyncio.get_running_loop().create_task(work) for work in works]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()


def _loopback(port: int) -> TcpAddress:
    """That port if nobody has it, else any."""
    from sidecar.terms import TcpAddress

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return TcpAddress("127.0.0.1", 0)
    return TcpAddress("127.0.0.1", port)


class _Terminal:
    """Where the story goes. A reader that went away, or a terminal, ends the demo: nobody is looking."""

    def __init__(self, gone: Callable[[], None]) -> None:
        from sidecar.cli.table import wants_colour

        self._colour = wants_colour(sys.stdout)
        self._gone = gone

    def say(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self._gone()

    def paint(self, text: str, style: str) -> str:
        from sidecar.cli.table import Styled, paint

        return paint(Styled(text, style), colour=self._colour)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is no positive number")
    return value
