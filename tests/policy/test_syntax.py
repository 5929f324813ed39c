"""The small languages inside texts of a policy."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.syntax import is_host, is_ip


@pytest.mark.parametrize("text", ["127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "fe80::1%eth0"])
def test_an_address_is_told_from_a_name(text: str) -> None:
    assert is_ip(text)
    assert is_host(f"[{text}]" if ":" in text else text)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.1.1.1", "1.1.1.", "٣.1.1.1", ":::", "a:b"],
)
def test_what_only_looks_like_an_address_is_none(text: str) -> None:
    assert not is_ip(text)


@given(st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){2,4}\Z"))
def test_ipv4_is_read_as_the_standard_library_reads_it(text: str) -> None:
    try:
        IPv4Address(text)
        standard = True
    except ValueError:
        standard = False
    assert is_ip(text) == is_host(text) == standard
