"""The gRPC services: requests in, calls to the manager, the hub and the ledger, answers out.

Limits:  64 watchers; one more gets RESOURCE_EXHAUSTED. An ejection by hand lasts at most a year, a revert waits
         at most a day, a comment has at most 1024 characters.
Errors:  see answers; a watch that the sidecar ends is UNAVAILABLE, so that clients connect again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import NoReturn, Protocol

import grpc
from google.protobuf.duration_pb2 import Duration
from llmsidecar.v1 import health_pb2, health_pb2_grpc, policy_pb2, policy_pb2_grpc

from sidecar.admin.answers import Context, refuse, refuse_invalid
from sidecar.admin.convert import timestamp
from sidecar.admin.facts import Clock
from sidecar.admin.hub import EventHub
from sidecar.admin.outcomes import Accepted, Invalid, Outcome
from sidecar.admin.policies import PolicyManager
from sidecar.admin.revisions import Revision
from sidecar.health.events import HealthEvent
from sidecar.policy.build import redacted
from sidecar.policy.problems import Problem
from sidecar.terms import EndpointKey

MOST_WATCHERS = 64
LONGEST_EJECTION = 365 * 86400.0
LONGEST_REVERT = 86400.0
LONGEST_COMMENT = 1024


class Overrides(Protocol):
    """What the ledger offers an operator; both raise KeyError for an endpoint they do not know."""

    def eject(self, key: EndpointKey, duration: float | None, now: float) -> Sequence[HealthEvent]: ...

    def restore(self, key: EndpointKey, now: float) -> Sequence[HealthEvent]: ...


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """llmsidecar.v1.PolicyService over a PolicyManager."""

    def __init__(self, policies: PolicyManager) -> None:
        self._policies = policies

    async def GetPolicy(
        self, request: policy_pb2.GetPolicyRequest, context: Context
    ) -> policy_pb2.GetPolicyResponse:
        running, reverts_at = self._policies.running, self._policies.reverts_at
        return policy_pb2.GetPolicyResponse(
            policy=redacted(running.policy),
            etag=running.etag,
            generation=running.generation,
            source=running.source,
            applied_at=timestamp(running.applied_at),
            reverts_at=None if reverts_at is None else timestamp(reverts_at),
        )

    async def UpdatePolicy(
        self, request: policy_pb2.UpdatePolicyRequest, context: Context
    ) -> policy_pb2.UpdatePolicyResponse:
        problems = _comment_problems(request.comment)
        revert_after = None
        if request.HasField("revert_after"):
            revert_after = _seconds(request.revert_after)
            problems += _duration_problems("revert_after", revert_after, LONGEST_REVERT, "24h")
        outcome = await self._policies.update(
            request.policy,
            request.update_mask.paths,
            etag=request.etag,
            validate_only=request.validate_only or bool(problems),
            revert_after=revert_after,
            comment=request.comment,
        )
        if problems:
            of_the_policy = outcome.problems if isinstance(outcome, Invalid) else ()
            await refuse_invalid(context, [*problems, *of_the_policy])
        accepted = await _accepted(context, outcome)
        return policy_pb2.UpdatePolicyResponse(
            policy=redacted(accepted.revision.policy),
            etag=accepted.revision.etag,
            generation=accepted.revision.generation,
            warnings=[str(warning) for warning in accepted.warnings],
            reverts_at=None if accepted.reverts_at is None else timestamp(accepted.reverts_at),
        )

    async def ConfirmPolicy(
        self, request: policy_pb2.ConfirmPolicyRequest, context: Context
    ) -> policy_pb2.ConfirmPolicyResponse:
        kept = (await _accepted(context, await self._policies.confirm(request.etag))).revision
        return policy_pb2.ConfirmPolicyResponse(etag=kept.etag, generation=kept.generation)

    async def ListPolicyRevisions(
        self, request: policy_pb2.ListPolicyRevisionsRequest, context: Context
    ) -> policy_pb2.ListPolicyRevisionsResponse:
        return policy_pb2.ListPolicyRevisionsResponse(
            revisions=[_revision(revision) for revision in self._policies.revisions]
        )

    async def RollbackPolicy(
        self, request: policy_pb2.RollbackPolicyRequest, context: Context
    ) -> policy_pb2.RollbackPolicyResponse:
        if problems := _comment_problems(request.comment):
            await refuse_invalid(context, problems)
        outcome = await self._policies.rollback(request.generation, request.etag, request.comment)
        now = (await _accepted(context, outcome)).revision
        return policy_pb2.RollbackPolicyResponse(
            policy=redacted(now.policy), etag=now.etag, generation=now.generation
        )


class HealthService(health_pb2_grpc.HealthServiceServicer):
    """llmsidecar.v1.HealthService; `health_events` is told what an override has changed, as of every other change."""

    def __init__(
        self,
        hub: EventHub,
        ledger: Overrides,
        health_events: Callable[[Sequence[HealthEvent]], None],
        clock: Clock | None = None,
    ) -> None:
        self._hub = hub
        self._ledger = ledger
        self._health_events = health_events
        self._clock = clock or Clock()

    async def ListEndpoints(
        self, request: health_pb2.ListEndpointsRequest, context: Context
    ) -> health_pb2.ListEndpointsResponse:
        wanted = frozenset(request.services)
        return health_pb2.ListEndpointsResponse(
            endpoints=[e for e in self._hub.endpoints() if not wanted or e.service in wanted],
            sequence=self._hub.sequence,
            cooling=[scope for scope in self._hub.cooling() if not wanted or scope.service in wanted],
        )

    async def WatchHealthEvents(
        self, request: health_pb2.WatchHealthEventsRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthEvent]:
        # Or who resumes would not know of being heard until the next event.
        await context.send_initial_metadata(())
        if self._hub.watchers >= MOST_WATCHERS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_WATCHERS} watchers are connected, no more can be"
            )
        watch = self._hub.watch(
            request.after_sequence, request.services, include_attempts=request.include_attempts
        )
        async with aclosing(watch):
            async for event in watch:
                yield event
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the sidecar is shutting down")

    async def EjectEndpoint(
        self, request: health_pb2.EjectEndpointRequest, context: Context
    ) -> health_pb2.EjectEndpointResponse:
        duration = None
        if request.HasField("duration"):
            duration = _seconds(request.duration)
            if problems := _duration_problems("duration", duration, LONGEST_EJECTION, "8760h"):
                await refuse_invalid(context, problems)
        key = EndpointKey(request.service, request.endpoint)
        endpoint = await self._override(
            context, key, lambda: self._ledger.eject(key, duration, self._clock.mono())
        )
        return health_pb2.EjectEndpointResponse(endpoint=endpoint)

    async def RestoreEndpoint(
        self, request: health_pb2.RestoreEndpointRequest, context: Context
    ) -> health_pb2.RestoreEndpointResponse:
        key = EndpointKey(request.service, request.endpoint)
        endpoint = await self._override(context, key, lambda: self._ledger.restore(key, self._clock.mono()))
        return health_pb2.RestoreEndpointResponse(endpoint=endpoint)

    async def _override(
        self, context: Context, key: EndpointKey, change: Callable[[], Sequence[HealthEvent]]
    ) -> health_pb2.Endpoint:
        try:
            events = change()
        except KeyError:
            await self._refuse_unknown(context, key)
        self._health_events(events)
        return next(e for e in self._hub.endpoints() if (e.service, e.endpoint) == key)

    async def _refuse_unknown(self, context: Context, key: EndpointKey) -> NoReturn:
        known = ", ".join(f"{e.service} {e.endpoint}" for e in self._hub.endpoints()[:50])
        await context.abort(
            grpc.StatusCode.NOT_FOUND,
            f"no endpoint {key.service} {key.address}; expected one of: {known or 'none is known yet'}",
        )


async def _accepted(context: Context, outcome: Outcome) -> Accepted:
    if not isinstance(outcome, Accepted):
        await refuse(context, outcome)
    return outcome


def _revision(revision: Revision) -> policy_pb2.PolicyRevision:
    return policy_pb2.PolicyRevision(
        generation=revision.generation,
        etag=revision.etag,
        source=revision.source,
        comment=revision.comment,
        applied_at=timestamp(revision.applied_at),
        policy=redacted(revision.policy),
    )


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos * 1e-9)


def _duration_problems(field: str, seconds: float, longest: float, in_words: str) -> list[Problem]:
    if 0.0 < seconds <= longest:
        return []
    return [Problem(field, f"is {seconds:g}s; expected more than 0s and at most {in_words}")]


def _comment_problems(comment: str) -> list[Problem]:
    if len(comment) <= LONGEST_COMMENT:
        return []
    return [Problem("comment", f"has {len(comment)} characters; expected at most {LONGEST_COMMENT}")]
