"""A whole file: problems of form and of meaning together, in the order of the file."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy import HIDDEN, build_settings, build_snapshot, load, load_policy
from tests.policy.examples import FULL, MINIMAL

BAD = """\
listen: ["127.0.0.1"]
drain_timeout: 30
polcy: {}
policy:
  services:
    - name: hosted one
      url: vllm:8000/v1
      timeouts: {first_packet: 200, idle: 0s}
      passive_health:
        enforce: yes
        failure_percentage_threshold: 150 %
    - url: http://b
      credential: {bearer: sk-1}
    - just text
  routes:
    - services: [hosted]
      fallback_on: [429, 5x]
    - match: {path_prefix: v1}
"""

EXPECTED = """\
1: listen[0]: '127.0.0.1' has no port; expected unix:/path or host:port
2: drain_timeout: '30' is no duration; expected one such as 200ms, 1s, 5m or 1m30s
3: polcy: is no known key; did you mean policy?
6: policy.services[0].name: 'hosted one' is no name; expected 1 to 64 letters, digits, dots, underscores or hyphens
7: policy.services[0].url: 'vllm:8000/v1' does not start with http:// or https://; \
expected a base URL such as http://host:8000/v1
8: policy.services[0].timeouts.first_packet: '200' is no duration; expected one such as 200ms, 1s, 5m or 1m30s
8: policy.services[0].timeouts.idle: is 0s; expected a duration from 1ms to 1h
10: policy.services[0].passive_health.enforce: 'yes' is no yes or no; expected true or false
11: policy.services[0].passive_health.failure_percentage_threshold: is 150%; expected a number from 0% to 100%
12: policy.services[1].name: is missing or empty; expected 1 to 64 letters, digits, dots, underscores or hyphens
14: policy.services[2]: is a single value; expected a mapping with keys such as name, url, endpoints
16: policy.routes[0].services[0]: 'hosted' is no service; did you mean hosted one?
17: policy.routes[0].fallback_on[1]: '5x' is not known; did you mean 5xx?
18: policy.routes[1].services: is missing or empty; expected at least one name of a service
18: policy.routes[1].match.path_prefix: 'v1' is no path; expected a path that starts with /, without spaces
"""


def test_every_problem_of_a_file_is_told_at_once_in_its_order() -> None:
    found = [f"{problem.line}: {problem}" for problem in load(BAD.encode()).problems]
    assert found == EXPECTED.splitlines()


def test_a_literal_secret_is_a_warning_with_its_line() -> None:
    warnings = [f"{warning.line}: {warning}" for warning in load(BAD.encode()).warnings]
    assert (
        "13: policy.services[1].credential.bearer: is a secret written into the policy; better {env: NAME} or"
        " {file: PATH}"
    ) in warnings


def test_a_file_that_is_no_yaml_has_that_one_problem() -> None:
    """What a policy lacks that nobody could read is no news."""
    (problem,) = load(b"a: [1\n").problems
    assert (problem.field, problem.line) == ("", 2)


def test_a_repeated_key_hides_no_other_problem() -> None:
    text = "policy:\n  services: [{name: a, url: nowhere}]\n  routes: [{services: [a]}]\n  services: [{}]\n"
    assert [(problem.line, problem.field) for problem in load(text.encode()).problems] == [
        (2, "policy.services[0].url"),
        (4, "policy.services"),
    ]


def test_a_policy_may_stand_alone_or_in_a_config() -> None:
    bare = "\n".join(line.removeprefix("  ") for line in MINIMAL.splitlines()[1:])
    assert load_policy(bare.encode()).policy == load_policy(MINIMAL.encode()).policy
    loaded = load_policy(bare.replace("http:", "htp:").encode())
    assert [(problem.line, problem.field) for problem in loaded.problems] == [(3, "policy.services[0].url")]


def test_a_policy_of_a_config_is_not_refused_for_the_rest_of_it() -> None:
    assert load_policy(("nonsense: 1\n" + FULL).encode()).problems == ()


def test_a_hidden_secret_may_be_sent_back_but_not_run() -> None:
    """`policy get`, edit, `policy apply`: the sidecar that hid the secret puts it back."""
    text = MINIMAL.replace("name: a", f"name: a\n      credential: {{bearer: '{HIDDEN}'}}").encode()
    assert load_policy(text).problems == ()
    assert [problem.field for problem in load(text).problems] == ["policy.services[0].credential.bearer"]


SCRAPS = st.sampled_from(
    [
        *"{}[]:,-#&*!|>'\"%@` \n\t~0",
        "<<",
        "null",
        ": ",
        "\n  - ",
        "&a ",
        "*a",
        "200ms",
        "-1",
        ".nan",
        "é",
        "\ufeff",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FULL)), st.integers(0, 12), SCRAPS), max_size=4))
def test_whatever_is_in_the_file_it_is_refused_in_words_or_can_be_built(
    edits: list[tuple[int, int, str]],
) -> None:
    """A daemon that re-reads its file while it serves must not meet an exception there."""
    text = FULL
    for place, length, scrap in edits:
        text = text[:place] + scrap + text[place + length :]
    loaded = load(text.encode())
    assert all(problem.description and problem.line >= 1 for problem in loaded.problems)
    if not loaded.problems:
        build_snapshot(loaded.config.policy, 1)
        build_settings(loaded.config)
