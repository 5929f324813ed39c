"""Reflection as grpcurl and other tools use it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from sidecar.admin.reflection import V1, V1ALPHA, Symbols
from tests.admin.parts import run, served

SERVED = [
    "grpc.health.v1.Health",
    V1,
    V1ALPHA,
    "llmsidecar.v1.HealthService",
    "llmsidecar.v1.PolicyService",
]
SYMBOLS = [
    ("llmsidecar.v1.PolicyService", "llmsidecar/v1/policy.proto"),
    ("llmsidecar.v1.PolicyService.UpdatePolicy", "llmsidecar/v1/policy.proto"),
    ("llmsidecar.v1.HealthEvent", "llmsidecar/v1/health.proto"),
    ("llmsidecar.v1.Policy.services", "llmsidecar/v1/policy.proto"),
    ("grpc.health.v1.Health.Check", "grpc_health/v1/health.proto"),
    (V1, "grpc_reflection/v1/reflection.proto"),
    (f"{V1}.ServerReflectionInfo", "grpc_reflection/v1/reflection.proto"),
    (V1ALPHA, "grpc_reflection/v1alpha/reflection.proto"),
]


async def ask(
    channel: grpc.aio.Channel, service: str, requests: list[ServerReflectionRequest]
) -> list[ServerReflectionResponse]:
    """A call by hand, for grpcio has no client of v1."""
    call = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )(iter(requests))
    return [response async for response in call]


def file_of(response: ServerReflectionResponse) -> str:
    first = response.file_descriptor_response.file_descriptor_proto[0]
    return FileDescriptorProto.FromString(first).name


@pytest.mark.parametrize("service", [V1, V1ALPHA])
def test_both_versions_list_every_service_and_find_every_symbol(folder: Path, service: str) -> None:
    """Methods too: `grpcurl describe llmsidecar.v1.PolicyService.UpdatePolicy` asks for one."""

    async def story() -> None:
        async with served(folder) as api:
            listing, *found = await ask(
                api.channel,
                service,
                [
                    ServerReflectionRequest(list_services=""),
                    *(ServerReflectionRequest(file_containing_symbol=symbol) for symbol, _ in SYMBOLS),
                ],
            )
            assert [s.name for s in listing.list_services_response.service] == SERVED
            assert [file_of(response) for response in found] == [file for _, file in SYMBOLS]

    run(story())


@pytest.mark.parametrize("symbol", ["", ".", "nowhere", "llmsidecar.v1.PolicyService.Nothing", "a.b.c"])
def test_an_unknown_symbol_is_not_found_and_the_call_goes_on(folder: Path, symbol: str) -> None:
    """Tools probe for names; an exception would end their stream."""

    async def story() -> None:
        async with served(folder) as api:
            unknown, known = await ask(
                api.channel,
                V1,
                [
                    ServerReflectionRequest(file_containing_symbol=symbol),
                    ServerReflectionRequest(file_by_filename="llmsidecar/v1/health.proto"),
                ],
            )
            assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
            assert file_of(known) == "llmsidecar/v1/health.proto"

    run(story())


def test_the_reflection_client_of_grpc_can_build_our_messages_from_it(folder: Path) -> None:
    """Not only answered, but complete: every imported file comes along."""

    async def story() -> list[str]:
        async with served(folder) as api:
            return await _fields_seen_through(api.bound[0])

    assert "update_mask" in run(story())


async def _fields_seen_through(address: str) -> list[str]:
    def blocking() -> list[str]:
        with grpc.insecure_channel(address) as channel:
            pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            service = pool.FindServiceByName("llmsidecar.v1.PolicyService")
            return [field.name for field in service.FindMethodByName("UpdatePolicy").input_type.fields]

    return await asyncio.to_thread(blocking)


def test_an_extension_is_found_by_its_number() -> None:
    """The rules of the schema are options; a tool that prints options asks for them."""
    symbols = Symbols()
    options = symbols.FindMessageTypeByName("google.protobuf.FieldOptions")
    assert symbols.FindExtensionByNumber(options, 50801).full_name == "llmsidecar.v1.rule"
    assert "llmsidecar.v1.rule" in [e.full_name for e in symbols.FindAllExtensions(options)]
