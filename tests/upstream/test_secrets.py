"""Secrets by reference: found or clearly missing, and followed when their file changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.policy.snapshot import Secret
from sidecar.upstream import secrets
from sidecar.upstream.secrets import SecretMissing, SecretReader


@pytest.fixture(autouse=True)
def looks_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "RECHECK", 0.0)


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "k1")
    assert SecretReader(Secret(env="A_KEY")).value() == "k1"


def test_a_file_s_line_end_is_no_part_of_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  k1\n")
    assert SecretReader(Secret(file=str(path))).value() == "k1"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"a\r\nx-admin: 1", "no header field may bear"),
        ("schlüssel".encode(), "no header field may bear"),
        (b"\xff\xfe", "no UTF-8"),
    ],
    ids=["empty", "blank", "two_lines", "umlaut", "binary"],
)
def test_what_cannot_be_a_credential_is_refused_and_not_shown(
    content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(SecretMissing, match=why) as caught:
        SecretReader(Secret(file=str(path)))
    assert "x-admin" not in str(caught.value)


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(SecretMissing, match="NO_SUCH_KEY"):
        SecretReader(Secret(env="NO_SUCH_KEY"))
    with pytest.raises(SecretMissing, match="/no/such/file"):
        SecretReader(Secret(file="/no/such/file"))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("k1")
    reader = SecretReader(Secret(file=str(path)))
    path.write_text("k2-longer")
    assert reader.value() == "k2-longer"


def test_a_swapped_symlink_is_followed(tmp_path: Path) -> None:
    """So Kubernetes renews a mounted secret: the folder behind a link is another one."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "key").symlink_to("data/key")
    reader = SecretReader(Secret(file=str(tmp_path / "key")))
    assert reader.value() == "one"
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", tmp_path / "data")
    assert reader.value() == "two"


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_file_that_becomes_unusable_leaves_the_last_value_in_use(how: str, tmp_path: Path) -> None:
    """In the middle of a renewal; and a service without credential would be no better off."""
    path = tmp_path / "key"
    path.write_text("k1")
    reader = SecretReader(Secret(file=str(path)))
    if how == "gone":
        path.unlink()
    else:
        path.write_text("")
    assert reader.value() == "k1"
    path.write_text("k2")
    assert reader.value() == "k2"


def test_the_value_is_shown_nowhere() -> None:
    reader = SecretReader(Secret(literal="very-secret"))
    assert "very-secret" not in repr(reader)
    assert "very-secret" not in repr(Secret(literal="very-secret"))
