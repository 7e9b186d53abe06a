"""A gateway's connection to the hub that leases limits to it."""

from collections.abc import Sequence
from typing import Final

from lb.credentials import HubCredentials
from rpc.client import Channel
from rpc.status import RpcError, Status

METHOD: Final = "/ase.v1.LoadBalancer/Lease"
_TIMEOUT_S: Final = 0.5


class LeaseChannel:
    """Calls `Lease` at one of several hubs: at the first that answers, until it does not.

    All gateways have to lease from the same hub, so each begins with the first of the list.
    """

    def __init__(self, hubs: Sequence[str], credentials: HubCredentials) -> None:
        self._hubs = tuple(hubs)
        self._credentials = credentials
        self._position = 0
        self._channel: Channel | None = None

    async def set_hubs(self, hubs: Sequence[str]) -> None:
        """Lease from the first of these hubs from now on, unless they are the same as before."""
        if self._hubs != tuple(hubs):
            self._hubs, self._position = tuple(hubs), 0
            await self.close()

    async def exchange(self, request: bytes) -> bytes:
        """Return the reply to a LeaseRequest; after a failure the next call is to the next hub.

        Raises RpcError, or OSError if a certificate cannot be read.
        """
        if not self._hubs:
            raise RpcError(Status.UNAVAILABLE, "no hub is known yet")
        if self._channel is None:
            self._channel = self._credentials.open_channel(self._hubs[self._position])
        try:
            return await self._channel.unary(
                METHOD, request, metadata=self._credentials.metadata, timeout=_TIMEOUT_S
            )
        except RpcError:
            self._position = (self._position + 1) % len(self._hubs)
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()
