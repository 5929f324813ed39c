"""Rules of rise and fall."""

from __future__ import annotations

from sidecar.health.active import ProbeVerdict
from sidecar.policy.snapshot import ActiveHealth

POLICY = ActiveHealth(unhealthy_threshold=3, healthy_threshold=2)


def changes(verdict: ProbeVerdict, results: str) -> str:
    """Plays `+` and `-`; for each: `!` where the verdict changed."""
    return "".join(
        "!" if verdict.observe(POLICY, passed=mark == "+", reason=f"probe {i}") else "."
        for i, mark in enumerate(results)
    )


def test_an_endpoint_is_healthy_until_probes_prove_otherwise() -> None:
    """A start or a policy change must not stop traffic for the time of a probe."""
    assert ProbeVerdict().healthy


def test_only_failures_in_a_row_make_it_unhealthy() -> None:
    """A single lost probe is noise."""
    verdict = ProbeVerdict()
    assert changes(verdict, "--+--+") == "......"
    assert changes(verdict, "---") == "..!"
    assert not verdict.healthy
    assert verdict.reason == "probe 2"


def test_only_passes_in_a_row_make_it_healthy_again() -> None:
    """A server that comes and goes stays out."""
    verdict = ProbeVerdict()
    assert changes(verdict, "---" + "+-+-" + "++") == "..!" + "...." + ".!"
    assert verdict.healthy


def test_a_verdict_is_told_once() -> None:
    """Further results that agree with it are no news."""
    assert changes(ProbeVerdict(), "----------") == "..!......."


def test_a_reset_verdict_needs_the_full_run_again() -> None:
    """Failures from before a restore must not count after it."""
    verdict = ProbeVerdict()
    changes(verdict, "---")
    assert verdict.reset()
    assert changes(verdict, "--") == ".."
    assert not verdict.reset()


def news(verdict: ProbeVerdict, *reasons: str) -> list[str]:
    """What is told, probe by probe; an empty reason is a probe that passed."""
    return [
        (verdict.reason or "healthy") if verdict.observe(POLICY, passed=not why, reason=why) else "."
        for why in reasons
    ]


def test_a_server_that_says_it_is_loading_is_out_at_once() -> None:
    """The threshold is for doubt, and there is none."""
    verdict = ProbeVerdict()
    assert news(verdict, "loading", "loading") == ["loading", "."]
    assert not verdict.healthy
    assert news(verdict, "", "") == [".", "healthy"]


def test_a_dead_server_that_comes_back_is_told_apart_from_one_that_is_away() -> None:
    """`kubectl` says the same of both; whoever waits for the LLM wants to know."""
    verdict = ProbeVerdict()
    assert news(verdict, *["connect_failure"] * 3) == [".", ".", "connect_failure"]
    assert news(verdict, "status 503", "status 503") == ["loading", "."]
    assert news(verdict, "connect_failure", "connect_failure") == ["connect_failure", "."]
    assert news(verdict, "loading") == ["loading"]


def test_a_503_out_of_the_blue_is_not_taken_for_loading() -> None:
    """vLLM says so, without a word, when its engine has died."""
    verdict = ProbeVerdict()
    assert news(verdict, *["status 503"] * 5) == [".", ".", "status 503", ".", "."]
