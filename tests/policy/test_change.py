"""Updates of the running policy: secrets stay hidden, versions are told apart, masks replace what they name."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict
from llmsidecar.v1.policy_pb2 import Policy

from sidecar.policy import HIDDEN, Problem, check_policy, etag_of, mask_problems, merge, redacted, unredacted


def policy(*names: str, secret: str = "") -> Policy:
    services = [{"name": name, "url": f"http://{name}"} for name in names]
    made = ParseDict({"services": services, "routes": [{"services": list(names)}]}, Policy())
    if secret:
        made.services[0].credential.bearer.literal = secret
    return made


def test_a_literal_secret_is_never_shown() -> None:
    running = policy("a", "b", secret="sk-1")
    running.services[1].credential.header.name = "api-key"
    running.services[1].credential.header.value.literal = "sk-2"
    shown = redacted(running)
    assert "sk-" not in str(shown)
    assert shown.services[0].credential.bearer.literal == HIDDEN
    assert running.services[0].credential.bearer.literal == "sk-1", "what runs is not touched"


def test_a_reference_is_shown_as_it_is() -> None:
    running = policy("a")
    running.services[0].credential.bearer.env = "KEY"
    assert redacted(running) == running


def test_what_was_hidden_comes_back_by_the_name_of_its_service() -> None:
    """Read, edit, write: the reader never saw the secret, and the services may have moved."""
    running = policy("a", "b", secret="sk-1")
    edited = redacted(running)
    edited.services.reverse()
    whole = unredacted(edited, running)
    assert whole.services[1].credential.bearer.literal == "sk-1"
    assert edited.services[1].credential.bearer.literal == HIDDEN, "what was given is not touched"
    assert check_policy(whole).problems == ()


def test_a_mark_with_nothing_behind_it_is_refused() -> None:
    update = unredacted(policy("new", secret=HIDDEN), policy("a", secret="sk-1"))
    assert [problem.field for problem in check_policy(update).problems] == [
        "policy.services[0].credential.bearer"
    ]


def test_a_new_secret_replaces_the_old_one() -> None:
    update = unredacted(policy("a", secret="sk-new"), policy("a", secret="sk-old"))
    assert update.services[0].credential.bearer.literal == "sk-new"


def test_the_etag_names_exactly_one_policy() -> None:
    assert etag_of(policy("a")) == etag_of(policy("a"))
    different = [
        policy("a"),
        policy("b"),
        policy("a", "b"),
        policy("b", "a"),
        policy("a", secret="x"),
        Policy(),
    ]
    assert len({etag_of(each) for each in different}) == len(different)


def test_the_etag_does_not_know_the_order_of_map_keys() -> None:
    first, second = policy("a"), policy("a")
    for name in ("x", "y", "z"):
        first.services[0].models[name] = "m"
    for name in ("z", "y", "x"):
        second.services[0].models[name] = "m"
    assert etag_of(first) == etag_of(second)


def test_the_etag_outlives_restarts_and_releases() -> None:
    """It is kept beside stored policies: another value for the same policy would undo an accepted update."""
    assert etag_of(policy("a")) == "84906fdc6651fad1d2b0d8c816da3750"


@pytest.mark.parametrize("paths", [[], ["*"], ["services", "routes"]])
def test_no_path_a_star_or_every_path_replace_the_whole(paths: list[str]) -> None:
    assert merge(policy("a"), policy("b"), paths) == policy("b")


def test_a_path_replaces_what_it_names_and_nothing_else() -> None:
    running, update = policy("a", "b"), policy("c")
    merged = merge(running, update, ["services"])
    assert [service.name for service in merged.services] == ["c"]
    assert merged.routes == running.routes
    assert running == policy("a", "b"), "what runs is not touched"


def test_a_list_that_is_named_and_empty_is_emptied() -> None:
    """The checks then refuse it; merging must not decide that the caller meant something else."""
    merged = merge(policy("a"), Policy(), ["routes"])
    assert (len(merged.services), len(merged.routes)) == (1, 0)


def test_every_path_that_names_nothing_is_told() -> None:
    assert mask_problems(["service", "services", "services.name", "x", "*"]) == [
        Problem("update_mask", f"'{path}' names no field of a policy that can be replaced{hint}")
        for path, hint in (
            ("service", "; did you mean services?"),
            ("services.name", "; did you mean services?"),
            ("x", "; expected services, routes, or * alone"),
            ("*", "; expected services, routes, or * alone"),
        )
    ]


@pytest.mark.parametrize("paths", [[], ["*"], ["routes", "services"]])
def test_a_good_mask_has_no_problems(paths: list[str]) -> None:
    assert mask_problems(paths) == []


def test_what_is_named_beside_a_path_that_names_nothing_is_still_taken() -> None:
    """So that its own problems are told with that of the path."""
    assert merge(policy("a"), Policy(), ["rutes", "services"]).services == []
