"""Our policy: the least expected delay of four, two of them with the least own load. Pure.

Own counts never go stale and differ from gateway to gateway, so gateways that act on the same
reports do not run to the same instance; reports tell what others have there. Two draws among the
members with the least own load follow the one, two among all the other (reference "load-balancing"
5.5 "mix"; figures in `docs/load-balancing.md`). It costs the same for any number of instances.
"""

from collections.abc import Collection, Iterable
from math import exp
from random import Random
from typing import Final

from lb.entry import Entry
from lb.policy import Unlearned
from lb.pool import Pool
from lb.report import Feed

# How many more are looked at when the best of the draw holds all it takes.
_FURTHER: Final = 16


class OwnFirst(Unlearned):
    """Our default.

    `by_report` and `by_own` count what picks stood on: fresh reports, or own load alone.
    """

    __slots__ = ("_rng", "by_own", "by_report")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.by_report = self.by_own = 0

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Entry | None:
        """Return the least expected delay of four drawn."""
        if exclude:
            return self._another(pool, now, exclude)
        members = pool.members
        size = len(members)
        if size < 2:
            return members[0] if size else None
        peers = pool.levels[pool.lowest]
        few = len(peers)
        chance = self._rng.random() * few
        spot = int(chance)
        best = peers[spot]
        if best.feed is not Feed.LIVE and best.has_room(now) and not self._trusted(best, now):
            self.by_own += 1
            return best
        self.by_report += 1
        least = best.expected_ms()
        chance = (chance - spot) * few
        spot = int(chance)
        entry = peers[spot]
        if entry is not best:
            score = entry.expected_ms()
            if score < least:
                least, best = score, entry
        for _ in range(2):
            chance = (chance - spot) * size
            spot = int(chance)
            entry = members[spot]
            score = entry.expected_ms()
            if score < least:
                least, best = score, entry
        return best if best.has_room(now) else self._further(pool, best, least, now)

    def _trusted(self, entry: Entry, now: float) -> bool:
        """Return whether to stand on the report of an instance that reports at times.

        It is used with probability exp(-age/slot time): an old one ever more seldom (reference
        "load-balancing" 5.3).
        """
        if entry.feed is Feed.NONE:
            return False
        age = (now - entry.seen) * 1000
        return self._rng.random() < exp(-age / max(entry.slot_ms, 0.001))

    def _further(self, pool: Pool, best: Entry, least: float, now: float) -> Entry:
        """Return one with room, of a few more; or the best of those that have none."""
        members = pool.members
        size = len(members)
        spot = int(self._rng.random() * size)
        for _ in range(min(size, _FURTHER)):
            spot = spot + 1 if spot + 1 < size else 0
            entry = members[spot]
            if entry.has_room(now):
                return entry
            score = entry.expected_ms()
            if score < least:
                least, best = score, entry
        return best

    def _another(self, pool: Pool, now: float, exclude: Collection[str]) -> Entry | None:
        """Return the best of two that were not tried before."""
        others = [entry for entry in pool.members if entry.instance.addr not in exclude]
        if not others:
            return None
        one, two = self._rng.choice(others), self._rng.choice(others)
        if not one.has_room(now):
            one = next((entry for entry in others if entry.has_room(now)), one)
        return two if two.has_room(now) and two.expected_ms() < one.expected_ms() else one


def rank(entries: Iterable[Entry]) -> list[Entry]:
    """Return instances, the least expected delay first; equals keep their order."""
    return sorted(entries, key=Entry.expected_ms)
