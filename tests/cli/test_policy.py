"""Rules of `sidecar policy` and of the text form of a policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli.policy_text import dump, read_policy
from tests.cli.terminal import sidecar
from tests.client.daemon import Daemon
from tests.client.messages import policy

BARE = """\
services:
  - name: self-hosted
    url: http://127.0.0.1:8000/v1
    timeouts: {first_packet: 300ms}
routes:
  - services: [self-hosted]
"""
BAD = BARE.replace("http:", "gopher:").replace("300ms", "soon")
FULL = """\
services:
- name: a
  url: https://api.example/v1
  endpoints: ['10.0.0.1:8000', 'unix:/run/llm.sock']
  models: {"yes": "no", 'on': "0660"}
  credential: {bearer: {env: A_KEY}}
  headers: {set: {x-team: "1"}, remove: [x-internal]}
  timeouts: {connect: 1500us, total: 1m30s}
  passive_health: {ejection_jitter: 12.5%, enforce: false, consecutive_failures: 0}
  active_health: {}
routes:
- match: {path_prefix: /v1, models: ["gpt-*"], headers: {x-tier: gold}}
  services: [a]
  fallback_on: ["429", 5xx]
  retry_budget: {budget_percent: 20%}
  wait_for_retry_after: 0s
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(BARE)
    return path


def test_a_policy_that_is_printed_and_read_again_is_the_same(tmp_path: Path) -> None:
    """`policy get > FILE` has to be a file that can be applied, whatever the policy holds."""
    path = tmp_path / "full.yaml"
    path.write_text(FULL)
    first = read_policy(str(path)).policy
    path.write_text(dump(first))
    assert read_policy(str(path)).policy == first


def test_get_prints_the_policy_of_a_config_file_under_a_comment(daemon: Daemon) -> None:
    """What is printed may be pasted into the file."""
    told = sidecar("policy", "get")
    assert told.code == 0
    assert told.lines[0].startswith("# generation 1, from file, since 20")
    assert told.lines[0].endswith(", etag etag-1")
    assert told.lines[1:5] == [
        "policy:",
        "  services:",
        "  - name: self-hosted",
        "    url: http://127.0.0.1:8000/v1",
    ]
    assert "      first_packet: 200ms" in told.lines


def test_get_as_json_has_the_etag_beside_the_policy(daemon: Daemon) -> None:
    """For scripts that write it back."""
    told = json.loads(sidecar("policy", "get", "--json").out)
    assert (told["etag"], told["generation"]) == ("etag-1", 1)
    assert told["policy"]["services"][0]["timeouts"] == {"first_packet": "200ms"}


def test_apply_takes_a_bare_policy(daemon: Daemon, file: Path) -> None:
    """And says which generation runs."""
    told = sidecar("policy", "apply", str(file), "--comment", "slower", "--etag", "etag-1")
    assert (told.code, told.out, told.err) == (0, "generation 2 runs, etag etag-2\n", "")
    assert daemon.policy.services[0].timeouts.first_packet.ToMilliseconds() == 300
    assert daemon.comment == "slower"


def test_apply_takes_the_policy_of_a_config(daemon: Daemon, file: Path) -> None:
    """The daemon's own file, as it is."""
    indented = "".join(f"  {line}\n" for line in BARE.splitlines())
    file.write_text(f"listen: ['127.0.0.1:0']\npolicy:\n{indented}")
    assert sidecar("policy", "apply", str(file)).code == 0
    assert daemon.policy.services[0].timeouts.first_packet.ToMilliseconds() == 300


def test_apply_can_be_tried_and_can_take_itself_back(daemon: Daemon, file: Path) -> None:
    """Two ways to be careful."""
    told = sidecar("policy", "apply", str(file), "--dry-run")
    assert told.out == "the daemon would accept it; nothing was changed\n"
    assert daemon.generation == 1
    told = sidecar("policy", "apply", str(file), "--revert-after", "60s")
    assert daemon.asked_last().revert_after.seconds == 60
    assert "takes itself back at 20" in told.out
    assert sidecar("policy", "confirm").out == "generation 2 stays, etag etag-2\n"


def test_a_bad_file_is_refused_here_with_every_problem_and_its_line(daemon: Daemon, file: Path) -> None:
    """The daemon is not even asked."""
    file.write_text(BAD)
    told = sidecar("policy", "apply", str(file))
    assert (told.code, told.out) == (2, "")
    places = [line.partition(": ")[0] + ": " + line.split(": ")[1] for line in told.err.splitlines()]
    assert places == [
        f"{file}:3: policy.services[0].url",
        f"{file}:4: policy.services[0].timeouts.first_packet",
    ]
    assert daemon.asked == []


def test_what_the_daemon_refuses_is_shown_at_its_place_in_the_file(daemon: Daemon, file: Path) -> None:
    """It may know more than we do: which secrets it has, or newer rules."""
    daemon.violations = [
        ("policy.services[0].timeouts.first_packet", "is too short"),
        ("policy.routes[0].hedge", "is needed"),
    ]
    told = sidecar("policy", "apply", str(file))
    assert told.code == 2
    assert told.err.splitlines() == [
        f"{file}:4: policy.services[0].timeouts.first_packet: is too short",
        f"{file}:6: policy.routes[0].hedge: is needed",
    ]


