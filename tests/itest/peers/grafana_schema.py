"""Grafana's schema of a dashboard: a program that reads one as strictly as Grafana's own code for building them does.

In:      files with dashboards.
Out:     exit code 0, or 1 and every fault with its place: unknown and missing fields and values of a wrong type, in
         the dashboard, in queries for Prometheus and in the options of each type of panel.
Limits:  words of a closed set (`drawStyle: line`) are not looked up; the schema's Go code has them as mere strings.
Source:  github.com/grafana/grafana-foundation-sdk, which is generated from Grafana's schema; Apache-2.0.
"""

import shutil
from pathlib import Path

from tests.itest.peers.install import built, go

HERE = Path(__file__).parent / "grafana"
GRAFANA_SCHEMA = "v0.0.22"  # go.mod says it, too
PARTS = ("main.go", "go.mod", "go.sum")


def grafana_schema() -> Path:
    def build(work: Path) -> Path:
        for part in PARTS:
            shutil.copy(HERE / part, work)
        go(work, "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", "grafana-schema", ".")
        return work / "grafana-schema"

    return built(
        "grafana-schema", GRAFANA_SCHEMA, build, recipe="".join((HERE / part).read_text() for part in PARTS)
    )
