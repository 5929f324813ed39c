"""The pages that list names list all of them, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from llmsidecar.v1.health_pb2 import HealthEvent
from prometheus_client.parser import text_string_to_metric_families

from sidecar.failure import FailureKind
from sidecar.telemetry.exposition import Exposition, Gauges
from sidecar.telemetry.metrics import Metrics

DOCS = Path(__file__).parent.parent / "docs"


def rows(page: str, heading: str) -> list[str]:
    """The first cells of the table below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_every_metric_has_its_line() -> None:
    gauges = Gauges(
        statuses=list,
        active_requests=dict,
        policy_generation=lambda: 1,
        events_dropped=lambda: 0,
        loop_lag=lambda: 0.0,
    )
    text = Exposition(Metrics(), gauges).render()[0].decode()
    types = re.findall(r"^# TYPE (sidecar_\S+) (\S+)$", text, re.MULTILINE)
    names = {name for name, _ in types}
    assert names == set(rows("telemetry.md", "Metrics"))
    assert all(family.documentation for family in text_string_to_metric_families(text))


def test_every_failure_code_has_its_line() -> None:
    assert set(rows("telemetry.md", "Failure codes")) == {kind.value for kind in FailureKind}


def test_every_event_has_its_line() -> None:
    text = (DOCS / "operating.md").read_text(encoding="utf-8").split("\n## Following events\n")[1]
    listed = [name for row in re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE) for name in row.split(", ")]
    kinds = [field.name for field in HealthEvent.DESCRIPTOR.oneofs_by_name["event"].fields]
    assert sorted(name.strip("`") for name in listed) == sorted(kinds)


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
