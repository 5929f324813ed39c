"""What has to hold for how requests are spread over endpoints, and how many are let through.

In:      a Service message, or the rate limits of a service or a route, with their path.
Out:     problems and warnings in the Report.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmsidecar.v1.policy_pb2 import RateLimit, Service

from sidecar.policy import syntax
from sidecar.policy.field_checks import check_name
from sidecar.policy.problems import Report, quote
from sidecar.terms import BadAddress, parse_address


def check_picking(service: Service, path: str, report: Report) -> None:
    if service.HasField("hash_on"):
        if service.hash_on.header:
            check_name(service.hash_on.header, f"{path}.hash_on.header", report)
        if service.load_balancing != "consistent_hash":
            report.warning(f"{path}.hash_on", "has no effect without load_balancing: consistent_hash")
    for address in sorted(service.weights):
        where = f"{path}.weights[{address}]"
        try:
            known = str(parse_address(address))
        except BadAddress as error:
            report.problem(where, str(error))
            continue
        if service.endpoints and known not in service.endpoints:
            hint = report.hint(known, list(service.endpoints), "one of its endpoints")
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
