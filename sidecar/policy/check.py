"""Checks a policy or a config as a message, wherever it came from: file, admin API or state folder.

In:      a Policy or Config message, and the lines of its fields where it was a file.
Out:     Checked: every problem at once, and warnings. Without a problem, sidecar.policy.build cannot fail.
Rule:    pure. Whether a secret's variable or file is there, a host resolves or an address is free is for others.
"""

from __future__ import annotations

from llmsidecar.v1.config_pb2 import Config
from llmsidecar.v1.policy_pb2 import Credential, Policy, Secret, Service

from sidecar.policy.config_rules import check_rest
from sidecar.policy.fields import check_fields
from sidecar.policy.problems import Checked, Lines, Report
from sidecar.policy.route_rules import check_reach, check_route
from sidecar.policy.service_rules import check_service
from sidecar.policy.traffic_rules import check_effect


def check_config(config: Config, lines: Lines | None = None, *, hidden_ok: bool = False) -> Checked:
    """Checks the whole file; paths start at its root, as in `policy.services[0].url`."""
    report = Report(lines or {})
    check_fields(config, "", report)
    if not report.oversized:
        check_rest(config, report)
        _check_whole(config.policy, "policy", report, hidden_ok=hidden_ok)
    return report.checked()


def check_policy(
    policy: Policy, root: str = "policy", lines: Lines | None = None, *, hidden_ok: bool = False
) -> Checked:
    """Checks a policy; every path starts with `root`.

    `hidden_ok` lets the mark of a hidden secret stand, for a policy that goes to a sidecar that knows the secret.
    """
    report = Report(lines or {})
    check_fields(policy, root, report)
    if not report.oversized:
        _check_whole(policy, root, report, hidden_ok=hidden_ok)
    return report.checked()


def secrets_of(policy: Policy, root: str = "policy") -> list[tuple[str, Secret]]:
    """Every secret of a policy with its path, in order."""
    services = enumerate(policy.services)
    return [
        found for place, service in services for found in secrets_in(service, f"{root}.services[{place}]")
    ]


def secrets_in(service: Service, path: str) -> list[tuple[str, Secret]]:
    """Those of one service."""
    found = _secret(f"{path}.credential", service.credential)
    for number, credential in enumerate(service.credentials):
        found += _secret(f"{path}.credentials[{number}]", credential)
    return found


def _secret(path: str, credential: Credential) -> list[tuple[str, Secret]]:
    match credential.WhichOneof("kind"):
        case "bearer":
            return [(f"{path}.bearer", credential.bearer)]
        case "header":
            return [(f"{path}.header.value", credential.header.value)]
    return []


def _check_whole(policy: Policy, root: str, report: Report, *, hidden_ok: bool) -> None:
    names: dict[str, int] = {}
    for place, service in enumerate(policy.services):
        path = f"{root}.services[{place}]"
        check_service(service, path, report, hidden_ok=hidden_ok)
        if service.name and names.setdefault(service.name, place) != place:
            first = f"{root}.services[{names[service.name]}]"
            report.problem(f"{path}.name", f"is the name of {first} too; expected every name once")
    for place, route in enumerate(policy.routes):
        check_route(route, f"{root}.routes[{place}]", names, report)
    check_reach(policy.routes, f"{root}.routes", report)
    check_effect(policy, root, report)
    used = {name for route in policy.routes for name in route.services}
    for name, place in names.items():
        if name not in used:
            report.warning(f"{root}.services[{place}]", "is named by no route, so nothing is ever sent to it")
