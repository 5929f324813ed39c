"""gRPC reflection, v1 and v1alpha, so that grpcurl needs no proto files.

In:      the names of the services that are served.
Out:     both reflection services on the server.
Why:     grpcio-reflection serves v1alpha only, and the descriptor pool of protobuf does not find the file of a
         method. v1 has the same messages under another name, so one servicer answers both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1ALPHA = reflection.SERVICE_NAME
V1 = "grpc.reflection.v1.ServerReflection"


class Symbols:
    """The descriptor pool that the servicer asks: protobuf's own, our v1, and methods by their full name."""

    def __init__(self) -> None:
        self._pools = (descriptor_pool.Default(), _pool_of_v1())

    def FindFileByName(self, name: str) -> Any:
        return self._first("FindFileByName", name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        try:
            return self._first("FindFileContainingSymbol", symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._first("FindServiceByName", service).methods_by_name[method].containing_service.file

    def FindMessageTypeByName(self, name: str) -> Any:
        return self._first("FindMessageTypeByName", name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:
        return self._pools[0].FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:
        return self._pools[0].FindAllExtensions(message)

    def _first(self, find: str, name: str) -> Any:
        for pool in self._pools:
            try:
                return getattr(pool, find)(name)
            except KeyError:
                continue
        raise KeyError(name)


def add_reflection(server: grpc.aio.Server, served: Sequence[str]) -> None:
    """Answers both versions for the services in `served` and for reflection itself."""
    servicer = reflection.aio.ReflectionServicer((*served, V1, V1ALPHA), pool=Symbols())
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            for name in (V1, V1ALPHA)
        )
    )


def _pool_of_v1() -> descriptor_pool.DescriptorPool:
    """v1 is v1alpha by another name; in a pool of its own, lest it disagree with a library that brings v1."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    renamed = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(renamed, descriptor_pb2.FileDescriptorProto()))
    return pool
