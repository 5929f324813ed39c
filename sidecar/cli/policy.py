"""`sidecar policy get|apply|diff|history|rollback|confirm`: the policy of a running daemon.

Errors:  a file or a policy that is refused exits with 2 and every problem, one a line, with its place in the
         file; a stale etag exits with 1.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command, number, seconds
from sidecar.cli.stop import BAD_USAGE, Stop

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from llmsidecar.v1 import policy_pb2 as pb
    from sidecar_client.errors import PolicyRejected

    from sidecar.cli.policy_text import PolicyFile

EXAMPLES = """\
  sidecar policy get > policy.yaml                        what runs, in the form of the config file
  sidecar policy diff policy.yaml                         what applying it would change
  sidecar policy apply policy.yaml --dry-run              only the daemon's checks
  sidecar policy apply policy.yaml --revert-after 60s     takes itself back unless confirmed
  sidecar policy confirm                                  keeps it
  sidecar policy history
  sidecar policy rollback 3 --comment "200ms was too hasty"
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = command(subparsers, "policy", "read and change the running policy", examples=EXAMPLES)
    add_admin_options(parser)
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)

    get = _action(actions, "get", "print the policy that runs, as YAML")
    add_json_option(get)

    apply = _action(actions, "apply", "replace the policy by that of a file")
    _add_file(apply)
    apply.add_argument("--dry-run", action="store_true", help="let the daemon check it, change nothing")
    apply.add_argument(
        "--revert-after",
        type=seconds,
        metavar="TIME",
        help="take it back after this time unless it is confirmed",
    )
    _add_change_options(apply)
    add_json_option(apply)

    diff = _action(actions, "diff", "show what applying a file would change")
    _add_file(diff)
    add_json_option(diff)

    history = _action(actions, "history", "list accepted policies, newest first")
    add_json_option(history)

    rollback = _action(actions, "rollback", "apply an earlier generation again")
    rollback.add_argument(
        "generation", metavar="N", type=number, help="its generation, see `sidecar policy history`"
    )
    _add_change_options(rollback)
    add_json_option(rollback)

    confirm = _action(actions, "confirm", "keep an update that was applied with --revert-after")
    confirm.add_argument("--etag", default="", help="only if this is the update that waits")
    add_json_option(confirm)

    for action in (get, apply, diff, history, rollback, confirm):
        add_admin_options(action, again=True)


def run(args: Namespace) -> int:
    match args.action:
        case "get":
            return _get(args)
        case "apply":
            return _apply(args)
        case "diff":
            return _diff(args)
        case "history":
            return _history(args)
        case "rollback":
            return _rollback(args)
        case _:
            return _confirm(args)


def _action(actions: Subparsers, name: str, summary: str) -> ArgumentParser:
    mine = "\n".join(line for line in EXAMPLES.splitlines() if f"policy {name}" in line)
    return actions.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"examples:\n{mine}",
        formatter_class=RawDescriptionHelpFormatter,
    )


def _add_file(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="a config file, or its policy alone; - is standard input"
    )


def _add_change_options(parser: ArgumentParser) -> None:
    parser.add_argument("--comment", default="", help="kept with the revision")
    parser.add_argument("--etag", default="", help="refuse if the running policy is another one by now")


def _get(args: Namespace) -> int:
    with connect(args) as admin:
        running = admin.get_policy()
    if args.json:
        return _print_json(running)
    from sidecar.cli.describe import date_and_time
    from sidecar.cli.policy_text import dump

    since = f", since {date_and_time(running.applied_at)}" if running.HasField("applied_at") else ""
    print(f"# generation {running.generation}, from {running.source}{since}, etag {running.etag}")
    if running.HasField("reverts_at"):
        print(f"# takes itself back at {date_and_time(running.reverts_at)} unless it is confirmed")
    print(dump(running.policy), end="")
    return 0


