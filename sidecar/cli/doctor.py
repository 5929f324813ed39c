"""`sidecar doctor`: looks at everything that has to be right, and tells what to do about what is not.

In:      the config that `sidecar run` would read, and the daemon if it runs.
Out:     a finding a line, ok, warn or fail, with its remedy. Exit 1 if one is fail, else 0.
Harm:    none: it reads, connects, and asks every LLM endpoint for one HEAD without a credential.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command
from sidecar.cli.stop import NOT_REACHABLE, Stop

if TYPE_CHECKING:
    from llmsidecar.v1.policy_pb2 import Policy

    from sidecar.cli.checkup.finding import Finding
    from sidecar.policy.snapshot import Settings

ABOUT = """\
Looks at the config and its secrets, the sockets and their modes, the running daemon, every LLM endpoint (name,
connection, TLS, an HTTP answer to a HEAD without credentials), the clock and the limits of this machine. Changes
nothing. Each finding is ok, warn or fail; what is not ok comes with its remedy. Exits with 1 if anything failed."""

EXAMPLES = """\
  sidecar doctor
  sidecar doctor --config sidecar.yaml
  sidecar doctor --json | jq '.[] | select(.status != "ok")'
"""

STYLES = {"ok": "good", "warn": "warn", "fail": "bad"}


def add_parser(subparsers: Subparsers) -> None:
    parser = command(
        subparsers, "doctor", "find out what is wrong, and the remedy", about=ABOUT, examples=EXAMPLES
    )
    parser.add_argument("--config", metavar="FILE", help="as of `sidecar run`")
    add_json_option(parser)
    add_admin_options(parser)


def run(args: Namespace) -> int:
    findings = []
    for finding in _examine(args):
        findings.append(finding)
        if not args.json:
            _print(finding)
    if args.json:
        import json

        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        counts = {status: sum(finding.status == status for finding in findings) for status in STYLES}
        print(f"\n{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
    return int(any(finding.status == "fail" for finding in findings))


def _examine(args: Namespace) -> Iterator[Finding]:
    from sidecar.cli.checkup.config import look_at_config
    from sidecar.cli.checkup.listeners import daemon_pid, look_at_listeners
    from sidecar.cli.checkup.machine import look_at_limits, look_at_state
    from sidecar.cli.checkup.network import look_at_clock, look_at_services
    from sidecar.cli.run import DEFAULT_CONFIG
    from sidecar.policy.build import build_settings, build_snapshot

    path = args.config or os.environ.get("SIDECAR_CONFIG") or DEFAULT_CONFIG
    found, config = look_at_config(path)
    yield from found
    settings = None if config is None else build_settings(config)
    if settings is not None:
        yield from look_at_listeners(settings)
    found, policy = _daemon(args, settings, config.policy if config else None, path)
    yield from found
    skews: list[float] = []
    if policy is not None:
        found, skews = look_at_services(build_snapshot(policy, 0).services.values(), _now)
        yield from found
    yield from look_at_clock(skews, _now())
    if settings is not None:
        pid = daemon_pid((*settings.admin_listen, *settings.listen))
        yield from look_at_limits(settings.limits.max_connections, pid)
        yield from look_at_state(settings.state_dir)


def _daemon(
    args: Namespace, settings: Settings | None, of_file: Policy | None, path: str
) -> tuple[list[Finding], Policy | None]:
    """What the daemon says, and the policy whose services are worth a look: the file's, else the running one."""
    from sidecar.cli.checkup.finding import fail, ok
    from sidecar.cli.checkup.running import look_at_daemon
    from sidecar.terms import TcpAddress

    if settings is not None and not args.admin and not os.environ.get("SIDECAR_ADMIN"):
        if not settings.admin_listen:
            return [ok("daemon", "its admin API is off")], of_file
        fixed = [a for a in settings.admin_listen if not isinstance(a, TcpAddress) or a.port]
        if not fixed:
            remedy = "name the address of its ready line with --admin or $SIDECAR_ADMIN"
            return [fail("daemon", "its admin address has any free port", remedy)], of_file
        args.admin = str(fixed[0])
    try:
        with connect(args) as admin:
            found, running = look_at_daemon(admin, of_file, path)
    except Stop as stop:
        what, _, remedy = " ".join(stop.lines).removeprefix("sidecar: ").partition("; ")
        if stop.code != NOT_REACHABLE:
            remedy = "see --admin, --admin-ca, --admin-cert and --admin-key"
        return [fail("daemon", what, remedy)], of_file
    return found, of_file or running


def _now() -> float:
    import time

    return time.time_ns() / 1e9


def _print(finding: Finding) -> None:
    from sidecar.cli.table import Styled, paint, wants_colour

    colour = wants_colour(sys.stdout)
    status = paint(Styled(finding.status, STYLES[finding.status]), colour=colour, width=4)
    print(f"{status}  {finding.check:<8} {paint(finding.what, colour=colour)}", flush=True)
    if finding.remedy:
        print(f"      {'':<8} {paint(Styled(f'-> {finding.remedy}', 'dim'), colour=colour)}", flush=True)
