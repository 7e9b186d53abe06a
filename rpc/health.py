"""Health service of a server (grpc.health.v1): SERVING from its start until it drains."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from rpc.server import CallContext, StreamHandler, UnaryHandler, first_request
from rpc.status import RpcError, Status

SERVICE = "grpc.health.v1.Health"


class HealthService:
    """Reports the health of the named services, and of "", the server as a whole.

    All have the same status: SERVING until `stop_serving`, then NOT_SERVING for good. Every `watch`
    waits on `_status_changed` for that change. `pool` has the messages of the health service.
    """

    def __init__(self, services: Collection[str], pool: DescriptorPool) -> None:
        request = pool.FindMessageTypeByName("grpc.health.v1.HealthCheckRequest")
        response = pool.FindMessageTypeByName("grpc.health.v1.HealthCheckResponse")
        self._request_type: Any = GetMessageClass(request)
        self._response_type: Any = GetMessageClass(response)
        self._services = {"", *services}
        self._is_serving = True
        self._status_changed = asyncio.Condition()

    def unary_methods(self) -> dict[str, UnaryHandler]:
        """Return the unary method by its path."""
        return {f"/{SERVICE}/Check": self.check}

    def stream_methods(self) -> dict[str, StreamHandler]:
        """Return the streaming method by its path."""
        return {f"/{SERVICE}/Watch": self.watch}

    async def check(self, data: bytes, _call: CallContext) -> bytes:
        """Serve `Check`. Raises RpcError NOT_FOUND for an unknown service."""
        if self._request_type.FromString(data).service not in self._services:
            raise RpcError(Status.NOT_FOUND, "unknown service")
        return self._response(is_known=True)

    async def watch(
        self, requests: AsyncIterator[bytes], _call: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve `Watch`: send the status now, and again at each change.

        An unknown service has the status SERVICE_UNKNOWN.
        """
        request = self._request_type.FromString(await first_request(requests))
        is_known = request.service in self._services
        while True:
            reported = self._is_serving
            yield self._response(is_known=is_known)
            async with self._status_changed:
                # A loop, not a bare wait: the status may have changed while the response was sent.
                while self._is_serving is reported:
                    await self._status_changed.wait()

    async def stop_serving(self) -> None:
        """Report NOT_SERVING from now on, to every watcher at once."""
        self._is_serving = False
        async with self._status_changed:
            self._status_changed.notify_all()

    def _response(self, *, is_known: bool) -> bytes:
        response_type = self._response_type
        status = response_type.SERVING if self._is_serving else response_type.NOT_SERVING
        status = status if is_known else response_type.SERVICE_UNKNOWN
        response: bytes = response_type(status=status).SerializeToString()
        return response
