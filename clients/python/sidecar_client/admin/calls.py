"""The calls of the admin API as values: path, request, kind of answer. Both clients send these.

Out:     Call objects; building one does no I/O.
Rule:    the paths are taken from the generated descriptors, so the schema stays the one truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from llmsidecar.v1 import health_pb2 as health
from llmsidecar.v1 import policy_pb2 as policy

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    path: str
    request: Message
    answer: type[R]


def get_policy() -> Call[policy.GetPolicyResponse]:
    return _policy_call("GetPolicy", policy.GetPolicyRequest(), policy.GetPolicyResponse)


def update_policy(
    new: policy.Policy,
    *,
    mask: Sequence[str],
    etag: str,
    validate_only: bool,
    revert_after: float | None,
    comment: str,
) -> Call[policy.UpdatePolicyResponse]:
    request = policy.UpdatePolicyRequest(
        policy=new,
        update_mask=FieldMask(paths=mask) if mask else None,
        etag=etag,
        validate_only=validate_only,
        revert_after=_duration(revert_after),
        comment=comment,
    )
    return _policy_call("UpdatePolicy", request, policy.UpdatePolicyResponse)


def confirm(etag: str) -> Call[policy.ConfirmPolicyResponse]:
    return _policy_call("ConfirmPolicy", policy.ConfirmPolicyRequest(etag=etag), policy.ConfirmPolicyResponse)


def revisions() -> Call[policy.ListPolicyRevisionsResponse]:
    request = policy.ListPolicyRevisionsRequest()
    return _policy_call("ListPolicyRevisions", request, policy.ListPolicyRevisionsResponse)


def rollback(generation: int, *, etag: str, comment: str) -> Call[policy.RollbackPolicyResponse]:
    request = policy.RollbackPolicyRequest(generation=generation, etag=etag, comment=comment)
    return _policy_call("RollbackPolicy", request, policy.RollbackPolicyResponse)


def endpoints(services: Sequence[str]) -> Call[health.ListEndpointsResponse]:
    request = health.ListEndpointsRequest(services=services)
    return _health_call("ListEndpoints", request, health.ListEndpointsResponse)


def eject(service: str, endpoint: str, duration: float | None) -> Call[health.EjectEndpointResponse]:
    request = health.EjectEndpointRequest(service=service, endpoint=endpoint, duration=_duration(duration))
    return _health_call("EjectEndpoint", request, health.EjectEndpointResponse)


def restore(service: str, endpoint: str) -> Call[health.RestoreEndpointResponse]:
    request = health.RestoreEndpointRequest(service=service, endpoint=endpoint)
    return _health_call("RestoreEndpoint", request, health.RestoreEndpointResponse)


def watch(after: int, services: Sequence[str], *, include_attempts: bool) -> Call[health.HealthEvent]:
    request = health.WatchHealthEventsRequest(
        after_sequence=after, services=services, include_attempts=include_attempts
    )
    return _health_call("WatchHealthEvents", request, health.HealthEvent)


def _policy_call(method: str, request: Message, answer: type[R]) -> Call[R]:
    service = policy.DESCRIPTOR.services_by_name["PolicyService"]
    return Call(f"/{service.full_name}/{service.methods_by_name[method].name}", request, answer)


def _health_call(method: str, request: Message, answer: type[R]) -> Call[R]:
    service = health.DESCRIPTOR.services_by_name["HealthService"]
    return Call(f"/{service.full_name}/{service.methods_by_name[method].name}", request, answer)


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
