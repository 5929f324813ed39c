"""What the rules of a service's parts tell of a single text.

In:      a text with its path; an empty one has been told already.
Out:     a problem in the Report.
"""

from __future__ import annotations

from sidecar.policy import syntax
from sidecar.policy.problems import Report


def tell(report: Report, path: str, fault: str | None) -> None:
    if fault is not None:
        report.problem(path, fault)


def check_name(name: str, path: str, report: Report) -> None:
    if name:
        tell(report, path, syntax.header_name_fault(name) or syntax.reserved_header_fault(name))
