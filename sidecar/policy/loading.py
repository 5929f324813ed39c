"""From the bytes of a file to a checked message, with every problem of form and of meaning.

In:      a config file, or a file that holds only a policy.
Out:     Loaded, LoadedPolicy: the message (as far as it could be read), the line of each field, the findings.
Rule:    use the message only when there are no problems.
"""

from __future__ import annotations

from llmsidecar.v1.config_pb2 import Config
from llmsidecar.v1.policy_pb2 import Policy

from sidecar.frozen import Frozen
from sidecar.policy.check import check_config, check_policy
from sidecar.policy.problems import Checked, Lines, Problem, by_line, parent
from sidecar.policy.yaml_file import Read, read_file


class Loaded(Frozen):
    config: Config
    lines: Lines
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


class LoadedPolicy(Frozen):
    policy: Policy
    lines: Lines
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load(text: bytes) -> Loaded:
    """Reads and checks a config file."""
    config = Config()
    read = read_file(text, config)
    return Loaded(config, read.lines, *_join(read, check_config(config, read.lines)))


def load_policy(text: bytes) -> LoadedPolicy:
    """Reads and checks the policy of a file that is either a config or a policy only.

    The rest of a config is not looked at. Marks of hidden secrets may stand: the sidecar it goes to knows them.
    """
    policy = Policy()
    read = read_file(text, policy, "policy", key="policy")
    checked = check_policy(policy, "policy", read.lines, hidden_ok=True)
    return LoadedPolicy(policy, read.lines, *_join(read, checked))


def _join(read: Read, checked: Checked) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Both kinds of problems, but nothing about a field that could not even be read."""
    follow = [problem for problem in checked.problems if not _is_within(problem.field, read.unread)]
    return by_line([*read.problems, *follow]), checked.warnings


def _is_within(path: str, roots: set[str]) -> bool:
    while path and path not in roots:
        path = parent(path)
    return path in roots
