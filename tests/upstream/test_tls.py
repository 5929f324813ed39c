"""TLS files: what cannot be used is named, what changes is taken over."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from sidecar.policy.snapshot import Tls
from sidecar.upstream.tls import RECHECK, TlsFileError, TlsReader, client_context

from .authority import Authority


def test_no_version_before_1_2_is_spoken() -> None:
    assert client_context(Tls()).minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "no_pem"])
@pytest.mark.parametrize("field", ["ca_file", "client_cert_file"])
def test_a_file_that_cannot_be_used_is_named(field: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TlsFileError) as caught:
        client_context(Tls(ca_file=str(path)) if field == "ca_file" else Tls(client_cert_file=str(path)))
    assert caught.value.field == field
    assert str(path) in caught.value.why


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, other = authority.issue("one", "DNS:one"), authority.issue("other", "DNS:other")
    with pytest.raises(TlsFileError) as caught:
        client_context(Tls(client_cert_file=str(one.cert), client_key_file=str(other.key)))
    assert caught.value.field == "client_cert_file"


def trusted(context: ssl.SSLContext) -> list[str]:
    """The names of the authorities."""
    subjects: list[Any] = [ca["subject"] for ca in context.get_ca_certs()]
    return sorted(value for subject in subjects for ((_, value),) in subject)


def test_a_changed_file_makes_a_new_context_and_an_unchanged_one_does_not(
    authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    shutil.copy(authority.ca, path)
    reader = TlsReader(Tls(ca_file=str(path)), now=0.0)
    first = reader.context(0.0)
    assert trusted(first) == ["test authority"]
    assert reader.context(RECHECK) is first
    shutil.copy(Authority(tmp_path / "next", "next authority").ca, path)
    assert reader.context(RECHECK + 0.5) is first  # not looked at so soon
    assert trusted(reader.context(2 * RECHECK)) == ["next authority"]


def test_between_the_two_files_of_a_renewal_the_last_context_stays_in_use(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = authority.issue("old", "DNS:old"), authority.issue("new", "DNS:new")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(old.cert, cert)
    shutil.copy(old.key, key)
    reader = TlsReader(Tls(client_cert_file=str(cert), client_key_file=str(key)), now=0.0)
    first = reader.context(0.0)
    shutil.copy(new.cert, cert)
    assert reader.context(1 * RECHECK) is first
    assert reader.context(2 * RECHECK) is first
    assert len(caplog.records) == 1  # said once
    shutil.copy(new.key, key)
    assert reader.context(3 * RECHECK) is not first
    cert.unlink()
    assert isinstance(reader.context(4 * RECHECK), ssl.SSLContext)
    assert len(caplog.records) == 2
