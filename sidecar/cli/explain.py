"""`sidecar explain --model X`: where such a request would go now, in what order, and why nowhere else.

How:     asks the daemon for its policy and its endpoints and runs the rules of the data path on them, see
         sidecar.cli.forecast. Nothing is sent to any LLM service.
Exit:    1 when no route takes the request or nobody could be tried.
"""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

from sidecar.cli.connection import connect
from sidecar.cli.options import Subparsers, add_admin_options, add_json_option, command

if TYPE_CHECKING:
    from sidecar.cli.forecast import Attempt, Forecast, Request
    from sidecar.failure import Failure
    from sidecar.policy.snapshot import Snapshot

ABOUT = """\
Tells which services and endpoints a request would be tried on now, in what order, and why each of the others would
not. It asks the daemon for its policy and its endpoints and applies the daemon's own rules to them; no request is
sent."""

EXAMPLES = """\
  sidecar explain --model gpt-4o
  sidecar explain --model gpt-4o --failing 429            if every attempt ended with that status
  sidecar explain --path /v1/embeddings --header x-team=search
  sidecar explain --model gpt-4o --json | jq '.attempts[0]'
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = command(
        subparsers, "explain", "where a request would go, and why", about=ABOUT, examples=EXAMPLES
    )
    parser.add_argument("--model", metavar="NAME", help="the model that the app asks for [none]")
    parser.add_argument(
        "--path",
        default="/v1/chat/completions",
        type=_path,
        help="the path that the app asks for [/v1/chat/completions]",
    )
    parser.add_argument(
        "--header", action="append", default=[], type=_header, metavar="NAME=VALUE", help="may be repeated"
    )
    parser.add_argument(
        "--failing",
        default="first_packet_timeout",
        type=_failure,
        metavar="HOW",
        help="how every attempt shall fail: a failure code or a status [first_packet_timeout]",
    )
    add_json_option(parser)
    add_admin_options(parser)


def run(args: Namespace) -> int:
    import time

    from sidecar.cli.forecast import Request, forecast
    from sidecar.policy.build import build_snapshot

    with connect(args) as admin:
        running = admin.get_policy()
        standing = admin.list_endpoints()
    snapshot = build_snapshot(running.policy, running.generation)
    request = Request(args.path, args.model, dict(args.header))
    now = time.time_ns() / 1e9
    told = forecast(snapshot, standing.endpoints, request, args.failing, now, standing.cooling)
    if args.json:
        import json

        print(json.dumps(_plain(told, snapshot, request, args.failing), indent=2))
    else:
        _print(told, snapshot, request, args.failing)
    return 0 if told.attempts else 1


def _print(told: Forecast, snapshot: Snapshot, request: Request, failure: Failure) -> None:
    from sidecar.cli.table import Cell, Styled, paint, table, wants_colour

    colour = wants_colour(sys.stdout)

    def section(title: str, header: tuple[str, ...], rows: list[list[Cell]]) -> None:
        if rows:
            print(f"\n{paint(Styled(title, 'head'), colour=colour)}")
            print("\n".join(f"  {line}" for line in table(header, rows, colour=colour)))

    where = f"route {told.route.name}" if told.route else "no route"
    limited = "; its rate_limit comes before all this" if told.route and told.route.rate_limit else ""
    print(f"{request.path}, {_asked(request)}: {where}, policy generation {snapshot.generation}{limited}")
    section(
        f"Tried now, if each attempt ended with {failure.code}",
        ("#", "SERVICE", "ENDPOINT", "WHY", "HOW"),
        [_attempt_row(attempt, snapshot, request) for attempt in told.attempts],
    )
    if told.end:
        print(f"  then: {told.end}")
    section(
        "Not tried",
        ("SERVICE", "ENDPOINT", "WHY NOT"),
        [[service, endpoint, Styled(why, "warn")] for service, endpoint, why in told.other_endpoints],
    )
    section("Other routes", ("ROUTE", "WHY NOT"), [[name, why] for name, why in told.other_routes])


def _attempt_row(attempt: Attempt, snapshot: Snapshot, request: Request) -> list[Any]:
    from sidecar.cli.table import Styled

    names = " or ".join((attempt.endpoint, *attempt.others))
    why = attempt.reason or "first choice"
    if attempt.last_resort:
        why += "; out of rotation, but nobody is in"
    if attempt.share < 1:
        why += f"; share growing, {attempt.share:.0%} now: the rest goes on"
    style = "warn" if attempt.last_resort or attempt.share < 1 else "good"
    return [str(attempt.number), attempt.service, Styled(names, style), why, _how(attempt, snapshot, request)]


def _how(attempt: Attempt, snapshot: Snapshot, request: Request) -> str:
    from sidecar.policy.units import SECOND, write_duration

    service = snapshot.services[attempt.service]
    model = service.model_for(request.model)
    told = [f"first packet within {write_duration(round(service.timeouts.first_packet * SECOND))}"]
    if model is not None:
        told.append(f"as model {model}")
    if service.rate_limit:
        told.append("if its rate_limit has room")
    return ", ".join(told)


def _plain(told: Forecast, snapshot: Snapshot, request: Request, failure: Failure) -> dict[str, Any]:
    return {
        "generation": snapshot.generation,
        "request": {"path": request.path, "model": request.model, "headers": dict(request.headers)},
        "failing": failure.code,
        "route": told.route.name if told.route else None,
        "attempts": [
            {
                "attempt": attempt.number,
                "service": attempt.service,
                "endpoint": attempt.endpoint,
                "others": list(attempt.others),
                "reason": attempt.reason,
                "share": round(attempt.share, 3),
                "last_resort": attempt.last_resort,
                "model": snapshot.services[attempt.service].model_for(request.model) or request.model,
                "first_packet_seconds": snapshot.services[attempt.service].timeouts.first_packet,
            }
            for attempt in told.attempts
        ],
        "end": told.end,
        "not_tried": [
            {"service": service, "endpoint": endpoint, "reason": why}
            for service, endpoint, why in told.other_endpoints
        ],
        "other_routes": [{"route": name, "reason": why} for name, why in told.other_routes],
    }


def _asked(request: Request) -> str:
    model = f"model {request.model}" if request.model is not None else "no model"
    return ", ".join((model, *(f"{name}: {value}" for name, value in request.headers.items())))


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ArgumentTypeError(f"{text!r} is no path; expected one such as /v1/chat/completions")
    return text.partition("?")[0]


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ArgumentTypeError(f"{text!r} is no header; expected NAME=VALUE")
    return name.strip().lower(), value.strip()


def _failure(text: str) -> Failure:
    from sidecar.failure import Failure, FailureKind

    if text == "5xx":
        return Failure(FailureKind.STATUS, status=500)
    if text.isascii() and text.isdigit() and 400 <= int(text) <= 599:
        return Failure(FailureKind.STATUS, status=int(text))
    known = [kind.value for kind in FailureKind if kind is not FailureKind.STATUS]
    if text not in known:
        raise ArgumentTypeError(
            f"{text!r} is no failure; expected a status such as 503, or {', '.join(known)}"
        )
    return Failure(FailureKind(text))
