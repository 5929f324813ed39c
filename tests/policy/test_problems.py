"""Paths, lines and suggestions."""

from __future__ import annotations

from sidecar.policy.problems import Problem, Report, did_you_mean, line_of, parent, quote


def test_a_path_leads_up_to_the_root() -> None:
    path, seen = "a.b[0].set[x.y]", []
    while path:
        path = parent(path)
        seen.append(path)
    assert seen == ["a.b[0].set", "a.b[0]", "a.b", "a", ""]


def test_what_is_not_written_has_the_line_of_what_is_around_it() -> None:
    lines = {"": 1, "policy": 3, "policy.services[0]": 5}
    assert line_of(lines, "policy.services[0].url") == 5
    assert line_of(lines, "policy.routes") == 3
    assert line_of(lines, "listen") == 1
    assert line_of({}, "listen") == 0


def test_an_odd_key_cannot_hold_the_search_for_a_line() -> None:
    assert line_of({"": 1}, "]") == 1
    assert line_of({"": 1}, "a[b]]..[") == 1


def test_findings_are_told_in_the_order_of_the_file() -> None:
    report = Report({"a": 9, "b": 2})
    report.problem("a", "x")
    report.problem("b", "y")
    assert report.checked().problems == (Problem("b", "y", 2), Problem("a", "x", 9))


def test_a_problem_without_a_field_speaks_of_the_whole() -> None:
    assert str(Problem("", "is empty")) == "is empty"


def test_suggestions_are_for_words_that_are_alike() -> None:
    assert did_you_mean("urll", ["url", "name"]) == "; did you mean url?"
    assert did_you_mean("zzz", ["url", "name"]) == ""
    assert did_you_mean("url", ["url"] * 201) == "", "comparing with everything would cost more than it helps"


def test_after_many_problems_no_more_suggestions_are_looked_for() -> None:
    """A policy of many thousand wrong words must not hold the loop for seconds."""
    report = Report({})
    for _ in range(100):
        assert report.hint("urll", ["url"], "a key") == "; did you mean url?"
        report.problem("a", "x")
    assert report.hint("urll", ["url"], "a key") == "; expected a key"


def test_what_is_quoted_stays_on_one_short_line() -> None:
    assert quote("a\nb") == r"'a\nb'"
    assert len(quote("x" * 1000)) == 62
