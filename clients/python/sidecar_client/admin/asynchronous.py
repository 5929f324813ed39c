"""AsyncAdminClient: the admin API for asyncio. Method for method the twin of AdminClient.

Rule:    made, used and closed inside one running event loop.
Errors:  sidecar_client.errors, from every method.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from types import TracebackType
from typing import Self

import grpc
import grpc.aio
from llmsidecar.v1 import health_pb2 as health
from llmsidecar.v1 import policy_pb2 as policy

from sidecar_client.admin import calls
from sidecar_client.admin.address import CHANNEL_OPTIONS, admin_address
from sidecar_client.admin.resume import Resume, ended
from sidecar_client.admin.translate import translate
from sidecar_client.errors import AdminError


class AsyncAdminClient:
    """Talks to one daemon; `timeout` bounds every call but `events`."""

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 10.0,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.address = admin_address(address)
        self._timeout = timeout
        self._closed = asyncio.Event()
        self._channel = (
            grpc.aio.secure_channel(self.address, credentials, CHANNEL_OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(self.address, CHANNEL_OPTIONS)
        )

    async def get_policy(self) -> policy.GetPolicyResponse:
        """The policy that runs, with its etag and generation."""
        return await self._send(calls.get_policy())

    async def update_policy(
        self,
        new: policy.Policy,
        *,
        mask: Sequence[str] = (),
        etag: str = "",
        validate_only: bool = False,
        revert_after: float | None = None,
        comment: str = "",
    ) -> policy.UpdatePolicyResponse:
        """Replaces the policy, or the parts that `mask` names; all or nothing.

        Raises PolicyRejected with everything that is wrong, or StaleEtag.
        """
        return await self._send(
            calls.update_policy(
                new,
                mask=mask,
                etag=etag,
                validate_only=validate_only,
                revert_after=revert_after,
                comment=comment,
            )
        )

    async def confirm(self, etag: str = "") -> policy.ConfirmPolicyResponse:
        """Keeps an update that was made with `revert_after`."""
        return await self._send(calls.confirm(etag))

    async def revisions(self) -> list[policy.PolicyRevision]:
        """Accepted policies, newest first."""
        return list((await self._send(calls.revisions())).revisions)

    async def rollback(
        self, generation: int, *, etag: str = "", comment: str = ""
    ) -> policy.RollbackPolicyResponse:
        """Applies an earlier revision as a new one."""
        return await self._send(calls.rollback(generation, etag=etag, comment=comment))

    async def endpoints(self, services: Sequence[str] = ()) -> list[health.Endpoint]:
        """Every endpoint, or those of `services`, with its state and the reason for it."""
        return list((await self.list_endpoints(services)).endpoints)

    async def list_endpoints(self, services: Sequence[str] = ()) -> health.ListEndpointsResponse:
        """The same, with the newest event it includes, and the keys, models and services that are left alone."""
        return await self._send(calls.endpoints(services))

    async def eject(self, service: str, endpoint: str, duration: float | None = None) -> health.Endpoint:
        """Takes an endpoint out of rotation, for `duration` or until it is restored."""
        return (await self._send(calls.eject(service, endpoint, duration))).endpoint

    async def restore(self, service: str, endpoint: str) -> health.Endpoint:
        """Puts an ejected endpoint back."""
        return (await self._send(calls.restore(service, endpoint))).endpoint

    async def events(
        self,
        after: int = 0,
        services: Sequence[str] = (),
        *,
        include_attempts: bool = False,
        wait_for_daemon: bool = False,
        on_lost: Callable[[AdminError, float], None] | None = None,
    ) -> AsyncIterator[health.HealthEvent]:
        """Follows the health events without end; see AdminClient.events."""
        resume = Resume(after, Random(), wait_for_daemon=wait_for_daemon)
        while not self._closed.is_set():
            try:
                async for event in self._watch(resume.after, services, include_attempts=include_attempts):
                    resume.saw(event)
                    yield event
                lost = ended()
            except AdminError as error:
                lost = error
            if self._closed.is_set():
                return
            delay = resume.delay_after(lost)
            if on_lost is not None:
                on_lost(lost, delay)
            await self._pause(delay)

    async def close(self) -> None:
        """Ends what is under way and lets the connection go."""
        self._closed.set()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: calls.Call[calls.R]) -> calls.R:
        method = self._channel.unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )
        try:
            return await method(call.request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise translate(error, self.address, call.path) from error

    async def _watch(
        self, after: int, services: Sequence[str], *, include_attempts: bool
    ) -> AsyncIterator[health.HealthEvent]:
        call = calls.watch(after, services, include_attempts=include_attempts)
        method = self._channel.unary_stream(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )
        stream = method(call.request)
        try:
            async for event in stream:
                yield event
        except grpc.RpcError as error:
            raise translate(error, self.address, call.path) from error
        except asyncio.CancelledError:
            # grpc.aio raises this for a call that close() or the daemon cancelled, too: only the task knows
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ended() from None
        finally:
            stream.cancel()

    async def _pause(self, delay: float) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._closed.wait()
        except TimeoutError:
            return
