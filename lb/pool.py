"""The instances of one service that may be picked, arranged so that a pick costs no scan. Pure.

They stand in levels by own load: requests of this gateway there, weighed by how long such a request
holds an instance of that pace. A level is a list; who moves takes the last one's place.
"""

from collections.abc import Iterable
from math import inf

from lb.entry import Entry
from lb.health import Sign, Standing
from lb.life import State


class Pool:
    """What a policy chooses from.

    `members` may be picked; `levels[lowest]` are those with the least own load, never empty while
    there are members. `trials` get the next request, once: newcomers, and those whose ejection is
    over. `until` is when the pool has to be made anew (seconds of `now`), 0 at once.
    `panic`: so many are ejected that ejections are ignored.
    """

    __slots__ = ("digest", "levels", "lowest", "members", "panic", "trials", "until")

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.members: list[Entry] = []
        self.levels: list[list[Entry]] = [[]]
        self.lowest = 0
        self.trials: list[Entry] = []
        self.until = inf
        self.panic = False

    def fill(self, entries: Iterable[Entry], now: float) -> None:
        """Take in the instances of a service, each in its place by its state and its health.

        Those that drain get nothing. Those that could not be reached, or whose report stream broke,
        get something only while nobody else is there: neither need be a dead loader. Those ejected
        for their answers, or with a broken stream, stand aside, unless they are more than the rest.
        """
        good: list[Entry] = []
        out: list[Entry] = []
        lost: list[Entry] = []
        cut: list[Entry] = []
        for entry in entries:
            if entry.instance.digest not in ("", self.digest) or entry.state is State.DRAINING:
                continue
            health = entry.health
            if health.standing is Standing.EJECTED:
                health.wait_over(now)
            if health.standing is Standing.EJECTED:
                self.until = min(self.until, health.until)
            if entry.state is State.SUSPECT and not entry.is_only_silent():
                cut.append(entry)
            elif health.standing is Standing.IN:
                good.append(entry)
            elif health.standing is Standing.TRIED:
                if not entry.inflight:  # one is under way
                    self.trials.append(entry)
            else:
                (lost if health.reason is Sign.UNREACHABLE else out).append(entry)
        self.panic = len(out) > len(good)
        if self.panic:
            good += out
        if len(cut) > len(good) + len(self.trials):  # more likely a hub's fault than theirs
            good += cut
        else:
            lost += cut
        for entry in good or self.trials or lost:
            self._add(entry)
        self.trials += [entry for entry in good if entry.is_untried()]

    def trial(self, now: float) -> Entry | None:
        """Return who gets this request whatever the policy says: it is to be tried, once.

        One without room waits for its turn; a newcomer that others asked meanwhile is not new.
        """
        for number, entry in enumerate(self.trials):
            if entry.health.standing is Standing.TRIED:
                if entry.has_room(now):
                    return self.trials.pop(number)
            elif entry.is_untried():
                return self.trials.pop(number)
        return None

    def clear(self) -> None:
        """Let go of everyone."""
        for entry in self.members:
            entry.pool = None
        self.members, self.trials, self.levels, self.lowest = [], [], [[]], 0

    def move(self, entry: Entry, level: int) -> None:
        """Put a member on another level."""
        levels = self.levels
        peers = levels[entry.level]
        last = peers.pop()
        if last is not entry:
            peers[entry.spot] = last
            last.spot = entry.spot
        while len(levels) <= level:
            levels.append([])
        self._stand(entry, level)
        lowest = self.lowest
        if level < lowest:
            self.lowest = level
        elif not levels[lowest]:
            while not levels[lowest]:
                lowest += 1
            self.lowest = lowest

    def _add(self, entry: Entry) -> None:
        entry.pool = self
        self.members.append(entry)
        while len(self.levels) <= entry.level:
            self.levels.append([])
        if len(self.members) == 1 or entry.level < self.lowest:
            self.lowest = entry.level
        self._stand(entry, entry.level)

    def _stand(self, entry: Entry, level: int) -> None:
        peers = self.levels[level]
        entry.level, entry.spot = level, len(peers)
        peers.append(entry)
