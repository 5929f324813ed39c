"""The daemon that the command line talks to in these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.daemon import Daemon, running
from tests.client.messages import endpoint, policy


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Its address is in $SIDECAR_ADMIN."""
    made = Daemon(policy=policy(), endpoints=[endpoint(), endpoint("bailian", "api:443")])
    with running(made, tmp_path):
        monkeypatch.setenv("SIDECAR_ADMIN", made.address)
        yield made
