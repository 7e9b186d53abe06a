"""gRPC server reflection, v1 and v1alpha: describes the services and messages of a server.

Source: grpc.reflection.v1. A client such as grpcurl then needs no proto files.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from rpc.server import CallContext, StreamHandler
from rpc.status import Status


def methods(services: Sequence[str], pool: DescriptorPool) -> dict[str, StreamHandler]:
    """Return the handlers of the reflection methods, by full path.

    They list the services named in `services`, and describe every message of `pool`, which has the
    messages of reflection too.
    """
    return {
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo": _Reflection(
            f"grpc.reflection.{version}", services, pool
        ).info
        for version in ("v1", "v1alpha")
    }


class _Reflection:
    def __init__(self, package: str, services: Sequence[str], pool: DescriptorPool) -> None:
        request = pool.FindMessageTypeByName(f"{package}.ServerReflectionRequest")
        response = pool.FindMessageTypeByName(f"{package}.ServerReflectionResponse")
        self._request_type: Any = GetMessageClass(request)
        self._response_type: Any = GetMessageClass(response)
        self._services = services
        self._pool = pool

    async def info(
        self, requests: AsyncIterator[bytes], _call: CallContext
    ) -> AsyncIterator[bytes]:
        async for data in requests:
            request = self._request_type.FromString(data)
            response = self._response_type(valid_host=request.host, original_request=request)
            try:
                self._fill_response(response, request)
            except KeyError:
                response.error_response.error_code = int(Status.NOT_FOUND)
                response.error_response.error_message = "not found"
            yield response.SerializeToString()

    def _fill_response(self, response: Any, request: Any) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                _add_files(response, self._pool.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                _add_files(
                    response, self._pool.FindFileContainingSymbol(request.file_containing_symbol)
                )
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                self._pool.FindMessageTypeByName(name)
                response.all_extension_numbers_response.base_type_name = name
            case _:
                raise KeyError


def _add_files(response: Any, file: FileDescriptor) -> None:
    """Add the descriptor of `file` and of all that it imports, each once."""
    pending, seen = [file], set()
    while pending:
        current = pending.pop()
        if current.name not in seen:
            seen.add(current.name)
            response.file_descriptor_response.file_descriptor_proto.append(current.serialized_pb)
            pending.extend(current.dependencies)
