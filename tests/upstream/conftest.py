"""One authority for all tests of this room: a key takes longer to make than a test to run."""

from __future__ import annotations

import pytest

from .authority import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
