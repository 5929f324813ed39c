"""What has to hold inside one service, beyond the rules of its single fields.

In:      a Service message and its path; texts that are missing or empty have been told already.
Out:     problems and warnings in the Report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmsidecar.v1.policy_pb2 import PassiveHealth, Service, Timeouts

from sidecar.policy import syntax
from sidecar.policy.credential_rules import check_credentials, credential_header, credentials_of
from sidecar.policy.field_checks import check_name, tell
from sidecar.policy.probe_rules import check_active
from sidecar.policy.problems import Report, quote
from sidecar.policy.rules import field_of, rule_of, value_of
from sidecar.policy.traffic_rules import check_picking, check_rate_limits
from sidecar.policy.units import BadValue
from sidecar.terms import BadAddress, TcpAddress, parse_address

_SECRET_HEADERS = ("authorization", "proxy-authorization", "api-key", "x-api-key", "cookie")


def check_service(service: Service, path: str, report: Report, *, hidden_ok: bool) -> None:
    tell(report, f"{path}.name", syntax.name_fault(service.name) if service.name else None)
    _check_url(service, path, report)
    _check_endpoints(service.endpoints, f"{path}.endpoints", report)
    if service.model and service.models:
        report.problem(f"{path}.models", "is written beside model; expected only one of them")
    check_credentials(service, path, report, hidden_ok=hidden_ok)
    check_picking(service, path, report)
    check_rate_limits(service.rate_limit, f"{path}.rate_limit", report, of_service=True)
    _check_headers(service, f"{path}.headers", report)
    _check_tls(service, f"{path}.tls", report)
    if service.HasField("passive_health"):
        _check_passive(service.passive_health, f"{path}.passive_health", report)
    if service.HasField("active_health"):
        check_active(service, f"{path}.active_health", report)
    metrics = service.adaptive_concurrency.queue_metrics
    where = f"{path}.adaptive_concurrency.queue_metrics.path"
    tell(report, where, syntax.path_fault(metrics.path, query=True) if metrics.path else None)
    _check_timeouts(service.timeouts, f"{path}.timeouts", report)


def _check_url(service: Service, path: str, report: Report) -> None:
    if not service.url:
        return
    try:
        syntax.parse_url(service.url)
    except BadValue as error:
        report.problem(f"{path}.url", str(error))


def _check_endpoints(endpoints: Sequence[str], path: str, report: Report) -> None:
    first: dict[str, int] = {}
    for place, text in enumerate(endpoints):
        if not text:
            continue
        where = f"{path}[{place}]"
        try:
            address = parse_address(text)
        except BadAddress as error:
            report.problem(where, str(error))
            continue
        if isinstance(address, TcpAddress) and address.port == 0:
            report.problem(where, f"{quote(text)} has port 0; expected a port from 1 to 65535")
        if first.setdefault(str(address), place) != place:
            report.problem(
                where, f"is the same as {path}[{first[str(address)]}]; expected every endpoint once"
            )


def _check_headers(service: Service, path: str, report: Report) -> None:
    _check_names(sorted(service.headers.set), f"{path}.set", report)
    for name, value in sorted(service.headers.set.items()):
        where = f"{path}.set[{name}]"
        if value:
            tell(report, where, syntax.header_value_fault(value))
        if name.lower() in {credential_header(credential) for credential in credentials_of(service)}:
            report.problem(where, "is set by credential too; expected only one of them")
        elif name.lower() in _SECRET_HEADERS:
            report.warning(where, "shows to everyone who may read the policy; better credential")
    for place, name in enumerate(service.headers.remove):
        check_name(name, f"{path}.remove[{place}]", report)


def _check_names(names: Iterable[str], path: str, report: Report) -> None:
    seen: dict[str, str] = {}
    for name in names:
        where = f"{path}[{name}]"
        check_name(name, where, report)
        if seen.setdefault(name.lower(), name) != name:
            report.problem(where, f"is the same header field as {seen[name.lower()]}; expected it once")


def _check_tls(service: Service, path: str, report: Report) -> None:
    tls = service.tls
    for one, other in (("client_cert_file", "client_key_file"), ("client_key_file", "client_cert_file")):
        if getattr(tls, one) and not getattr(tls, other):
            report.problem(f"{path}.{one}", f"is written without {other}; expected both or none")
    if tls.server_name and not syntax.is_host(tls.server_name):
        report.problem(
            f"{path}.server_name",
            f"{quote(tls.server_name)} is no host name; expected llm.example or the like",
        )
    if tls.insecure_skip_verify:
        report.warning(f"{path}.insecure_skip_verify", "lets anybody answer in the service's place")
    if service.HasField("tls") and service.url.lower().startswith("http:"):
        report.warning(path, "has no effect, because the url is http; better https, or no tls")


def _check_passive(passive: PassiveHealth, path: str, report: Report) -> None:
    base, most = value_of(passive, "base_ejection_time"), value_of(passive, "max_ejection_time")
    assert isinstance(base, int)
    assert isinstance(most, int)
    if base > most:
        rule = rule_of(field_of(passive, "base_ejection_time"))
        written = "base_ejection_time" if passive.HasField("base_ejection_time") else "max_ejection_time"
        report.problem(
            f"{path}.{written}",
            f"makes base_ejection_time ({rule.show(base)}) longer than max_ejection_time ({rule.show(most)});"
            " expected it to be at most as long",
        )


def _check_timeouts(timeouts: Timeouts, path: str, report: Report) -> None:
    soft, hard = value_of(timeouts, "first_packet_soft"), value_of(timeouts, "first_packet")
    if isinstance(soft, int) and isinstance(hard, int) and soft >= hard:
        rule = rule_of(field_of(timeouts, "first_packet"))
        report.problem(
            f"{path}.first_packet_soft",
            f"is {rule.show(soft)}, and first_packet is {rule.show(hard)}; expected it to be shorter",
        )
