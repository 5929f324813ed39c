"""The dashboard by Grafana's own schema; what its queries return is in test_prometheus.py."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.itest.dashboards import DASHBOARD, dashboard
from tests.itest.peers import require
from tests.itest.peers.grafana_schema import grafana_schema

pytestmark = pytest.mark.itest

Json = dict[str, Any]


def faults(file: Path) -> list[str]:
    done = subprocess.run(
        [require(grafana_schema), file], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == bool(done.stdout), done.stderr
    return [line.removeprefix(f"{file}: ") for line in done.stdout.splitlines()]


def test_the_dashboard_is_one_by_grafanas_own_schema() -> None:
    assert faults(DASHBOARD) == []


def of_the_dashboard(board: Json) -> None:
    board["refresh"] = 10


def of_a_panel(board: Json) -> None:
    board["panels"][0]["gridPos"]["w"] = "wide"


def of_a_query(board: Json) -> None:
    board["panels"][0]["targets"][0]["expression"] = "up"


def of_the_options(board: Json) -> None:
    del board["panels"][0]["options"]["textMode"]


def of_the_marks(board: Json) -> None:
    board["annotations"]["list"][1]["colour"] = "red"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (of_the_dashboard, "refresh: "),
        (of_a_panel, "panels[0].gridPos.w: "),
        (of_a_query, "'expression'"),
        (of_the_options, "panels[0].options.textMode: "),
        (of_the_marks, "annotations.list[1]"),
    ],
)
def test_a_fault_is_found_wherever_it_is(tmp_path: Path, spoil: Callable[[Json], None], told: str) -> None:
    """Or the test above would prove nothing."""
    board = dashboard()
    spoil(board)
    file = tmp_path / "spoilt.json"
    file.write_text(json.dumps(board))
    [fault] = faults(file)
    assert told in fault
