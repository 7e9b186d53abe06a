"""Follows hubs in other processes: those of the options, or those that a registry lists."""

import asyncio
import logging
from collections import ChainMap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from config.options import LbOptions
from lb.client.lease_channel import LeaseChannel
from lb.client.view import HubView, ReportingViews
from lb.client.watch import Watch
from lb.credentials import HubCredentials
from lb.endpoints.lifecycle import StateChange
from lb.endpoints.sweep import sweep
from lb.endpoints.table import EndpointTable

_logger = logging.getLogger("ase.lb")

# The value of `lb.hub` for the hubs that a registry lists.
REGISTRY_HUBS: Final = "registry"
OnChange = Callable[[StateChange], None]
HubChanges = AsyncIterator[Sequence[str]]


@dataclass(frozen=True, slots=True)
class _FollowedHub:
    view: HubView
    watch: Watch
    task: "asyncio.Task[None]"


class RemoteHubs:
    """Hubs in other processes, followed by their frames.

    `options.hub` is their comma-separated list, or `registry`: then the `hub_changes` of `follow`
    name them. An empty list changes nothing: a hub that restarts is listed again.

    All of them update one table, each through a view of its own. The views share
    `reporting_views`: for each instance, the views whose hub reports it. An instance is lost only
    when the last of these hubs has lost it. The hubs detect silent loaders, so that the table has
    no silence timeout. It counts as synced as soon as one hub has sent a snapshot.
    """

    def __init__(
        self,
        options: LbOptions,
        credentials: HubCredentials,
        gateway_name: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
    ) -> None:
        self._own_hubs = () if options.hub == REGISTRY_HUBS else tuple(options.hub.split(","))
        self._credentials = credentials
        self._gateway_name = gateway_name
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self.table = EndpointTable(
            gateway_name, silence_timeout=None, ttl=options.ttl, ramp=options.ramp
        )
        self._reporting_views: ReportingViews = {}
        self._followed: dict[str, _FollowedHub] = {}
        self._was_synced = False  # by a hub that is not followed any more
        self._documents: ChainMap[str, bytes] = ChainMap()
        self.documents: Mapping[str, bytes] = self._documents
        self._lease_channel = LeaseChannel(self._own_hubs, credentials)
        self._tasks: list[asyncio.Task[None]] = []

    async def follow(self, hub_changes: HubChanges | None) -> None:
        """Start to follow the hubs; it returns at once."""
        for address in self._own_hubs:
            self._follow(address)
        self._tasks.append(asyncio.create_task(sweep(self.table, self._clock, self._publish)))
        if hub_changes is not None:
            self._tasks.append(asyncio.create_task(self._take_changes(hub_changes)))

    async def _take_changes(self, hub_changes: HubChanges) -> None:
        async for addresses in hub_changes:
            if addresses:
                await self._set_hubs(addresses)

    async def _set_hubs(self, addresses: Sequence[str]) -> None:
        """Follow these hubs from now on, in place of those before."""
        # All gateways must lease limits from the same hub: the first of the sorted list.
        in_order = sorted(addresses)
        for address in in_order:
            if address not in self._followed:
                self._follow(address)
        for address in [*self._followed]:
            if address not in in_order:
                self._unfollow(address)
        await self._lease_channel.set_hubs(in_order)

    def _follow(self, address: str) -> None:
        view = HubView(self.table, self._gateway_name, self._reporting_views)
        watch = Watch(
            address,
            view,
            gateway=self._gateway_name,
            clock=self._clock,
            rng=self._rng,
            on_change=self._on_change,
            credentials=self._credentials,
        )
        self._followed[address] = _FollowedHub(view, watch, asyncio.create_task(watch.run()))
        self._documents.maps.append(view.documents)

    def _unfollow(self, address: str) -> None:
        """Leave a hub; what no other one reports expires."""
        hub = self._followed.pop(address)
        hub.task.cancel()
        self._was_synced |= hub.watch.has_synced
        self._publish(hub.view.forget_hub(self._clock()))
        self._documents.maps[:] = [other.view.documents for other in self._followed.values()]
        _logger.info("hub left: the registry does not list it", extra={"hub": address})

    def _publish(self, changes: list[StateChange]) -> None:
        for change in changes:
            self._on_change(change)

    async def stop(self) -> None:
        """Stop following the hubs. Requires `follow`."""
        for task in (*self._tasks, *(hub.task for hub in self._followed.values())):
            task.cancel()
        await self._lease_channel.close()

    async def lease(self, request: bytes) -> bytes:
        """Return a hub's reply to a LeaseRequest. Raises RpcError or OSError."""
        return await self._lease_channel.exchange(request)

    def is_synced(self) -> bool:
        """Return whether at least one hub has sent a snapshot."""
        return self._was_synced or any(hub.watch.has_synced for hub in self._followed.values())
