"""How a gateway knows instances: by a hub inside it, or by hubs in other processes."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from config.options import LbOptions
from lb.aiges.service import AigesLbService
from lb.client.remote_hubs import HubChanges, OnChange, RemoteHubs
from lb.credentials import ServerCertificate
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import TrafficRules
from lb.hub.admission import AdmissionPolicy
from lb.hub.counters import HubCounts
from lb.hub.service import Hub
from rpc.server import Server


class Discovery(Protocol):
    """A source of instances.

    It updates `table`. `documents` maps digests to the schema documents of loaders; it is updated
    in place.
    """

    table: EndpointTable
    documents: Mapping[str, bytes]

    async def start(self, hub_socket: socket.socket | None, hub_changes: HubChanges | None) -> None:
        """Start to update the table.

        `hub_socket` is that of a hub in this process. `hub_changes` yields the addresses of hubs in
        others, now and after each change, if a registry lists them.
        """

    async def hand_over(self) -> list[TrafficRules]:
        """Leave the loaders that report here to another process; the table stays as it is.

        Return the traffic rules that nobody else has.
        """

    async def take_back(self) -> None:
        """Update the table again after `hand_over`."""

    async def stop(self) -> None:
        """Stop updating the table. Requires that `start` has completed."""

    def is_synced(self) -> bool:
        """Return whether the table has had the instances of a hub; once True, it stays True."""

    async def lease(self, request: bytes) -> bytes:
        """Return the hub's reply to a LeaseRequest. Raises RpcError, OSError or LeaseError."""


class EmbeddedHub:
    """A hub in this process, with the interface of the original's load balancer on the same port.

    The gateway picks from the hub's own table, so that it is always synced. `_spare_socket` is a
    second descriptor of the listening socket: a server closes the one that it has.
    """

    def __init__(
        self,
        options: LbOptions,
        admission_policy: AdmissionPolicy,
        certificate: ServerCertificate | None,
        hub_counts: HubCounts,
        gateway_name: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
    ) -> None:
        self._certificate = certificate
        self._clock = clock
        self.table = EndpointTable(
            gateway_name, silence_timeout=options.silence, ttl=options.ttl, ramp=options.ramp
        )
        self._hub = Hub(
            self.table,
            admission_policy,
            clock=clock,
            rng=rng,
            on_change=on_change,
            counts=hub_counts,
        )
        self._aiges_service = AigesLbService(
            self._hub, self.table, admission_policy, options.policy, time.time_ns
        )
        self.documents: Mapping[str, bytes] = self._hub.documents

    async def start(
        self,
        hub_socket: socket.socket | None,
        hub_changes: HubChanges | None = None,  # noqa: ARG002
    ) -> None:
        """Serve reports on the listening socket."""
        if hub_socket is None:
            raise ValueError("a hub needs a listening socket")
        self._spare_socket = hub_socket.dup()
        await self._serve(hub_socket)

    async def _serve(self, hub_socket: socket.socket) -> None:
        unary_handlers = self._hub.unary_methods() | self._aiges_service.unary_methods()
        self._server = Server(unary=unary_handlers, stream=self._hub.stream_methods())
        await self._server.serve(hub_socket, self._certificate)
        self._hub_task = asyncio.ensure_future(self._hub.run())

    async def hand_over(self) -> list[TrafficRules]:
        """End the report streams, and keep what is known of the loaders; return all rules."""
        self._hub.is_handed_over = True
        self._handed_over_at = self._clock()
        await self._stop_serving()
        return self.table.traffic.rules()

    async def take_back(self) -> None:
        """Serve reports again; the loaders that are silent meanwhile are not taken for lost."""
        now = self._clock()
        self.table.compensate_stall(now - self._handed_over_at, now)
        self._hub.is_handed_over = False
        await self._serve(self._spare_socket.dup())

    async def stop(self) -> None:
        """Stop the hub and close its port."""
        self._spare_socket.close()
        await self._stop_serving()

    async def _stop_serving(self) -> None:
        self._hub_task.cancel()
        await self._server.stop(0)

    def is_synced(self) -> bool:
        """Return True: the table is the hub's own."""
        return True

    async def lease(self, request: bytes) -> bytes:
        """Return the hub's reply to a LeaseRequest. Raises LeaseError."""
        return self._hub.lease_limits(request)


class FollowedHubs(RemoteHubs):
    """Hubs in other processes as a source of instances. No socket is needed."""

    async def start(
        self,
        hub_socket: socket.socket | None,  # noqa: ARG002
        hub_changes: HubChanges | None,
    ) -> None:
        """Start to follow the hubs."""
        await self.follow(hub_changes)

    async def hand_over(self) -> list[TrafficRules]:
        """Do nothing: loaders report to the hubs, which this process and another one follow."""
        return []

    async def take_back(self) -> None:
        """Do nothing; see `hand_over`."""
