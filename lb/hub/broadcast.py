"""Sends the changes of a hub's table to its subscribers, in ticks of at most one frame each.

A change is sent at once if the last tick was at least one gap ago. Otherwise it is sent at the next
tick, together with all other changes until then.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

from lb.endpoints.lifecycle import StateChange
from lb.endpoints.report import Instance, InstanceKey, ReportMode
from lb.endpoints.table import EndpointTable
from lb.hub.counters import HubCounts
from lb.hub.overload import OverloadLevel
from lb.hub.subscriber import EncodedLoadCache, Subscriber
from schemas.wire import WatchRequest

_logger = logging.getLogger("ase.lb")

# Limit of the frames per second to all gateways together. The gap grows with the number of gateways
# to keep it, up to _MAX_GAP_S (64 gateways).
_MAX_FRAMES_PER_S = 6400
_MAX_GAP_S = 0.01
# Interval in seconds at which every subscriber gets a frame even if nothing changed.
_HEARTBEAT_S = 1.0


class Broadcaster:
    """The subscribers of a hub and the changes that are not sent yet.

    `documents` are the schemas of the instances, by digest. `clock` returns monotonic seconds.
    `gap` is the least time between two frames to one subscriber in seconds, at overload level 0.
    `_dirty` holds the instances that changed since the last tick. `_change_event` is set if there
    is something for the next tick. The event of a subscriber is set if it has a frame to send.
    """

    def __init__(
        self,
        table: EndpointTable,
        documents: Mapping[str, bytes],
        *,
        epoch: int,
        clock: Callable[[], float],
        gap: float,
        counts: HubCounts,
    ) -> None:
        self._table = table
        self._documents = documents
        self._epoch = epoch
        self._clock = clock
        self._gap = gap
        self._load_cache = EncodedLoadCache()
        self._subscribers: dict[Subscriber, asyncio.Event] = {}
        self._dirty: dict[InstanceKey, Instance] = {}
        self._change_event = asyncio.Event()
        self._heartbeat_at = clock()
        self.overload = OverloadLevel()
        self._counts = counts

    async def run(self) -> None:
        """Send changes, forever: one tick, then a sleep of one gap.

        The lateness of the sleep sets the overload level.
        """
        while True:
            timeout = max(0.0, self._heartbeat_at + _HEARTBEAT_S - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._change_event.wait()
            try:
                self._notify_subscribers(self._clock())
            except Exception:
                _logger.exception("a beat failed by a fault of ours; the next one comes")
            gap = self._next_gap()
            due = self._clock() + gap
            await asyncio.sleep(gap)
            now = self._clock()
            self.overload.tick(now - due, gap, now)
            self._counts.overload_level = self.overload.level

    def mark_changed(self, instance: Instance) -> None:
        """Mark an instance or its figures as changed. Static instances are local and not sent.

        Without subscribers there is nobody to send it to: a new one gets a snapshot.
        """
        if instance.report_mode is not ReportMode.NONE:
            self._load_cache.invalidate(instance.key)
            if self._subscribers:
                self._dirty[instance.key] = instance
                self._change_event.set()

    def mark_removed(self, change: StateChange) -> None:
        """Mark an instance as gone."""
        instance_id = self._load_cache.remove(change.instance.key)
        self._dirty.pop(change.instance.key, None)
        for subscriber in self._subscribers:
            subscriber.mark_removed(change, instance_id)
        if self._subscribers:
            self._change_event.set()

    def mark_traffic_changed(self) -> None:
        """Send the traffic rules that have changed."""
        for subscriber in self._subscribers:
            subscriber.mark_traffic_changed()
        if self._subscribers:
            self._change_event.set()

    async def subscribe(self, request: WatchRequest) -> AsyncIterator[bytes]:
        """Yield frames: a snapshot, then one after each change, or each second without changes."""
        subscriber = Subscriber(request.gateway, tuple(request.subsvc), self._table)
        update_event = self._subscribers[subscriber] = asyncio.Event()
        try:
            while True:
                update_event.clear()
                self._counts.frames += 1
                yield subscriber.next_frame(
                    self._table, self._load_cache, self._documents, self._epoch, self._clock()
                )
                await update_event.wait()
        finally:
            del self._subscribers[subscriber]

    def _notify_subscribers(self, now: float) -> None:
        """Pass the changes since the last tick to all subscribers and wake them.

        A heartbeat also wakes the subscribers without changes.
        """
        self._change_event.clear()
        changed, self._dirty = self._dirty, {}
        is_heartbeat = now - self._heartbeat_at >= _HEARTBEAT_S
        if is_heartbeat:
            self._heartbeat_at = now
        for subscriber, update_event in self._subscribers.items():
            subscriber.mark_changed(changed.values())
            if is_heartbeat or subscriber.has_updates():
                update_event.set()

    def _next_gap(self) -> float:
        """Return the seconds to the next tick; they grow with the subscribers and the overload."""
        gap = max(self._gap, min(_MAX_GAP_S, len(self._subscribers) / _MAX_FRAMES_PER_S))
        return self.overload.scale_interval(gap)
