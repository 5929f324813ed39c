"""Finds the route of a request and the target its services are asked for.

In:      a policy snapshot; then the path, model and header fields of each request.
Out:     the first route, in the order of the policy, whose every condition holds; None: no route.
Rules:   a path prefix ends at a segment's end: `/v1` matches `/v1` and `/v1/x`, not `/v1x`; `/` matches all.
         A longer prefix does not win over an earlier one, so the file reads from top to bottom.
         Models are globs and case counts; a request without a model matches only routes without models.
         A header condition wants exactly that value.
Limits:  paths are compared as they were sent: nothing is decoded here, wire has refused what could fool it.
Errors:  none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate

from sidecar.policy.snapshot import Route, Service, Snapshot

HeaderOf = Callable[[bytes], bytes | None]


class _Rule:
    """One route with its conditions made ready."""

    __slots__ = ("headers", "models", "prefix", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.prefix = _prefix(route)
        self.models = re.compile("|".join(map(translate, route.models))) if route.models else None
        self.headers = tuple((name.encode(), value.encode()) for name, value in route.headers)

    def covers(self, path: str) -> bool:
        prefix = self.prefix
        return path.startswith(prefix) and (not prefix or path[len(prefix) : len(prefix) + 1] in ("", "/"))

    def accepts(self, model: str | None, header: HeaderOf) -> bool:
        if self.models is not None and (model is None or self.models.match(model) is None):
            return False
        return all(header(name) == value for name, value in self.headers)


class Router:
    """The routes of one snapshot."""

    __slots__ = ("_rules",)

    def __init__(self, snapshot: Snapshot) -> None:
        self._rules = tuple(_Rule(route) for route in snapshot.routes)

    def match(self, path: str, model: str | None, header: HeaderOf) -> Route | None:
        """The first route whose every condition holds; `header` gives a field's value by its lower-case name."""
        for rule in self._rules:
            if rule.covers(path) and rule.accepts(model, header):
                return rule.route
        return None


def upstream_target(route: Route, service: Service, path: str) -> str:
    """The request target for a service, without a query: its url's path in place of the route's prefix.

    The asterisk of OPTIONS stays what it is.
    """
    if not path.startswith("/"):
        return path
    return service.url.path + path[len(_prefix(route)) :] or "/"


def _prefix(route: Route) -> str:
    return route.path_prefix.rstrip("/")
