from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """For sockets: pytest's own folders bear the test's name, and a Unix socket's path must be short."""
    with TemporaryDirectory(prefix="admin") as name:
        yield Path(name)
