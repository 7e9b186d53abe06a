"""What changed at a hub, told to all who follow it: in beats, each a frame to everyone.

A change goes out at once when the last beat is a gap ago, else with all that comes until then.
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

# Frames to all gateways together are no more than so many a second, none sooner than the gap.
_MAX_FRAMES_PER_S = 6400
_MAX_GAP_S = 0.01
# Nobody goes without a frame for longer.
_HEARTBEAT_S = 1.0


class Broadcaster:
    """Those who follow a hub, and what they are still to be told.

    `documents` are the schemas of the instances. `clock` gives seconds that never step back.
    `gap` is the least time between two frames to one of them, in seconds, without strain.
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
        self._heartbeat_at = 0.0
        self.overload = OverloadLevel()
        self._counts = counts

    async def run(self) -> None:
        """Tell what changes, for ever."""
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
        """Note that an instance or its figures changed; who was placed here is nobody else's."""
        if instance.report_mode is not ReportMode.NONE:
            self._load_cache.invalidate(instance.key)
            self._dirty[instance.key] = instance
            self._change_event.set()

    def mark_removed(self, change: StateChange) -> None:
        """Note that an instance is gone."""
        instance_id = self._load_cache.remove(change.instance.key)
        self._dirty.pop(change.instance.key, None)
        for subscriber in self._subscribers:
            subscriber.mark_removed(change, instance_id)
        self._change_event.set()

    async def subscribe(self, request: WatchRequest) -> AsyncIterator[bytes]:
        """Yield frames: a snapshot, then one whenever something changed, else each second."""
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
        """Let all know what changed since the last beat; now and then, that nothing did."""
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
        """Return the time to the next beat: the more there are to tell, the longer."""
        gap = max(self._gap, min(_MAX_GAP_S, len(self._subscribers) / _MAX_FRAMES_PER_S))
        return self.overload.scale_interval(gap)
