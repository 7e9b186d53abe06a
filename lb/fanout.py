"""What changed at a hub, told to all who follow it: in beats, each a frame to everyone.

A change goes out at once when the last beat is a gap ago, else with all that comes until then.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

from lb.counts import HubCounts
from lb.follower import Figures, Follower
from lb.life import Change
from lb.report import Feed, Instance, Key
from lb.strain import Strain
from lb.table import Table
from schemas.wire import WatchRequest

_logger = logging.getLogger("ase.lb")

# Frames to all gateways together are no more than so many a second, none sooner than the gap.
_FRAMES = 6400
_LONGEST_GAP = 0.01
# Nobody goes without a frame for longer.
_QUIET_S = 1.0


class Fanout:
    """Those who follow a hub, and what they are still to be told.

    `documents` are the schemas of the instances. `clock` gives seconds that never step back.
    `gap` is the least time between two frames to one of them, in seconds, without strain.
    """

    def __init__(
        self,
        table: Table,
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
        self._figures = Figures()
        self._followers: dict[Follower, asyncio.Event] = {}
        self._dirty: dict[Key, Instance] = {}
        self._changed = asyncio.Event()
        self._all_told = 0.0
        self.strain = Strain()
        self._counts = counts

    async def run(self) -> None:
        """Tell what changes, for ever."""
        while True:
            rest = max(0.0, self._all_told + _QUIET_S - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._changed.wait()
            try:
                self._beat(self._clock())
            except Exception:
                _logger.exception("a beat failed by a fault of ours; the next one comes")
            gap = self._next_gap()
            due = self._clock() + gap
            await asyncio.sleep(gap)
            now = self._clock()
            self.strain.beat(now - due, gap, now)
            self._counts.strain = self.strain.level

    def touched(self, instance: Instance) -> None:
        """Note that an instance or its figures changed; who was placed here is nobody else's."""
        if instance.feed is not Feed.NONE:
            self._figures.stale(instance.key)
            self._dirty[instance.key] = instance
            self._changed.set()

    def left(self, change: Change) -> None:
        """Note that an instance is gone."""
        number = self._figures.left(change.instance.key)
        self._dirty.pop(change.instance.key, None)
        for follower in self._followers:
            follower.left(change, number)
        self._changed.set()

    async def follow(self, wish: WatchRequest) -> AsyncIterator[bytes]:
        """Yield frames: a snapshot, then one whenever something changed, else each second."""
        follower = Follower(wish.gateway, tuple(wish.subsvc), self._table)
        news = self._followers[follower] = asyncio.Event()
        try:
            while True:
                news.clear()
                self._counts.frames += 1
                yield follower.take(
                    self._table, self._figures, self._documents, self._epoch, self._clock()
                )
                await news.wait()
        finally:
            del self._followers[follower]

    def _beat(self, now: float) -> None:
        """Let all know what changed since the last beat; now and then, that nothing did."""
        self._changed.clear()
        changed, self._dirty = self._dirty, {}
        quiet = now - self._all_told >= _QUIET_S
        if quiet:
            self._all_told = now
        for follower, news in self._followers.items():
            follower.touched(changed.values())
            if quiet or follower.has_news():
                news.set()

    def _next_gap(self) -> float:
        """Return the time to the next beat: the more there are to tell, the longer."""
        gap = max(self._gap, min(_LONGEST_GAP, len(self._followers) / _FRAMES))
        return self.strain.stretched(gap)