def _apply(args: Namespace) -> int:
    from sidecar.cli.policy_text import read_policy

    file = read_policy(args.file)
    with connect(args) as admin:
        from sidecar_client.errors import PolicyRejected

        try:
            answer = admin.update_policy(
                file.policy,
                etag=args.etag,
                validate_only=args.dry_run,
                revert_after=args.revert_after,
                comment=args.comment,
            )
        except PolicyRejected as error:
            raise Stop(BAD_USAGE, *_rejected(file, error)) from error
    if args.json:
        return _print_json(answer)
    _tell_warnings(file, answer)
    _tell_applied(answer, dry_run=args.dry_run)
    return 0


def _rejected(file: PolicyFile, error: PolicyRejected) -> list[str]:
    from sidecar.policy import Problem

    lines: list[str] = []
    for violation in error.violations:
        problem = Problem(violation.field, violation.description)
        in_the_file = problem.field.startswith("policy")  # and not, say, revert_after
        lines += file.places([problem]) if in_the_file else [f"sidecar: {problem}"]
    return lines


def _tell_warnings(file: PolicyFile, answer: pb.UpdatePolicyResponse) -> None:
    ours = file.places(file.warnings)
    # The daemon finds what we found, and more when it is newer; ours have a line.
    known = {str(warning) for warning in file.warnings}
    for line in ours + [warning for warning in answer.warnings if warning not in known]:
        print(f"warning: {line}", file=sys.stderr)


def _tell_applied(answer: pb.UpdatePolicyResponse, *, dry_run: bool) -> None:
    if dry_run:
        print("the daemon would accept it; nothing was changed")
        return
    print(f"generation {answer.generation} runs, etag {answer.etag}")
    if answer.HasField("reverts_at"):
        from sidecar.cli.describe import date_and_time

        print(
            f"it takes itself back at {date_and_time(answer.reverts_at)} unless you say: sidecar policy confirm"
        )


def _diff(args: Namespace) -> int:
    from difflib import unified_diff

    from sidecar.cli.policy_text import dump, read_policy
    from sidecar.cli.table import Styled, paint, wants_colour
    from sidecar.policy import redacted

    file = read_policy(args.file)
    with connect(args) as admin:
        running = admin.get_policy()
    # The daemon hides literal secrets; ours are hidden too, so that only real changes show.
    lines = list(
        unified_diff(
            dump(running.policy).splitlines(),
            dump(redacted(file.policy)).splitlines(),
            f"running (generation {running.generation})",
            file.name,
            lineterm="",
        )
    )
    if args.json:
        import json

        print(json.dumps({"generation": running.generation, "differs": bool(lines), "diff": lines}, indent=2))
        return 0
    colour = wants_colour(sys.stdout)
    styles = {"+": "good", "-": "bad", "@": "dim"}
    for line in lines:
        print(paint(Styled(line, styles[line[0]]) if line[0] in styles else line, colour=colour))
    return 0


def _history(args: Namespace) -> int:
    with connect(args) as admin:
        revisions = admin.revisions()
    if args.json:
        import json

        from sidecar.cli.plain import plain

        print(json.dumps([plain(revision) for revision in revisions], indent=2))
        return 0
    from sidecar.cli.describe import date_and_time
    from sidecar.cli.table import table, wants_colour

    rows = [(str(r.generation), r.source, date_and_time(r.applied_at), r.etag, r.comment) for r in revisions]
    header = ("GENERATION", "SOURCE", "APPLIED", "ETAG", "COMMENT")
    print("\n".join(table(header, rows, colour=wants_colour(sys.stdout))))
    return 0


def _rollback(args: Namespace) -> int:
    with connect(args) as admin:
        answer = admin.rollback(args.generation, etag=args.etag, comment=args.comment)
    if args.json:
        return _print_json(answer)
    print(
        f"generation {answer.generation} runs, with the policy of generation {args.generation}, etag {answer.etag}"
    )
    return 0


def _confirm(args: Namespace) -> int:
    with connect(args) as admin:
        answer = admin.confirm(args.etag)
    if args.json:
        return _print_json(answer)
    print(f"generation {answer.generation} stays, etag {answer.etag}")
    return 0


def _print_json(answer: Message) -> int:
    import json

    from sidecar.cli.plain import plain

    print(json.dumps(plain(answer), indent=2))
    return 0
