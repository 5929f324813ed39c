"""A target comes to one path, whoever resolves it."""

from __future__ import annotations

import pytest

from sidecar.wire.target import read_target


@pytest.mark.parametrize(
    ("method", "target", "place"),
    [
        (b"GET", b"/", (b"/", b"", "h")),
        (b"GET", b"/v1/models?limit=2&a[]=%20", (b"/v1/models", b"?limit=2&a[]=%20", "h")),
        (b"GET", b"/v1/models/Qwen%2FQwen2.5-7B", (b"/v1/models/Qwen%2FQwen2.5-7B", b"", "h")),
        (b"GET", b"/v1/a..b/...", (b"/v1/a..b/...", b"", "h")),
        (b"GET", b"/x?..", (b"/x", b"?..", "h")),
        (b"GET", b"/x?", (b"/x", b"?", "h")),
        (b"GET", b"http://Other:80/v1/x?y", (b"/v1/x", b"?y", "other")),
        (b"GET", b"HTTPS://[::1]:80?y", (b"/", b"?y", "::1")),
        (b"OPTIONS", b"*", (b"*", b"", "h")),
        (b"OPTIONS", b"http://a", (b"*", b"", "a")),
    ],
)
def test_every_allowed_form_comes_to_a_path(method: bytes, target: bytes, place: tuple[object, ...]) -> None:
    """RFC 9112 3.2.1, 3.2.2, 3.2.4; the authority of an absolute target stands in for Host."""
    assert read_target(method, target, b"H:8800") == place


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/../admin",
        b"/v1/..",
        b"/.",
        b"/./v1",
        b"/v1/%2e%2E/admin",
        b"/v1/.%2e/admin",
        b"/v1/..%2fadmin",
        b"/v1/x%2f..%5cadmin",
        b"/v1/..;a=b/admin",
        b"/v1/..%3ba/admin",
        b"http://h/v1/../admin",
    ],
)
def test_dot_segments_are_refused(target: bytes) -> None:
    """The route's prefix would be that of one path, the service would serve another."""
    assert read_target(b"GET", target, b"h") == "has a path with dot segments"


@pytest.mark.parametrize(
    "target",
    [
        b"v1/x",
        b"*",
        b"/a#b",
        b"/a?b#c",
        b'/a"b',
        b"/a\\b",
        b"/a?<b>",
        b"/%zz",
        b"/%2",
        b"ftp://h/x",
        b"http:///x",
        b"http://u:p@h/x",
        b"http://h:x/",
        b"h:443",
    ],
)
def test_other_targets_are_refused(target: bytes) -> None:
    """Neither of the forms, a fragment, or characters that no URL has."""
    assert isinstance(read_target(b"GET", target, b"h"), str)


@pytest.mark.parametrize(
    ("field", "host"),
    [
        (b"", ""),
        (b"A.b-c_d", "a.b-c_d"),
        (b"[::1]:80", "::1"),
        (b"127.0.0.1:8800", "127.0.0.1"),
        (b"a:", "a"),
    ],
)
def test_the_host_is_bare_and_in_lower_case(field: bytes, host: str) -> None:
    """It is compared with the configured names as it is."""
    assert read_target(b"GET", b"/", field) == (b"/", b"", host)
