"""What has to hold inside one route, and between routes.

In:      Route messages with their paths, the names of the services; empty texts have been told already.
Out:     problems and warnings in the Report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from llmsidecar.v1.policy_pb2 import Route, RouteMatch

from sidecar.policy import syntax
from sidecar.policy.problems import Report, quote
from sidecar.policy.rules import field_of, rule_of, value_of
from sidecar.policy.traffic_rules import check_rate_limits


def check_route(route: Route, path: str, services: Mapping[str, int], report: Report) -> None:
    _check_match(route.match, f"{path}.match", report)
    _check_services(route, path, services, report)
    check_rate_limits(route.rate_limit, f"{path}.rate_limit", report)
    words = sorted(syntax.FALLBACK_WORDS)
    expected = rule_of(field_of(route, "fallback_on")).expected
    for place, word in enumerate(route.fallback_on):
        if word and not syntax.is_fallback_word(word):
            hint = report.hint(word, words, expected)
            report.problem(f"{path}.fallback_on[{place}]", f"{quote(word)} is not known{hint}")


def check_reach(routes: Sequence[Route], path: str, report: Report) -> None:
    """Warns of every route behind one that takes all its requests: the first that matches is used."""
    takes = [_Takes.of(route.match) for route in routes]
    for place, later in enumerate(takes):
        first = next((n for n, earlier in enumerate(takes[:place]) if earlier.covers(later)), None)
        if first is not None:
            report.warning(
                f"{path}[{place}]", f"is never used: {path}[{first}] matches all its requests first"
            )


def _check_match(match: RouteMatch, path: str, report: Report) -> None:
    if match.path_prefix:
        fault = syntax.path_fault(match.path_prefix)
        if fault is not None:
            report.problem(f"{path}.path_prefix", fault)
    for place, glob in enumerate(match.models):
        fault = syntax.glob_fault(glob)
        if fault is not None:
            report.problem(f"{path}.models[{place}]", fault)
    seen: dict[str, str] = {}
    for name, value in sorted(match.headers.items()):
        where = f"{path}.headers[{name}]"
        fault = (name and syntax.header_name_fault(name)) or (value and syntax.header_value_fault(value))
        if fault:
            report.problem(where, fault)
        if seen.setdefault(name.lower(), name) != name:
            report.problem(where, f"is the same header field as {seen[name.lower()]}; expected it once")


def _check_services(route: Route, path: str, known: Mapping[str, int], report: Report) -> None:
    first: dict[str, int] = {}
    for place, name in enumerate(route.services):
        where = f"{path}.services[{place}]"
        if not name:
            continue
        if name not in known:
            some = f"one of {', '.join(islice(known, 20))}" if known else "the name of one"
            report.problem(where, f"{quote(name)} is no service{report.hint(name, known, some)}")
        if first.setdefault(name, place) != place:
            report.problem(
                where, f"is the same as {path}.services[{first[name]}]; expected every service once"
            )
    attempts = value_of(route, "max_attempts")
    if isinstance(attempts, int) and 0 < attempts < len(first):
        report.warning(f"{path}.services", f"has {len(first)} services, but max_attempts is {attempts}")


class _Takes(NamedTuple):
    """Which requests a route takes."""

    prefix: str  # with a slash at its end
    models: frozenset[str]
    headers: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, match: RouteMatch) -> _Takes:
        prefix = str(value_of(match, "path_prefix")).rstrip("/") + "/"
        headers = frozenset((name.lower(), value) for name, value in match.headers.items())
        return cls(prefix, frozenset(match.models), headers)

    def covers(self, other: _Takes) -> bool:
        """Whether every request that `other` takes is taken by this one too, as far as their texts show."""
        models = not self.models or (bool(other.models) and other.models <= self.models)
        return models and other.prefix.startswith(self.prefix) and self.headers <= other.headers
