"""What has to hold for the keys of a service.

In:      a Service message and its path.
Out:     problems and warnings in the Report.
Rule:    several keys are several values of one header field, for any of them may be the one that is sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmsidecar.v1.policy_pb2 import Credential, Secret, Service

from sidecar.policy import syntax
from sidecar.policy.field_checks import check_name, tell
from sidecar.policy.problems import Report

# Stands for a literal secret in every policy that is shown; nobody's secret starts like this.
HIDDEN = "<hidden>"


def credentials_of(service: Service) -> Sequence[Credential]:
    """One or several, however they are written."""
    return [service.credential] if service.HasField("credential") else service.credentials


def credential_header(credential: Credential) -> str:
    """The header field that the credential sets, in lower case."""
    return "authorization" if credential.HasField("bearer") else credential.header.name.lower()


def check_credentials(service: Service, path: str, report: Report, *, hidden_ok: bool) -> None:
    if service.HasField("credential"):
        _check_credential(service.credential, f"{path}.credential", report, hidden_ok=hidden_ok)
        if service.credentials:
            report.problem(f"{path}.credentials", "is written beside credential; expected only one of them")
    for place, credential in enumerate(service.credentials):
        where = f"{path}.credentials[{place}]"
        _check_credential(credential, where, report, hidden_ok=hidden_ok)
        first = service.credentials[0]
        if credential.WhichOneof("kind") and credential_header(credential) != credential_header(first):
            report.problem(where, "is sent in another header field than the first; expected the same")


def _check_credential(credential: Credential, path: str, report: Report, *, hidden_ok: bool) -> None:
    kind = credential.WhichOneof("kind")
    if kind is None:
        report.problem(path, "is empty; expected bearer or header")
    elif kind == "bearer":
        _check_secret(credential.bearer, f"{path}.bearer", report, hidden_ok=hidden_ok)
    else:
        header = credential.header
        check_name(header.name, f"{path}.header.name", report)
        if header.HasField("value"):
            _check_secret(header.value, f"{path}.header.value", report, hidden_ok=hidden_ok)


def _check_secret(secret: Secret, path: str, report: Report, *, hidden_ok: bool) -> None:
    if secret.env:
        tell(report, f"{path}.env", syntax.variable_fault(secret.env))
    if secret.literal == HIDDEN:
        if not hidden_ok:
            report.problem(path, "is the mark of a hidden secret; expected {env: NAME} or {file: PATH}")
    elif secret.literal:
        tell(report, path, syntax.header_value_fault(secret.literal))
        report.warning(path, "is a secret written into the policy; better {env: NAME} or {file: PATH}")
