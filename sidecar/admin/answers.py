"""Refusals as gRPC answers: the status, words that help, and google.rpc.BadRequest for what is invalid.

In:      a refusal of the policy manager, or the problems of a request.
Out:     never returns; the call ends with the status.
Limits:  the status travels in HTTP/2 trailers, of which gRPC clients take 8 KiB unless told otherwise; a longer
         one would reach them as RESOURCE_EXHAUSTED instead. So the details take what they need first (about
         seventy problems of usual length), the text what is left, and whatever does not fit is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, assert_never
from urllib.parse import quote

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sidecar.admin.outcomes import Invalid, NothingPending, NotStored, Refused, Stale, UnknownGeneration
from sidecar.policy.problems import Problem

Context = grpc.aio.ServicerContext[Any, Any]

TRAILERS = 7600  # of 8192; the rest is for the other fields
DETAILS = 6600
UNQUOTED = (
    " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"  # what gRPC sends as it is in a message, beside letters and digits
)


async def refuse(context: Context, refused: Refused) -> NoReturn:
    """Ends the call with the status of a refusal."""
    match refused:
        case Invalid(problems=problems):
            await refuse_invalid(context, problems)
        case Stale(given=given, running=running):
            await context.abort(
                grpc.StatusCode.ABORTED,
                f"etag {given} is stale: {running} is running; get the policy and make the change again",
            )
        case NotStored(why=why):
            await context.abort(grpc.StatusCode.INTERNAL, f"not accepted, because {why}")
        case UnknownGeneration(given=given, held=held):
            known = ", ".join(map(str, held))
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"generation {given} is not held; expected one of {known}"
            )
        case NothingPending():
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no update waits for a confirmation")
        case other:
            assert_never(other)


async def refuse_invalid(context: Context, problems: Sequence[Problem]) -> NoReturn:
    """Ends the call with INVALID_ARGUMENT and every problem."""
    details = error_details_pb2.BadRequest(field_violations=_violations(problems))
    left = (TRAILERS - details.ByteSize()) // 2  # the text travels twice, alone and inside the details
    status = status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=_text(problems, left))
    status.details.add().Pack(details)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status returned")


def _violations(problems: Sequence[Problem]) -> list[error_details_pb2.BadRequest.FieldViolation]:
    violations: list[error_details_pb2.BadRequest.FieldViolation] = []
    room = DETAILS
    for told, problem in enumerate(problems):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=problem.field, description=problem.description
        )
        room -= violation.ByteSize() + 4  # tag and length
        if room < 0 and told:
            violation.field, violation.description = "", _more(len(problems) - told)
            return [*violations, violation]
        violations.append(violation)
    return violations


def _text(problems: Sequence[Problem], room: int) -> str:
    count = len(problems)
    text = "1 problem" if count == 1 else f"{count} problems"
    room -= len(text) + 40  # for what is not told
    for told, problem in enumerate(problems):
        line = f"\n{problem}"
        room -= len(quote(line, safe=UNQUOTED))
        if room < 0:
            return f"{text}\n{_more(count - told)}"
        text += line
    return text


def _more(count: int) -> str:
    return f"and {count} more"
