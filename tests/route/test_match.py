"""Which route a request takes, and what its services are asked for."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.frozen import replace
from sidecar.policy.snapshot import Route, Snapshot
from sidecar.route.match import Router, upstream_target
from tests.route.spot import service


def router(*routes: Route) -> Router:
    return Router(Snapshot(1, {}, routes))


def a_route(name: str, **fields: object) -> Route:
    return replace(Route(name, ("own",)), **fields)


def no_header(name: bytes) -> bytes | None:
    return None


@pytest.mark.parametrize(
    ("prefix", "path", "matches"),
    [
        ("/v1", "/v1", True),
        ("/v1", "/v1/", True),
        ("/v1", "/v1/chat/completions", True),
        ("/v1", "/v1x", False),
        ("/v1", "/V1/models", False),
        ("/v1", "/", False),
        ("/v1/", "/v1/models", True),
        ("/v1/", "/v1", True),
        ("/", "/anything", True),
        ("/", "/", True),
        ("/", "*", True),
        ("/v1", "*", False),
    ],
)
def test_a_prefix_ends_at_the_end_of_a_segment(prefix: str, path: str, matches: bool) -> None:
    """`/v1` must not catch what is meant for `/v1beta`."""
    route = a_route("r", path_prefix=prefix)
    assert router(route).match(path, None, no_header) is (route if matches else None)


def test_the_first_route_in_order_wins_even_over_a_longer_prefix() -> None:
    """The file reads from top to bottom."""
    wide, narrow = a_route("wide", path_prefix="/"), a_route("narrow", path_prefix="/v1")
    assert router(wide, narrow).match("/v1/models", None, no_header) is wide
    assert router(narrow, wide).match("/v1/models", None, no_header) is narrow
    assert router(narrow, wide).match("/v2/models", None, no_header) is wide


def test_models_are_globs_and_case_counts() -> None:
    """Vendors tell models apart by case too."""
    route = a_route("r", models=("gpt-4*", "claude-[34]-?"))
    for model, matches in {
        "gpt-4o": True,
        "gpt-3": False,
        "GPT-4o": False,
        "claude-3-x": True,
        "xgpt-4": False,
    }.items():
        assert router(route).match("/v1/x", model, no_header) is (route if matches else None), model


@given(st.text("ab*?[]!-.|(\n", max_size=8), st.text("ab-.|(\n", max_size=8))
def test_a_glob_means_what_fnmatch_says(glob: str, model: str) -> None:
    """No second dialect of globs, and none of its characters reaches the regular expression raw."""
    found = router(a_route("r", models=("never", glob))).match("/v1", model, no_header)
    assert (found is not None) == (fnmatchcase(model, glob) or model == "never")


def test_a_request_without_a_model_takes_only_routes_without_models() -> None:
    """`*` asks for a model, whichever it is."""
    picky, plain = a_route("picky", models=("*",)), a_route("plain")
    assert router(picky).match("/v1/models", None, no_header) is None
    assert router(picky, plain).match("/v1/models", None, no_header) is plain


def test_header_conditions_want_exactly_their_values() -> None:
    """All of them."""
    route = a_route("r", headers=(("x-tenant", "blue"), ("x-tier", "1")))
    rest = a_route("rest")
    for fields, expected in (
        ({b"x-tenant": b"blue", b"x-tier": b"1"}, route),
        ({b"x-tenant": b"blue"}, rest),
        ({b"x-tenant": b"Blue", b"x-tier": b"1"}, rest),
        ({}, rest),
    ):
        assert router(route, rest).match("/v1", None, fields.get) is expected


@pytest.mark.parametrize(
    ("prefix", "url_path", "path", "target"),
    [
        ("/v1", "/compatible-mode/v1", "/v1/chat/completions", "/compatible-mode/v1/chat/completions"),
        ("/v1", "/v1", "/v1/models", "/v1/models"),
        ("/v1", "", "/v1/chat/completions", "/chat/completions"),
        ("/v1", "", "/v1", "/"),
        ("/v1", "/api", "/v1", "/api"),
        ("/v1/", "/api", "/v1/", "/api/"),
        ("/", "", "/v1/models", "/v1/models"),
        ("/", "/api", "/v1/models", "/api/v1/models"),
        ("/", "/api", "/", "/api/"),
        ("/v1", "/v1", "/v1/a%2Fb//c", "/v1/a%2Fb//c"),
        ("/", "/api", "*", "*"),
    ],
)
def test_the_services_path_replaces_the_routes_prefix(
    prefix: str, url_path: str, path: str, target: str
) -> None:
    """The app writes one base URL, each service has its own; the rest goes through as it came."""
    own = service("own")
    own = replace(own, url=replace(own.url, path=url_path))
    assert upstream_target(a_route("r", path_prefix=prefix), own, path) == target
