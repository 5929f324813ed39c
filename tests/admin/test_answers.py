"""How refusals look to a real client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status
from llmsidecar.v1.policy_pb2 import Policy, UpdatePolicyRequest

from tests.admin.parts import Served, a_policy, run, served


async def violations(api: Served, policy: Policy, **more: Any) -> tuple[str, list[tuple[str, str]]]:
    """The text and the details of a refused update."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.policy_api.UpdatePolicy(UpdatePolicyRequest(policy=policy, **more))
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


def test_what_is_wrong_beside_the_policy_does_not_hide_what_is_wrong_in_it(folder: Path) -> None:
    """Or an operator mends the mask, sends it again, and only then hears of the rest."""
    bad = a_policy()
    bad.services[0].url = "ftp://x"
    bad.routes[0].services.append("nowhere")
    beside = {
        "update_mask": FieldMask(paths=["services", "rutes"]),  # so that the route is not taken
        "revert_after": Duration(seconds=-1),
        "comment": "x" * 1025,
    }

    async def story() -> list[tuple[str, str]]:
        async with served(folder) as api:
            _, told = await violations(api, bad, **beside)
            assert api.policies.running.generation == 1
            return told

    told = run(story())
    assert [field for field, _ in told] == [
        "comment",
        "revert_after",
        "update_mask",
        "policy.services[0].url",
    ]


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
