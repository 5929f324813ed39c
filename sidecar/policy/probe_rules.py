"""What has to hold for active checks.

In:      a Service message, and the path of its active_health.
Out:     problems in the Report.
"""

from __future__ import annotations

import json

from llmsidecar.v1.policy_pb2 import Service

from sidecar.policy import syntax
from sidecar.policy.field_checks import tell
from sidecar.policy.problems import Report
from sidecar.policy.units import BadValue


def check_active(service: Service, path: str, report: Report) -> None:
    active = service.active_health
    if active.HasField("path"):
        tell(report, f"{path}.path", syntax.path_fault(active.path, query=True) if active.path else None)
    if active.HasField("request"):
        _check_inference(service, f"{path}.request", report)
        if active.HasField("path"):
            report.problem(f"{path}.request", "is written beside path; expected only one of them")
    for place, text in enumerate(active.expected_statuses):
        try:
            text and syntax.parse_statuses(text)
        except BadValue as error:
            report.problem(f"{path}.expected_statuses[{place}]", str(error))


def _check_inference(service: Service, path: str, report: Report) -> None:
    request = service.active_health.request
    tell(report, f"{path}.path", syntax.path_fault(request.path) if request.path else None)
    if request.body and not _is_json_object(request.body):
        report.problem(f"{path}.body", "is no JSON object")
    if not (request.body or request.model or service.model):
        report.problem(path, "names no model and the service has none; expected model or body")


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
