"""What Grafana would ask Prometheus for: the queries of a dashboard, with its variables filled in.

In:      the JSON of a dashboard; values of its variables.
Out:     panels, queries and annotations by name, ready for the query API.
Limits:  the subset of Grafana's model that our dashboard uses: no repeats, no library panels, no nested rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "sidecar.json"
EVERYTHING = {"$job": ".+", "$instance": ".+", "$__rate_interval": "5s", "$__interval": "1s"}


class Query(NamedTuple):
    """One expression; `name` tells where it stands."""

    name: str
    expression: str


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def queries(variables: Mapping[str, str] = EVERYTHING) -> Iterator[Query]:
    """Of panels and annotations."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield Query(f"{panel['title']} {target['refId']}", filled(target["expr"], variables))
    for annotation in dashboard()["annotations"]["list"]:
        if "expr" in annotation:
            yield Query(annotation["name"], filled(annotation["expr"], variables))


def filled(expression: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
