"""`sidecar check FILE`: reads a config as `run` would, and the secrets and key files it names; changes nothing.

Out:     0 and a summary on stdout, or 2 and every problem, one a line `FILE:LINE: field: what is wrong`, on stderr.
         Warnings go to stderr and change no exit code. With --json all of it as one object on stdout.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from sidecar.cli.options import add_json_option, command
from sidecar.cli.stop import BAD_USAGE, Stop
from sidecar.frozen import as_dict

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

    from sidecar.cli.options import Subparsers
    from sidecar.policy import Loaded, Problem

EXAMPLES = """\
  sidecar check sidecar.yaml
  sidecar check sidecar.yaml && sidecar run --config sidecar.yaml
  sidecar check sidecar.yaml --json | jq '.problems[].line'
"""


def add_parser(subparsers: Subparsers) -> None:
    about = "Reads a config file as `sidecar run` would and tells every problem at once. Changes nothing."
    parser = command(
        subparsers, "check", "every problem of a config, one a line", about=about, examples=EXAMPLES
    )
    parser.add_argument("file", metavar="FILE", help="the config file")
    add_json_option(parser)


def run(args: Namespace) -> int:
    from sidecar.policy import load

    loaded = load(_read(args.file))
    problems = sorted([*loaded.problems, *_missing(loaded)], key=lambda problem: problem.line)
    if args.json:
        return _print_json(problems, loaded.warnings)
    for warning in loaded.warnings:
        print(f"{args.file}:{warning.line}: warning: {warning}", file=sys.stderr)
    if problems:
        raise Stop(BAD_USAGE, *(f"{args.file}:{problem.line}: {problem}" for problem in problems))
    policy = loaded.config.policy
    print(f"{args.file}: good; {_count(policy.services, 'service')}, {_count(policy.routes, 'route')}")
    return 0


def _print_json(problems: Sequence[Problem], warnings: Sequence[Problem]) -> int:
    import json

    told = {"good": not problems, "problems": map(as_dict, problems), "warnings": map(as_dict, warnings)}
    print(json.dumps(told, indent=2, default=list))
    return BAD_USAGE if problems else 0


def _read(name: str) -> bytes:
    from sidecar.policy.yaml_nodes import MAX_BYTES

    try:
        with open(name, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Stop(BAD_USAGE, f"{name}: cannot be read: {error.strerror}") from error


def _missing(loaded: Loaded) -> list[Problem]:
    """What the config refers to and this machine does not have, or not in a form that can be used."""
    from sidecar.admin.tls import tls_problems
    from sidecar.policy.problems import Report
    from sidecar.upstream.needs import missing

    report, tls = Report(loaded.lines), loaded.config.admin.tls
    for problem in tls_problems((tls.cert_file, tls.key_file, tls.client_ca_file)):
        report.problem(problem.field, problem.description)
    return [*report.problems, *missing(loaded.config.policy, loaded.lines)]


def _count(items: Sized, noun: str) -> str:
    number = len(items)
    return f"{number} {noun}{'' if number == 1 else 's'}"
