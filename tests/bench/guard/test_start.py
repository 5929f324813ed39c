"""What the bare data path must not load: each of these costs every pod milliseconds and memory for good."""

from __future__ import annotations

import pytest

from bench.guard import start
from bench.guard.kept import PYTHON, compare, complaint, kept
from sidecar.cli.later import UNUSED as LATER

PARTS = (  # of what is off here
    *("grpc", "grpc_status", "opentelemetry", "prometheus_client", "aiodns", "pycares"),
    *("llmsidecar.v1.health_pb2", "sidecar.admin.convert", "sidecar.admin.store", "sidecar.ops"),
)
UNUSED = (  # of protobuf: its implementation in Python, and what writes a policy as text
    *("google.protobuf.text_format", "google.protobuf.json_format", "google.protobuf.internal.decoder"),
)
NEVER = ("pydantic", "httpx", "requests", "urllib3", "structlog", "rich", "psutil", "numpy")
HEAVY = (  # of the standard library, for what a start does in plain words
    *("argparse", "gettext", "shutil", "pathlib", "tempfile", "urllib", "ipaddress", "decimal", "difflib"),
    *(
        "hashlib",
        "pickle",
        "email",
        "http.client",
        "importlib.metadata",
        "logging.config",
        "uuid",
        "unittest",
        "encodings.idna",
    ),
)


@pytest.fixture(scope="module")
def started() -> start.Start:
    return start.start()


@pytest.mark.parametrize("module", [*PARTS, *UNUSED, *NEVER, *HEAVY, *LATER])
def test_the_bare_data_path_does_without(module: str, started: start.Start) -> None:
    within = f"{module}."
    assert [name for name in started.modules if name == module or name.startswith(within)] == []


def test_the_bare_data_path_is_one_thread(started: start.Start) -> None:
    """A literal address asks no resolver, and nothing else needs help before the first request."""
    assert started.threads == 1


def test_what_a_start_needs_is_seen_at_all(started: start.Start) -> None:
    """Else the tests above would pass for a report that nobody wrote."""
    assert {"asyncio", "uvloop.loop", "yaml", "google.protobuf.message", "sidecar.daemon"} <= set(
        started.modules
    )


def test_a_start_loads_no_more_modules_than_was_kept(started: start.Start) -> None:
    before = kept(PYTHON)
    if before is None:
        pytest.skip(f"no figures are kept for Python {PYTHON}: python -m bench.guard --keep")
    if dearer := compare(before, start.figures(started)):
        pytest.fail(complaint(dearer), pytrace=False)
