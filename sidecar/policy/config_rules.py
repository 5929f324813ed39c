"""What has to hold in the rest of the config file: addresses, names, modes.

In:      a Config message; empty texts have been told already.
Out:     problems in the Report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmsidecar.v1.config_pb2 import AdminConfig, Config, OpsConfig

from sidecar.policy import syntax
from sidecar.policy.problems import Report, quote
from sidecar.policy.rules import items_of, value_of
from sidecar.policy.units import BadValue
from sidecar.terms import Address, BadAddress, TcpAddress, UnixAddress, is_loopback, parse_address

_MODE = re.compile(r"(?:0o?)?[0-7]{3}")
_ANY_HOST = ("0.0.0.0", "::")

Listener = tuple[str, Address]  # where it is written, and what


def check_rest(config: Config, report: Report) -> None:
    """Everything in a config but its policy."""
    listeners = list(_listeners(config, report))
    _check_reach(config, listeners, report)
    _check_overlap(listeners, report)
    mode = config.socket_mode
    if mode and not _MODE.fullmatch(mode):
        report.problem(
            "socket_mode", f"{quote(mode)} is no file mode; expected three octal digits such as 0660"
        )
    for place, host in enumerate(config.hosts):
        if host and not (syntax.is_host(host) or syntax.is_host(f"[{host}]")):
            report.problem(
                f"hosts[{place}]",
                f"{quote(host)} is no host; expected a host name or an IP address, without a port",
            )
    for place, origin in enumerate(config.allowed_origins):
        fault = syntax.origin_fault(origin) if origin else None
        if fault is not None:
            report.problem(f"allowed_origins[{place}]", fault)
    _check_collector(config.telemetry.otlp_endpoint, report)


def mode_of(text: str) -> int:
    """The number that a checked `socket_mode` stands for."""
    return int(text.removeprefix("0o"), 8)


def _listeners(config: Config, report: Report) -> Iterator[Listener]:
    parts: list[tuple[str, Config | AdminConfig | OpsConfig]] = [("listen", config)]
    parts += [("admin.listen", config.admin)] if value_of(config.admin, "enabled") else []
    parts += [("ops.listen", config.ops)] if value_of(config.ops, "enabled") else []
    for path, part in parts:
        for place, text in enumerate(items_of(part, "listen")):
            if not text:
                continue
            try:
                yield f"{path}[{place}]", parse_address(text)
            except BadAddress as error:
                report.problem(f"{path}[{place}]", str(error))


def _check_reach(config: Config, listeners: Iterable[Listener], report: Report) -> None:
    allowed = {
        "listen": config.allow_remote,
        "admin.listen": config.admin.allow_remote,
        "ops.listen": config.ops.allow_remote,
    }
    for path, address in listeners:
        part = path.partition("[")[0]
        if is_loopback(address):
            continue
        if not allowed[part]:
            report.problem(
                path,
                f"{quote(str(address))} is reachable from other machines; expected a loopback address, a Unix"
                " socket, or allow_remote: true beside it",
            )
        elif part == "admin.listen" and not config.admin.HasField("tls"):
            report.problem(
                path, f"{quote(str(address))} is reachable from other machines; expected admin.tls beside it"
            )


def _check_overlap(listeners: list[Listener], report: Report) -> None:
    for place, (path, address) in enumerate(listeners):
        for other_path, other in listeners[:place]:
            if _overlap(address, other):
                # The one that is written is the one to change; the other may be a default.
                told, beside = (path, other_path) if path in report.lines else (other_path, path)
                report.problem(told, f"is the same address as {beside}; expected every address once")
                break


def _overlap(one: Address, other: Address) -> bool:
    """Whether the second to bind would be refused."""
    if isinstance(one, UnixAddress) or isinstance(other, UnixAddress):
        return one == other
    if one.port != other.port or one.port == 0:
        return False
    hosts = {_plain(one), _plain(other)}
    return len(hosts) == 1 or any(host in _ANY_HOST for host in hosts)


def _plain(address: TcpAddress) -> str:
    return "127.0.0.1" if address.host == "localhost" else address.host.lower()


def _check_collector(text: str, report: Report) -> None:
    if not text:
        return
    try:
        syntax.parse_url(text, "an address such as http://127.0.0.1:4317")
    except BadValue as error:
        report.problem("telemetry.otlp_endpoint", str(error))
