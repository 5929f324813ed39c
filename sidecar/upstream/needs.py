"""What a policy refers to and this machine does not have, or not in a form that can be used.

In:      a policy, be there other problems in it, and the lines of its file if it came from one.
Out:     a Problem for every secret without a value and every TLS file that cannot be used; a secret's value is
         never part of one.
Used by: `sidecar check`, the start, and every later change of the policy.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmsidecar.v1.policy_pb2 import Policy, UpstreamTls

from sidecar.policy import Lines, Problem, secrets_of
from sidecar.policy.build import build_secret, build_tls
from sidecar.policy.problems import Report
from sidecar.upstream.secrets import SecretMissing, SecretReader
from sidecar.upstream.tls import TlsFileError, client_context


def missing(policy: Policy, lines: Lines | None = None) -> Sequence[Problem]:
    """Everything at once."""
    report = Report(lines or {})
    _check_secrets(policy, report)
    for place, service in enumerate(policy.services):
        _check_tls(service.tls, f"policy.services[{place}].tls", report)
    return report.problems


def _check_secrets(policy: Policy, report: Report) -> None:
    for path, secret in secrets_of(policy):
        source = secret.WhichOneof("source")
        if source in ("env", "file") and getattr(secret, source):
            try:
                SecretReader(build_secret(secret))
            except SecretMissing as error:
                report.problem(f"{path}.{source}", f"{error}; expected it to hold the secret")


def _check_tls(tls: UpstreamTls, path: str, report: Report) -> None:
    if tls.ca_file or tls.client_cert_file:
        try:
            client_context(build_tls(tls))
        except TlsFileError as error:
            report.problem(f"{path}.{error.field}", error.why)
