"""Rules of sidecar_client.admin.translate that no ordinary server shows."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from sidecar_client.admin.translate import translate
from sidecar_client.errors import AdminError, InvalidArgument, PolicyRejected, Unreachable

EJECT = "/llmsidecar.v1.HealthService/EjectEndpoint"


def error(code: grpc.StatusCode, words: str = "", details: bytes | None = None) -> AioRpcError:
    trailing = Metadata(("grpc-status-details-bin", details)) if details is not None else Metadata()
    return AioRpcError(code, Metadata(), trailing, words)


@pytest.mark.parametrize("details", [None, b"", b"\xff\xff\xff"])
def test_details_that_are_missing_or_broken_leave_the_plain_error(details: bytes | None) -> None:
    """The words of the status are still worth having."""
    told = translate(error(grpc.StatusCode.INVALID_ARGUMENT, "no good", details), "unix:/a", EJECT)
    assert type(told) is InvalidArgument
    assert not isinstance(told, PolicyRejected)
    assert str(told) == "no good"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_silence_and_refusal_are_both_unreachable_and_name_the_address(code: grpc.StatusCode) -> None:
    """A daemon that is stopped answers neither yes nor no."""
    told = translate(error(code), "unix:/a", EJECT)
    assert isinstance(told, Unreachable)
    assert str(told) == "unix:/a: no answer"


def test_a_code_of_no_class_keeps_its_name() -> None:
    """Even with nothing said."""
    told = translate(error(grpc.StatusCode.RESOURCE_EXHAUSTED), "unix:/a", EJECT)
    assert type(told) is AdminError
    assert (str(told), told.code) == ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
