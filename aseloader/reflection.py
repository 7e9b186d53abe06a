"""gRPC server reflection, v1 and v1alpha: tells any client the messages this loader speaks."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from rpc.server import CallContext, StreamHandler
from rpc.status import Status
from schemas import wire


def methods(services: Sequence[str]) -> dict[str, StreamHandler]:
    """Return the reflection methods, by path, that tell of the named services."""
    return {
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo": _Reflection(
            wire.message(f"grpc.reflection.{version}.ServerReflectionRequest"),
            wire.message(f"grpc.reflection.{version}.ServerReflectionResponse"),
            services,
        ).info
        for version in ("v1", "v1alpha")
    }


class _Reflection:
    def __init__(self, request: Any, response: Any, services: Sequence[str]) -> None:
        self._request = request
        self._response = response
        self._services = services

    async def info(
        self, requests: AsyncIterator[bytes], _call: CallContext
    ) -> AsyncIterator[bytes]:
        async for data in requests:
            asked = self._request.FromString(data)
            answer = self._response(valid_host=asked.host, original_request=asked)
            try:
                self._fill(answer, asked)
            except KeyError:
                answer.error_response.error_code = int(Status.NOT_FOUND)
                answer.error_response.error_message = "not found"
            yield answer.SerializeToString()

    def _fill(self, answer: Any, asked: Any) -> None:
        match asked.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    answer.list_services_response.service.add(name=name)
            case "file_by_filename":
                _files(answer, wire.POOL.FindFileByName(asked.file_by_filename))
            case "file_containing_symbol":
                _files(answer, wire.POOL.FindFileContainingSymbol(asked.file_containing_symbol))
            case "all_extension_numbers_of_type":
                name = asked.all_extension_numbers_of_type
                wire.POOL.FindMessageTypeByName(name)
                answer.all_extension_numbers_response.base_type_name = name
            case _:
                raise KeyError


def _files(answer: Any, file: FileDescriptor) -> None:
    """Add a file and all it imports, each once."""
    pending, seen = [file], set()
    while pending:
        current = pending.pop()
        if current.name not in seen:
            seen.add(current.name)
            answer.file_descriptor_response.file_descriptor_proto.append(current.serialized_pb)
            pending.extend(current.dependencies)
