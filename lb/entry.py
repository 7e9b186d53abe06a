"""One instance as a gateway sees it: what it reported, what this gateway has there. Pure.

The queue of an instance is what others have there, by its last report, and what this gateway has
there, which it knows exactly: `foreign + inflight`. A report tells how many of its requests are
this gateway's (`held`), so that nothing is counted twice, nothing that ended is waited for, and no
counter can drift (reference "load-balancing" 6.5.1 corrects by `sent - acc`, which cannot see what
has ended since).
"""

from math import exp, log, sqrt
from typing import Any, Final, Protocol
from zlib import crc32

from lb.health import Health
from lb.life import Event, State
from lb.report import Feed, Instance, Load

# A slot time is believed when this many requests told it, the last one so many seconds ago. A cold
# start, or a bad moment, must not mark a loader as slow for ever: nothing would be sent there to
# prove it wrong.
_ENOUGH: Final = 20
_FRESH_S: Final = 5.0
# Slot times this close to the fleet's are the fleet's: what is left is noise, and of a tenth of a
# millisecond it is the machine's.
_ALIKE: Final = 0.15
_ALIKE_MS: Final = 0.1
# One request at an instance of the fleet's pace raises its level by so much.
_STEP: Final = 8
_MAX_STEP: Final = 64
_MAX_LEVEL: Final = 4095
# With this part of its licences a newcomer begins.
_RAMP_FROM: Final = 0.1
# One that refused a request is left alone for so long at least, where no report tells of room.
_LEAST_FULL_S: Final = 0.01
# Of the durations of an instance that does not report, the last counts for so much.
_SMOOTHING: Final = 1 / 16
# What was expected is compared with what came, as a mean of logarithms over about so many answers.
# Where they took twice as long as elsewhere, and more than chance would have it (two deviations of
# that mean, for exponential times), what the instance reports is not so.
# A millisecond is allowed to all for the way there and back. One answer, however late, moves the
# mean by so much at most: a hiccup tells nothing. And doubt, like belief, wants fresh answers.
_COMPARED: Final = 32
_MOST_OFF: Final = 2.0
_WAY_MS: Final = 1.0
_DOUBT: Final = log(2)
_CHANCE: Final = 2.6


# Numbers of 31 bits: products of two are machine words where this is compiled.
MASK: Final = 0x7FFFFFFF


def mark(text: str) -> int:
    """Return a number that stands for an address, or a key, in every process alike."""
    return crc32(text.encode("utf-8", "surrogatepass")) & MASK


class Usual:
    """What is usual among the instances of a service: medians.

    `slot_ms`, `slots` (licences), and `excess`: how much longer answers take than was expected, as
    a logarithm.
    """

    __slots__ = ("excess", "slot_ms", "slots")

    def __init__(self) -> None:
        self.slot_ms = 1.0
        self.slots = 1
        self.excess = 0.0


class Levels(Protocol):
    """The pool that an instance is a member of, where it stands by its own load."""

    def move(self, entry: "Entry", level: int) -> None:
        """Put a member on another level."""


