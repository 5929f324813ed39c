"""How refusals look to a real client."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status
from llmsidecar.v1.policy_pb2 import Policy, UpdatePolicyRequest

from tests.admin.parts import Served, a_policy, run, served


async def violations(api: Served, policy: Policy) -> tuple[str, list[tuple[str, str]]]:
    """The text and the details of a refused update."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.policy_api.UpdatePolicy(UpdatePolicyRequest(policy=policy))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(refused.value)
    details = BadRequest()
    assert status.details[0].Unpack(details)
    text = refused.value.details()
    assert text is not None
    return text, [(v.field, v.description) for v in details.field_violations]


def test_every_violation_is_in_the_details_and_in_the_text(folder: Path) -> None:
    """A program reads the details, a person with grpcurl the text; both need all of it."""
    bad = a_policy()
    for service in bad.services:
        service.url, service.dialect = "ftp://x", "klingon"
    bad.routes[0].services.append("nowhere")

    async def story() -> tuple[str, list[tuple[str, str]]]:
        async with served(folder) as api:
            return await violations(api, bad)

    text, told = run(story())
    assert sorted(field for field, _ in told) == [
        "policy.routes[0].services[2]",
        "policy.services[0].dialect",
        "policy.services[0].url",
        "policy.services[1].dialect",
        "policy.services[1].url",
    ]
    assert text.splitlines() == ["5 problems", *(f"{field}: {description}" for field, description in told)]


@pytest.mark.parametrize("count", [1, 20, 40, 60, 100, 1000])
def test_however_many_there_are_the_client_learns_that_the_policy_is_invalid(
    folder: Path, count: int
) -> None:
    """Trailers that are too long for the client would turn the answer into RESOURCE_EXHAUSTED, at random."""
    bad = a_policy()
    bad.routes[0].fallback_on.extend(f"wörd-{n}" for n in range(count))

    async def story() -> list[tuple[str, list[tuple[str, str]]]]:
        async with served(folder) as api:
            return [await violations(api, bad) for _ in range(5)]

    for text, told in run(story()):
        assert text.startswith(f"{count} problem")
        if count <= 40:
            assert len(told) == count
        *_, (_, last) = told
        shown = len(told) - last.startswith("and ")
        assert shown == count or last == f"and {count - shown} more"
