"""The one place where a gRPC error becomes an AdminError.

In:      grpc.RpcError of either kind of channel, the address and the method that were called.
Out:     an exception of sidecar_client.errors, with the daemon's own words where it spoke.
Source:  google.rpc.Status and BadRequest, of which three fields are read; declaring those here spares every
         app a package of its own for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from sidecar_client.errors import (
    AccessDenied,
    AdminError,
    InvalidArgument,
    NotFound,
    PolicyRejected,
    StaleEtag,
    Unreachable,
    Violation,
)

_DETAILS = """
name: "status.proto" syntax: "proto3"
message_type { name: "Status"
  field { name: "details" number: 3 type: TYPE_MESSAGE label: LABEL_REPEATED type_name: ".Any" } }
message_type { name: "Any"
  field { name: "type_url" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL } }
message_type { name: "BadRequest"
  field { name: "field_violations" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED type_name: ".Violation" } }
message_type { name: "Violation"
  field { name: "field" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "description" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL } }
"""


def _messages() -> dict[str, Any]:
    # A pool of its own: these reduced messages must not meet the full ones that grpcio-status registers.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_DETAILS, descriptor_pb2.FileDescriptorProto()))
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for name in ("Status", "BadRequest")
    }


_MESSAGES = _messages()
_BY_CODE: dict[grpc.StatusCode, type[AdminError]] = {
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unreachable,
    grpc.StatusCode.ABORTED: StaleEtag,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
    grpc.StatusCode.UNAUTHENTICATED: AccessDenied,
}


def translate(error: grpc.RpcError, address: str, path: str) -> AdminError:
    """The AdminError that says what `error` says of a call of the method `path`."""
    call = cast("grpc.Call", error)  # what a call raises is always one, though RpcError does not say so
    code, words = call.code(), call.details() or ""
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        violations = _violations(call.trailing_metadata())
        refusal = PolicyRejected if violations and "PolicyService" in path else InvalidArgument
        return refusal(words or code.name, violations)
    kind = _BY_CODE.get(code, AdminError)
    if kind is Unreachable:
        words = f"{address}: {words or 'no answer'}"
    return kind(words or code.name, code.name)


def _violations(metadata: Iterable[tuple[str, str | bytes]] | None) -> tuple[Violation, ...]:
    found: list[Violation] = []
    for key, value in metadata or ():
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            for detail in _MESSAGES["Status"].FromString(value).details:
                if detail.type_url.endswith("/google.rpc.BadRequest"):
                    bad = _MESSAGES["BadRequest"].FromString(detail.value)
                    found += [Violation(v.field, v.description) for v in bad.field_violations]
        except DecodeError:
            continue  # the words of the status are still there
    return tuple(found)
