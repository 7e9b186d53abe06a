"""When which item is due: thousands added and removed for each that ever comes due. Pure.

Times are cut to ticks; an item comes due at the end of its tick: never early, a tick late at most.
"""

from math import ceil
from typing import Generic, TypeVar

Item = TypeVar("Item")

TICK = 0.01  # seconds


class Deadlines(Generic[Item]):
    """Items by when they are due; an item has one deadline at a time."""

    def __init__(self) -> None:
        self._ticks: dict[int, set[Item]] = {}

    def add(self, item: Item, when: float) -> int:
        """Add an item; return its tick, by which it is removed."""
        tick = ceil(when / TICK)
        items = self._ticks.get(tick)
        if items is None:
            self._ticks[tick] = {item}
        else:
            items.add(item)
        return tick

    def remove(self, item: Item, tick: int) -> None:
        """Remove an item; one that came due, or was never here, is no matter."""
        items = self._ticks.get(tick)
        if items is not None:
            items.discard(item)
            if not items:
                del self._ticks[tick]

    def next(self) -> float | None:
        """Return when to ask `due` next; None while there is nothing."""
        return min(self._ticks) * TICK if self._ticks else None

    def due(self, now: float) -> list[Item]:
        """Return the items that are due, and forget them."""
        ticks = sorted(tick for tick in self._ticks if tick * TICK <= now)
        return [item for tick in ticks for item in self._ticks.pop(tick)]