class Entry:
    """One instance, its figures and its counts.

    `foreign`: requests of others there, running or queued, by the last report. `inflight`: this
    gateway's unanswered ones. `ghosts`: those it gave up, which may still run there. `asked`:
    tickets ever. `feed` is how reports come at present: NONE while the hub is away. In `now`'s
    seconds: `seen` is when it last reported, `since` when its state last changed, `born` when it
    was first heard of, `worked` when it last was told to have served, `full_until` until when a
    refusal counts. What the pick reads: `slot_ms` (how long a licence is held there), `slots`
    (licences that are counted on), `limit` (requests it takes at most), `step` and `level` (of own
    load). `doubt`: its slot time is so many times what it reports (`compare`). `note` is the
    policy's. `mark` stands for its address in a key's order (`lb/affinity.py`). `promised`: times
    it was told to who asks for addresses, since it last reported.
    """

    __slots__ = (
        "asked", "born", "cold", "compared", "compared_at", "doubt", "excess", "feed", "foreign",
        "full_until", "ghosts", "health", "inflight", "instance", "level", "limit", "load", "mark",
        "note", "pool", "promised", "reason", "seen", "since", "slot_ms", "slots", "spot", "state",
        "step", "worked",
    )  # fmt: skip

    def __init__(self, instance: Instance, load: Load, state: State, now: float) -> None:
        self.instance = instance
        self.load = load
        self.mark = mark(instance.addr)
        self.state = state
        self.reason = Event.REPORTED_UP
        self.seen = self.since = self.born = now
        self.worked = self.full_until = self.compared_at = 0.0
        self.feed = instance.feed
        self.cold = instance.feed is not Feed.NONE and load.served == 0
        self.foreign = self.inflight = self.ghosts = self.asked = self.promised = 0
        self.compared = 0
        self.excess = 0.0
        self.doubt = 1.0
        self.health = Health()
        self.slot_ms = load.service_ms
        self.slots = instance.best
        self.limit = instance.total
        self.step = _STEP
        self.level = 0
        self.pool: Levels | None = None
        self.note: Any = None
        self.spot = 0  # in its level

    def queue(self) -> int:
        """Return the requests this instance holds, queued ones too, as far as can be known."""
        return self.foreign + self.inflight + self.ghosts

    def has_room(self, now: float) -> bool:
        """Return whether a request may be sent here.

        What was reported counts as long as changes are: by an old report an instance would be full
        for ever.
        """
        if self.feed is Feed.LIVE:
            return self.foreign + self.inflight + self.ghosts < self.limit
        return self.inflight + self.ghosts < self.limit and now >= self.full_until

    def refused(self, now: float) -> None:
        """Take in that it holds all it takes: until it reports, or for the time of a slot."""
        if self.feed is Feed.LIVE:
            self.foreign = max(self.foreign, self.limit - self.inflight)
        else:
            self.full_until = now + max(_LEAST_FULL_S, self.slot_ms / 1000)

    def expected_ms(self) -> float:
        """Return the delay a request would meet here, in milliseconds.

        Slot time times (1 + rounds to wait): reference "load-balancing" 6.5.2. Of instances
        without a queue, the less occupied one is better by a thousandth.
        """
        slots = self.slots
        queue = self.foreign + self.inflight + self.ghosts
        ahead = queue - slots + 1
        if ahead < 0:
            ahead = 0
        return self.slot_ms * (1.0 + (ahead + queue / 1000) / slots)

    def is_only_silent(self) -> bool:
        """Return whether a suspect may still be picked: nothing says that it is gone."""
        return self.reason is Event.SILENT or self.reason is Event.HUB_FORGOT

    def is_untried(self) -> bool:
        """Return whether nobody has asked this instance anything yet, as far as can be known."""
        untried = not self.asked and not self.load.served and not self.queue()
        return untried and self.instance.feed is not Feed.NONE

    def take_in(self, instance: Instance, load: Load, held: int, now: float) -> None:
        """Take in a newer report.

        `held` of its requests are this gateway's; -1 when it does not tell: then all that this
        gateway has there are thought to be among them. Of those given up, no more can still run
        than it has beyond the unanswered ones.
        """
        if load.served != self.load.served:
            self.worked = now
        if instance != self.instance:  # else the same object, by which who follows knows it
            self.instance = instance
        self.load, self.seen, self.feed = load, now, instance.feed
        self.promised = 0
        self.foreign = max(0, load.running + load.queued - (self.inflight if held < 0 else held))
        if self.ghosts:
            self.ghosts = min(self.ghosts, max(0, held - self.inflight))

    def fade(self) -> None:
        """Stand on own counts alone until it is heard of again."""
        self.feed = Feed.NONE
        self.foreign = self.ghosts = 0

    def compare(self, took_ms: float, expected_ms: float, now: float) -> None:
        """Compare how long an answer took with what was expected when it was asked for."""
        off = log((took_ms + _WAY_MS) / (expected_ms / self.doubt + _WAY_MS))
        self.compared += 1
        self.compared_at = now
        self.excess += min(off - self.excess, _MOST_OFF) / min(self.compared, _COMPARED)

    def judge(self, usual: Usual, ramp: float, now: float) -> None:
        """Bring what the pick reads up to date.

        The usual slot time stands for an instance's own where that is told by few requests, or by
        none of late, or is much the same. Where answers take longer than reports make expect, and
        not elsewhere, the reports are doubted: it counts as slower by as much. A newcomer is
        counted on for a part of its licences, that grows for `ramp` seconds.
        """
        instance, load, fleet_ms = self.instance, self.load, usual.slot_ms
        beyond = self.excess - usual.excess
        chance = _CHANCE / sqrt(min(self.compared, _COMPARED) or 1)
        fresh = now - self.compared_at <= _FRESH_S
        doubted = self.compared and fresh and beyond > _DOUBT + chance
        told = load.service_ms
        believed = told > 0 and load.served >= _ENOUGH and now - self.worked <= _FRESH_S
        alike = abs(told - fleet_ms) <= fleet_ms * _ALIKE + _ALIKE_MS
        slot_ms = told if believed and not alike else fleet_ms
        self.doubt = ((slot_ms + _WAY_MS) * exp(beyond) - _WAY_MS) / slot_ms if doubted else 1.0
        self.slot_ms = slot_ms = slot_ms * self.doubt
        self.limit = instance.total
        self.slots = instance.best
        if self.cold:
            age = now - self.born
            if age >= ramp:
                self.cold = False
            else:
                part = _RAMP_FROM + (1 - _RAMP_FROM) * age / ramp
                self.slots = max(1, int(instance.best * part))
        pace = _STEP * slot_ms * usual.slots / (fleet_ms * self.slots)
        self.step = max(1, round(pace)) if pace < _MAX_STEP else _MAX_STEP
        self.settle()

    def settle(self) -> None:
        """Let the pool know that the own load may have changed."""
        level = min(self.inflight * self.step, _MAX_LEVEL)
        if level != self.level:
            pool = self.pool
            if pool is None:
                self.level = level
            else:
                pool.move(self, level)

    def learn(self, seconds: float, now: float) -> None:
        """Learn from an answer how long an instance takes that does not tell it itself."""
        self.worked = now
        told = seconds * 1000
        old = self.load.service_ms or told
        smooth = old + (told - old) * _SMOOTHING
        self.load = Load(service_ms=smooth, served=self.load.served + 1)
