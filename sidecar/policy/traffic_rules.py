"""What has to hold for how requests are spread over endpoints, and how many are let through.

In:      a Service message, or the rate limits of a service or a route, with their path; a whole policy.
Out:     problems and warnings in the Report.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmsidecar.v1.policy_pb2 import Policy, RateLimit, Route, Service

from sidecar.policy import syntax
from sidecar.policy.field_checks import check_name
from sidecar.policy.problems import Report, quote
from sidecar.policy.rules import value_of
from sidecar.terms import BadAddress, parse_address


def check_picking(service: Service, path: str, report: Report) -> None:
    if service.HasField("hash_on"):
        if service.hash_on.header:
            check_name(service.hash_on.header, f"{path}.hash_on.header", report)
        if service.load_balancing != "consistent_hash":
            report.warning(f"{path}.hash_on", "has no effect without load_balancing: consistent_hash")
    listed = [known for text in service.endpoints if (known := _address(text)) is not None]
    for address in sorted(service.weights):
        where = f"{path}.weights[{address}]"
        try:
            known = str(parse_address(address))
        except BadAddress as error:
            report.problem(where, str(error))
            continue
        if service.endpoints and known not in listed:
            hint = report.hint(known, listed, "one of its endpoints")
            report.problem(where, f"{quote(known)} is no endpoint of the service{hint}")


def check_rate_limits(
    limits: Sequence[RateLimit], path: str, report: Report, *, of_service: bool = False
) -> None:
    """Those of a service, which only tell models apart, or of a route."""
    for place, limit in enumerate(limits):
        where = f"{path}[{place}]"
        if not (limit.HasField("requests") or limit.HasField("tokens")):
            report.problem(where, "limits nothing; expected requests, tokens or both")
        for number, word in enumerate(limit.by):
            if word and (fault := syntax.rate_limit_key_fault(word)):
                report.problem(f"{where}.by[{number}]", fault)
            elif of_service and word not in ("", "model"):
                told = f"{quote(word)} belongs into the rate_limit of a route; expected model"
                report.problem(f"{where}.by[{number}]", told)


def check_effect(policy: Policy, root: str, report: Report) -> None:
    """Warns of what can never come to pass between a route and its services."""
    services = {service.name: service for service in policy.services}
    left = {name for route in policy.routes for name in route.services[:-1]}
    for place, service in enumerate(policy.services):
        if service.HasField("queue") and not _has_limit(service, adaptive=service.name in left):
            told = "has no effect: the service has neither max_concurrency nor adaptive_concurrency"
            report.warning(f"{root}.services[{place}].queue", told)
    for place, route in enumerate(policy.routes):
        if route.HasField("hedge") and all(
            _is_late_before(route, services[name]) for name in route.services if name in services
        ):
            told = "has no effect: it is not shorter than first_packet of any service of the route"
            report.warning(f"{root}.routes[{place}].hedge.after", told)


def _has_limit(service: Service, *, adaptive: bool) -> bool:
    written = service.adaptive_concurrency
    return bool(service.max_concurrency) or (written.enabled if written.HasField("enabled") else adaptive)


def _is_late_before(route: Route, service: Service) -> bool:
    after, late = value_of(route.hedge, "after"), value_of(service.timeouts, "first_packet")
    return isinstance(after, int) and isinstance(late, int) and late <= after


def _address(text: str) -> str | None:
    """In the one form that addresses are told in."""
    try:
        return str(parse_address(text))
    except BadAddress:
        return None
