"""The admin API as a client has it: stubs on a channel to a running daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from llmsidecar.v1 import policy_pb2 as pb
from llmsidecar.v1.health_pb2_grpc import HealthServiceStub
from llmsidecar.v1.policy_pb2_grpc import PolicyServiceStub


@contextmanager
def policies(address: str) -> Iterator[Any]:
    """A PolicyService whose calls wait until the daemon is there."""
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(20)
        yield PolicyServiceStub(channel)  # type: ignore[no-untyped-call]


# Else gRPC measures the way and takes so many megabytes ahead that who stops reading may hardly miss an event.
TAKES_LITTLE_AHEAD = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)]


@contextmanager
def health(address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address, options=TAKES_LITTLE_AHEAD) as channel:
        grpc.channel_ready_future(channel).result(20)
        yield HealthServiceStub(channel)  # type: ignore[no-untyped-call]


def running_policy(address: str) -> pb.GetPolicyResponse:
    with policies(address) as stub:
        response: pb.GetPolicyResponse = stub.GetPolicy(pb.GetPolicyRequest(), timeout=20)
        return response
