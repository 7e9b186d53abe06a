"""Every instance that is known: reports in, states and changes out. Pure; `now` is a parameter."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median_low
from typing import Final

from lb.entry import Entry, Usual
from lb.life import BY_LIVE, TRANSITIONS, Change, Event, State
from lb.lives import Lives
from lb.pool import Pool
from lb.report import Feed, Instance, Key, Load, Report

# Medians are found anew so often (seconds), and whenever one of a few instances joins.
_LOOK_S: Final = 0.25
_FEW: Final = 16
# And with each report, until so many requests were served by each of the few: a slot time that one
# request told is no measure for the others.
_SETTLED: Final = 100
# Who sweeps later than this was held up itself.
_STALL_S: Final = 0.5


class _Service:
    """The instances of one service, what is usual among them, and the pool that picks are from."""

    __slots__ = ("entries", "pool", "settled", "usual")

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.settled = False  # whether enough was served to know what is usual
        self.usual = Usual()
        self.pool: Pool | None = None

    def look(self) -> None:
        """Find what is usual now."""
        entries, usual = self.entries.values(), self.usual
        usual.slot_ms = median_low(
            [e.load.service_ms for e in entries if e.load.service_ms] or [1.0]
        )
        served = sum([entry.load.served for entry in entries])
        self.settled = len(entries) > _FEW or served >= _SETTLED * len(entries)
        usual.slots = median_low([entry.instance.best for entry in entries] or [1])
        usual.excess = median_low([entry.excess for entry in entries if entry.compared] or [0.0])


class Told:
    """What reports told, added up: how many, how old they were, how far estimates were off."""

    __slots__ = ("age_s", "error", "reports")

    def __init__(self) -> None:
        self.reports = 0
        self.age_s = self.error = 0.0


class Table:
    """Every instance known, by service. What changes is returned, in order.

    `gateway` is the name under which loaders count this gateway's requests. Seconds: `silence`
    without a report make an instance suspect (one that reports at times: half of `ttl`); after
    `ttl` a suspect is forgotten; a newcomer gets its full share after `ramp`. A table that follows
    a hub does not judge silence itself: `silence` None. `told` is for those who watch us.
    """

    def __init__(
        self,
        gateway: str = "",
        *,
        silence: float | None = 1.5,
        ttl: float = 3.0,
        ramp: float = 10.0,
    ) -> None:
        self._gateway = gateway
        self._silence = silence
        self._ttl = ttl
        self._ramp = ramp
        self._entries: dict[Key, Entry] = {}
        self._services: dict[str, _Service] = {}
        self._looked = 0.0
        self.told = Told()
        self._lives = Lives()
        self._heard: Callable[[Entry], None] | None = None

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def expect(self, keepalive: float) -> None:
        """Take in how often reports are asked for: who is silent for three times that is suspect.

        It never judges sooner than before all loaders can have heard that they may be slower.
        """
        if self._silence is not None:
            self._silence = max(self._silence, 3 * keepalive)
            self._ttl = max(self._ttl, 2 * self._silence)

    def is_over(self, key: Key, epoch: int) -> bool:
        """Return whether an instance lives in another epoch now, that followed this one.

        One of which nobody knows anything better may come back.
        """
        entry = self._entries.get(key)
        return entry is not None and entry.state is State.UP and self._lives.is_over(key, epoch)

    def excuse(self, late: float) -> None:
        """Take in that we stood still for so many seconds: nobody's silence was theirs."""
        if late > _STALL_S:
            for entry in self._entries.values():
                entry.seen += late

    def listen(self, heard: Callable[[Entry], None]) -> None:
        """Let `heard` be told of each entry that joined or took in a report."""
        self._heard = heard

    def get(self, key: Key) -> Entry | None:
        """Return the entry of an instance, or None."""
        return self._entries.get(key)

    def service(self, service_id: str) -> list[Entry]:
        """Return the entries of one service, in the order they joined."""
        service = self._services.get(service_id)
        return list(service.entries.values()) if service is not None else []

    def pool(self, service_id: str, digest: str, now: float) -> Pool:
        """Return those of a service that may be picked and speak the schema of that digest.

        An instance that tells no digest speaks any. The pool stays the same until an instance
        comes, goes, or changes its state.
        """
        service = self._services.get(service_id)
        if service is None:
            return Pool(digest)
        pool = service.pool
        if pool is None or now >= pool.until or pool.digest != digest:
            if pool is not None:
                pool.clear()
            service.pool = pool = Pool(digest)
            pool.fill(service.entries.values(), now)
        return pool

    def renew(self, service_id: str) -> None:
        """Let the pool of a service be made anew at the next pick: somebody's health changed."""
        service = self._services.get(service_id)
        if service is not None and service.pool is not None:
            service.pool.until = 0.0

    def place(self, instance: Instance, now: float) -> None:
        """Put an instance that does not report; it stays."""
        self._put(Entry(replace(instance, feed=Feed.NONE), Load(), State.UP, now), now)

    def tell(self, instance: Instance, load: Load, now: float) -> None:
        """Take in the load of an instance that was placed, told now and then by other means."""
        entry = self._entries.get(instance.key)
        if entry is not None and load.seq > entry.load.seq:
            entry.take_in(entry.instance, load, -1, now)
            entry.feed = Feed.AT_TIMES
            service = self._services[instance.service]
            entry.judge(service.usual, self._ramp, now)
            if self._heard is not None:
                self._heard(entry)

    def apply(self, report: Report, now: float) -> list[Change]:
        """Take in a report. A stale one (same epoch, `seq` not higher) is dropped.

        A new epoch is a new process: the old one is gone, the new one starts with fresh counts.
        """
        instance, load = report.instance, report.load
        key = instance.key
        entry = self._entries.get(key)
        event = BY_LIVE[load.live]
        held = load.held.get(self._gateway, 0) if load.held is not None else -1
        if entry is not None and entry.instance.feed is Feed.NONE:
            return []  # the operator placed it, and it stays
        if entry is not None and entry.instance.epoch == instance.epoch:
            if load.seq <= entry.load.seq:
                return []
            same = entry.instance.digest == instance.digest
            before = entry.queue()
            entry.take_in(instance, load, held, now)
            self.told.reports += 1
            self.told.error += abs(entry.queue() - before)
            service = self._services[instance.service]
            if not service.settled:
                self._look(service, now)
            entry.judge(service.usual, self._ramp, now)
            if not same:
                self.renew(instance.service)
            moved = self._move(entry, event, now)
            if self._heard is not None:
                self._heard(entry)
            return moved
        after = TRANSITIONS.get((State.GONE, event))
        if after is None or self.is_over(key, instance.epoch):
            return []
        changes: list[Change] = []
        if entry is not None:
            self._lives.end(key, entry.instance.epoch)
            changes = self._drop(entry, Event.REPLACED)
        fresh = Entry(instance, load, after, now)
        fresh.reason = event
        fresh.ghosts = max(0, held)  # it was here before: what is ours there runs on
        fresh.take_in(instance, load, held, now)
        self._put(fresh, now)
        if self._heard is not None:
            self._heard(fresh)
        return [*changes, Change(instance, State.GONE, after, event)]

    def lose(self, key: Key, epoch: int, event: Event, now: float) -> list[Change]:
        """Take in that an instance's reports stopped coming; of an older epoch it means nothing."""
        entry = self._entries.get(key)
        if entry is None or entry.instance.epoch != epoch:
            return []
        return self._move(entry, event, now)

    def fade(self, key: Key) -> None:
        """Take in that nobody tells of an instance any more: what was told grows old."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.fade()

    def forget(self, key: Key, epoch: int, reason: Event) -> list[Change]:
        """Take in from a hub that an instance is gone, whatever was thought of it here."""
        entry = self._entries.get(key)
        if entry is None or entry.instance.epoch != epoch:
            return []
        return self._drop(entry, reason)

    def expire(self, now: float) -> list[Change]:
        """Let time pass: the silent turn suspect, suspects are forgotten, newcomers grow."""
        changes = []
        for entry in self:
            feed = entry.instance.feed
            if feed is Feed.NONE:
                continue
            age = now - entry.seen
            if self._silence is not None:
                quiet = self._silence if feed is Feed.LIVE else self._ttl / 2
                if age > quiet and entry.state is not State.SUSPECT:
                    changes += self._move(entry, Event.SILENT, now)
                    continue
            silent = entry.reason is Event.SILENT
            if (age if silent else now - entry.since) > self._ttl:
                changes += self._move(entry, Event.EXPIRED, now)
        if now - self._looked >= _LOOK_S:
            self._looked = now
            for service in self._services.values():
                self._look(service, now)
        return changes

    def _look(self, service: _Service, now: float) -> None:
        """Find what is usual, and judge all by it: equals must stay equal."""
        service.look()
        for entry in service.entries.values():
            entry.judge(service.usual, self._ramp, now)

    def _put(self, entry: Entry, now: float) -> None:
        instance = entry.instance
        self._entries[instance.key] = entry
        service = self._services.get(instance.service)
        if service is None:
            service = self._services[instance.service] = _Service()
        service.entries[instance.key] = entry
        if len(service.entries) <= _FEW:
            service.look()
        entry.judge(service.usual, self._ramp, now)
        self.renew(instance.service)

    def _move(self, entry: Entry, event: Event, now: float) -> list[Change]:
        before, after = entry.state, TRANSITIONS.get((entry.state, event))
        if after is None or after is before:
            return []
        if after is State.GONE:
            return self._drop(entry, event)
        entry.state, entry.since, entry.reason = after, now, event
        if event is Event.HUB_FORGOT:
            entry.fade()
        if event is Event.SILENT:
            # What it holds is not known any more: it is no better than most.
            peers = self._services[entry.instance.service].entries.values()
            usual = median_low([peer.foreign for peer in peers])
            entry.foreign = max(entry.foreign, usual)
        self.renew(entry.instance.service)
        return [Change(entry.instance, before, after, event)]

    def _drop(self, entry: Entry, reason: Event) -> list[Change]:
        instance, before = entry.instance, entry.state
        entry.state, entry.reason = State.GONE, reason
        del self._entries[instance.key]
        service = self._services[instance.service]
        del service.entries[instance.key]
        if not service.entries:
            if service.pool is not None:
                service.pool.clear()
            del self._services[instance.service]
        else:
            self.renew(instance.service)
        return [Change(instance, before, State.GONE, reason)]
