"""Rules of sidecar_client.admin.address."""

from __future__ import annotations

import pytest
from sidecar_client.admin.address import DEFAULT_ADDRESS, admin_address


def test_the_address_given_wins_over_the_environment_and_that_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same order as on the command line."""
    monkeypatch.delenv("SIDECAR_ADMIN", raising=False)
    assert admin_address() == DEFAULT_ADDRESS
    monkeypatch.setenv("SIDECAR_ADMIN", "127.0.0.1:9")
    assert admin_address() == "127.0.0.1:9"
    assert admin_address("unix:/a") == "unix:/a"


@pytest.mark.parametrize("good", ["unix:/run/a.sock", "127.0.0.1:8801", "[::1]:8801", "localhost:1"])
def test_both_forms_of_address_are_taken(good: str) -> None:
    """They are those of the config file."""
    assert admin_address(good) == good


@pytest.mark.parametrize(
    "bad", ["unix:a.sock", "localhost", ":8801", "host:0", "host:70000", "http://h:1", "h:²"]
)
def test_what_is_no_address_is_refused_with_what_was_expected(bad: str) -> None:
    """gRPC would take many of these for a name and fail minutes later with something else."""
    with pytest.raises(ValueError, match="expected unix:/path or host:port"):
        admin_address(bad)