def test_what_is_wrong_beside_the_file_has_no_line_in_it(daemon: Daemon, file: Path) -> None:
    """Nobody finds --revert-after there."""
    daemon.violations = [("revert_after", "is too long"), ("policy.routes[0].hedge", "is needed")]
    told = sidecar("policy", "apply", str(file), "--revert-after", "60s")
    assert told.err.splitlines() == [
        "sidecar: revert_after: is too long",
        f"{file}:6: policy.routes[0].hedge: is needed",
    ]


def test_the_address_may_stand_before_the_action_or_behind_it(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`policy` is a command that talks to the daemon, so it takes --admin; the nearer one counts."""
    monkeypatch.delenv("SIDECAR_ADMIN")
    assert sidecar("policy", "--admin", daemon.address, "history").code == 0
    assert sidecar("policy", "--admin", "127.0.0.1:1", "history", "--admin", daemon.address).code == 0
    assert sidecar("policy", "--admin", "127.0.0.1:1", "history").code == 3


def test_a_stale_etag_exits_with_1(daemon: Daemon, file: Path) -> None:
    """Nothing is wrong with the file."""
    told = sidecar("policy", "apply", str(file), "--etag", "etag-0")
    assert (told.code, told.err) == (1, "sidecar: etag etag-0 is stale: etag-1 runs\n")


def test_warnings_are_told_once(daemon: Daemon, file: Path) -> None:
    """Ours have a line; the daemon's are shown where they are others."""
    file.write_text(BARE.replace("timeouts", "credential: {bearer: sk-1}\n    timeouts"))
    ours = read_policy(str(file)).warnings[0]
    daemon.warnings = [str(ours), "policy.services[0]: is of a kind that only the daemon knows"]
    told = sidecar("policy", "apply", str(file))
    assert told.err.splitlines() == [
        f"warning: {file}:4: {ours}",
        "warning: policy.services[0]: is of a kind that only the daemon knows",
    ]


def test_diff_shows_what_applying_would_change(daemon: Daemon, file: Path) -> None:
    """In the words of the file; exit 0 either way, as it is no failure."""
    told = sidecar("policy", "diff", str(file))
    assert told.code == 0
    assert told.lines[:2] == ["--- running (generation 1)", f"+++ {file}"]
    assert [line for line in told.lines[2:] if line[0] in "+-"] == [
        "-      first_packet: 200ms",
        "+      first_packet: 300ms",
    ]
    file.write_text(dump(policy()))
    assert sidecar("policy", "diff", str(file)).out == ""


def test_diff_does_not_print_secrets(daemon: Daemon, file: Path) -> None:
    """A diff ends up in a chat."""
    file.write_text(BARE.replace("timeouts", "credential: {bearer: sk-canary}\n    timeouts"))
    told = sidecar("policy", "diff", str(file))
    assert "credential" in told.out
    assert "sk-canary" not in told.out + told.err


def test_history_lists_generations(daemon: Daemon) -> None:
    """Newest first, as the daemon sends them."""
    daemon.comment = "first"
    told = sidecar("policy", "history")
    assert told.lines[0].split() == ["GENERATION", "SOURCE", "APPLIED", "ETAG", "COMMENT"]
    assert told.lines[1].split()[::5] == ["1", "first"]
    assert json.loads(sidecar("policy", "history", "--json").out)[0]["comment"] == "first"


def test_rollback_names_the_generation_to_return_to(daemon: Daemon) -> None:
    """It becomes a new one."""
    told = sidecar("policy", "rollback", "1", "--comment", "too hasty")
    assert told.out == "generation 2 runs, with the policy of generation 1, etag etag-2\n"
    assert (daemon.asked_last().generation, daemon.asked_last().comment) == (1, "too hasty")


def test_confirming_nothing_exits_with_1(daemon: Daemon) -> None:
    """The daemon says that nothing waits."""
    told = sidecar("policy", "confirm")
    assert (told.code, told.err) == (1, "sidecar: no update waits for confirmation\n")


def test_a_file_that_cannot_be_read_exits_with_2(tmp_path: Path) -> None:
    """With the system's own word for it."""
    told = sidecar("policy", "apply", f"{tmp_path}/none.yaml")
    assert (told.code, told.err) == (2, f"{tmp_path}/none.yaml: cannot be read: No such file or directory\n")


def test_every_action_answers_in_json(daemon: Daemon, file: Path) -> None:
    """A pipeline reads the etag of what it has done, and whether there was anything to do."""
    assert json.loads(sidecar("policy", "diff", str(file), "--json").out)["differs"]
    applied = json.loads(sidecar("policy", "apply", str(file), "--json", "--comment", "x").out)
    assert (applied["generation"], applied["etag"]) == (2, "etag-2")
    same = json.loads(sidecar("policy", "diff", str(file), "--json").out)
    assert same == {"generation": 2, "differs": False, "diff": []}
    assert json.loads(sidecar("policy", "confirm", "--json").out) == {"etag": "etag-2", "generation": 2}
    assert json.loads(sidecar("policy", "rollback", "1", "--json").out)["generation"] == 3
    assert json.loads(sidecar("policy", "history", "--json").out)[0]["comment"] == "x"
