"""AdminClient: the admin API for programs with threads.

Errors:  sidecar_client.errors, from every method.
Threads: may be shared; close() ends the event streams of all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from random import Random
from types import TracebackType
from typing import Self

import grpc
from llmsidecar.v1 import health_pb2 as health
from llmsidecar.v1 import policy_pb2 as policy

from sidecar_client.admin import calls
from sidecar_client.admin.address import CHANNEL_OPTIONS, admin_address
from sidecar_client.admin.resume import Resume, ended
from sidecar_client.admin.translate import translate
from sidecar_client.errors import AdminError


class AdminClient:
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
        self._closed = threading.Event()
        self._channel = (
            grpc.secure_channel(self.address, credentials, CHANNEL_OPTIONS)
            if credentials
            else grpc.insecure_channel(self.address, CHANNEL_OPTIONS)
        )

    def get_policy(self) -> policy.GetPolicyResponse:
        """The policy that runs, with its etag and generation."""
        return self._send(calls.get_policy())

    def update_policy(
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
        return self._send(
            calls.update_policy(
                new,
                mask=mask,
                etag=etag,
                validate_only=validate_only,
                revert_after=revert_after,
                comment=comment,
            )
        )

    def confirm(self, etag: str = "") -> policy.ConfirmPolicyResponse:
        """Keeps an update that was made with `revert_after`."""
        return self._send(calls.confirm(etag))

    def revisions(self) -> list[policy.PolicyRevision]:
        """Accepted policies, newest first."""
        return list(self._send(calls.revisions()).revisions)

    def rollback(
        self, generation: int, *, etag: str = "", comment: str = ""
    ) -> policy.RollbackPolicyResponse:
        """Applies an earlier revision as a new one."""
        return self._send(calls.rollback(generation, etag=etag, comment=comment))

    def endpoints(self, services: Sequence[str] = ()) -> list[health.Endpoint]:
        """Every endpoint, or those of `services`, with its state and the reason for it."""
        return list(self.list_endpoints(services).endpoints)

    def list_endpoints(self, services: Sequence[str] = ()) -> health.ListEndpointsResponse:
        """The same, with the newest event it includes, and the keys, models and services that are left alone."""
        return self._send(calls.endpoints(services))

    def eject(self, service: str, endpoint: str, duration: float | None = None) -> health.Endpoint:
        """Takes an endpoint out of rotation, for `duration` or until it is restored."""
        return self._send(calls.eject(service, endpoint, duration)).endpoint

    def restore(self, service: str, endpoint: str) -> health.Endpoint:
        """Puts an ejected endpoint back."""
        return self._send(calls.restore(service, endpoint)).endpoint

    def events(
        self,
        after: int = 0,
        services: Sequence[str] = (),
        *,
        include_attempts: bool = False,
        wait_for_daemon: bool = False,
        on_lost: Callable[[AdminError, float], None] | None = None,
    ) -> Iterator[health.HealthEvent]:
        """Follows the health events without end: a snapshot, then every event in order.

        A broken connection is made anew and resumed where it ended; `on_lost` hears of each break and of the
        seconds until the next try. What the daemon no longer holds arrives as a `gap` event. Without
        `wait_for_daemon`, a daemon that was never reached raises Unreachable.
        """
        resume = Resume(after, Random(), wait_for_daemon=wait_for_daemon)
        while not self._closed.is_set():
            try:
                for event in self._watch(resume.after, services, include_attempts=include_attempts):
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
            self._closed.wait(delay)

    def close(self) -> None:
        """Ends what is under way and lets the connection go."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: calls.Call[calls.R]) -> calls.R:
        method = self._channel.unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )
        try:
            return method(call.request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise translate(error, self.address, call.path) from error

    def _watch(
        self, after: int, services: Sequence[str], *, include_attempts: bool
    ) -> Iterator[health.HealthEvent]:
        call = calls.watch(after, services, include_attempts=include_attempts)
        method = self._channel.unary_stream(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )
        stream = None
        try:
            stream = method(call.request)
            yield from stream
        except grpc.RpcError as error:
            raise translate(error, self.address, call.path) from error
        except ValueError as error:  # grpc's word for a channel that close() closed meanwhile
            raise ended() from error
        finally:
            if stream is not None:
                stream.cancel()
