"""A policy as text of the config file, and back.

In:      a Policy message; or a file that holds one, bare or as the `policy:` of a whole config.
Out:     YAML that `sidecar policy apply` and the daemon read; a PolicyFile with the line of every field.
Errors:  Stop, with one line `FILE:LINE: policy.services[0].url: what is wrong, what was expected` a problem.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import yaml
from llmsidecar.v1.policy_pb2 import Policy

from sidecar.cli.plain import plain
from sidecar.cli.stop import BAD_USAGE, Stop
from sidecar.policy import Lines, Problem, line_of, load_policy
from sidecar.policy.yaml_nodes import MAX_BYTES


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy that this version finds sound."""

    name: str
    policy: Policy
    lines: Lines
    warnings: tuple[Problem, ...]

    def places(self, problems: Iterable[Problem]) -> list[str]:
        """Each problem on a line of its own, with the place in the file where it can be told."""
        return [f"{self.name}:{self._line(problem)}: {problem}" for problem in problems]

    def _line(self, problem: Problem) -> int:
        return problem.line or line_of(self.lines, problem.field)


def dump(policy: Policy) -> str:
    """The policy as the `policy:` of a config file."""
    return yaml.safe_dump({"policy": plain(policy)}, sort_keys=False, allow_unicode=True, width=100)


def read_policy(path: str) -> PolicyFile:
    """Reads and checks a file; `-` is standard input."""
    loaded = load_policy(_bytes(path))
    file = PolicyFile("<stdin>" if path == "-" else path, loaded.policy, loaded.lines, loaded.warnings)
    if loaded.problems:
        raise Stop(BAD_USAGE, *file.places(loaded.problems))
    return file


def _bytes(path: str) -> bytes:
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)  # one too many is enough to be refused
    except OSError as error:
        raise Stop(BAD_USAGE, f"{path}: cannot be read: {error.strerror}") from error
