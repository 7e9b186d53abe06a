"""grpc.health.v1 for a loader: serving from its start until it drains."""

import asyncio
from collections.abc import AsyncIterator, Collection

from rpc.server import CallContext
from rpc.status import RpcError, Status
from schemas.wire import HealthCheckRequest, HealthCheckResponse


class Health:
    """Answers for the named services, and for "" (the server as a whole)."""

    def __init__(self, services: Collection[str]) -> None:
        self._known = {"", *services}
        self._serving = True
        self._changed = asyncio.Condition()

    async def check(self, data: bytes, _call: CallContext) -> bytes:
        """Serve `Check`. Raises RpcError NOT_FOUND for a service that is not known."""
        if HealthCheckRequest.FromString(data).service not in self._known:
            raise RpcError(Status.NOT_FOUND, "unknown service")
        return self._answer(known=True)

    async def watch(
        self, requests: AsyncIterator[bytes], _call: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve `Watch`: the status now, and again at each change."""
        known = HealthCheckRequest.FromString(await anext(aiter(requests))).service in self._known
        while True:
            told = self._serving
            yield self._answer(known=known)
            async with self._changed:
                # Not a bare wait: the change may have come while the answer was on its way.
                while self._serving is told:
                    await self._changed.wait()

    async def stop_serving(self) -> None:
        """Say NOT_SERVING from now on."""
        self._serving = False
        async with self._changed:
            self._changed.notify_all()

    def _answer(self, *, known: bool) -> bytes:
        reply = HealthCheckResponse
        serving = reply.SERVING if self._serving else reply.NOT_SERVING
        return reply(status=serving if known else reply.SERVICE_UNKNOWN).SerializeToString()
