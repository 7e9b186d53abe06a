"""What is known of every instance: reports in, states and changes out. Pure; `now` is a parameter.

The life of an instance is the table TRANSITIONS; an event that has no row there changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from lb.report import Instance, Key, Live, Load, Report


class State(Enum):
    """Where an instance stands."""

    UP = "up"
    DRAINING = "draining"
    SUSPECT = "suspect"
    GONE = "gone"


class Event(Enum):
    """What can befall an instance; the value is the reason told in logs and metrics."""

    REPORTED_UP = "reported"
    REPORTED_DRAINING = "draining"
    REPORTED_DOWN = "left"
    STREAM_LOST = "stream_lost"
    SILENT = "silent"
    HUB_FORGOT = "hub_forgot"
    REPLACED = "replaced"
    EXPIRED = "expired"


_UP: Final = State.UP
_DRAINING: Final = State.DRAINING
_SUSPECT: Final = State.SUSPECT
_GONE: Final = State.GONE

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (_GONE, Event.REPORTED_UP): _UP,
    (_GONE, Event.REPORTED_DRAINING): _DRAINING,
    (_UP, Event.REPORTED_DRAINING): _DRAINING,
    (_UP, Event.REPORTED_DOWN): _GONE,
    (_UP, Event.STREAM_LOST): _SUSPECT,
    (_UP, Event.SILENT): _SUSPECT,
    (_UP, Event.HUB_FORGOT): _SUSPECT,
    (_DRAINING, Event.REPORTED_UP): _UP,
    (_DRAINING, Event.REPORTED_DOWN): _GONE,
    (_DRAINING, Event.STREAM_LOST): _GONE,
    (_DRAINING, Event.SILENT): _GONE,
    (_DRAINING, Event.HUB_FORGOT): _GONE,
    (_SUSPECT, Event.REPORTED_UP): _UP,
    (_SUSPECT, Event.REPORTED_DRAINING): _DRAINING,
    (_SUSPECT, Event.REPORTED_DOWN): _GONE,
    (_SUSPECT, Event.EXPIRED): _GONE,
}

_BY_LIVE: Final = {
    Live.UP: Event.REPORTED_UP,
    Live.DRAINING: Event.REPORTED_DRAINING,
    Live.DOWN: Event.REPORTED_DOWN,
}


@dataclass(frozen=True, slots=True)
class Change:
    """An instance moved from one state to another, and why."""

    instance: Instance
    before: State
    after: State
    reason: Event

    def facts(self) -> dict[str, str]:
        """Return the change as the fields of a log line."""
        return {
            "service": self.instance.service,
            "instance": self.instance.addr,
            "before": self.before.value,
            "after": self.after.value,
            "reason": self.reason.value,
        }


@dataclass(slots=True)
class Entry:
    """One instance as this process sees it.

    `sent`, `inflight` and `asked` are this gateway's own: requests sent in this epoch, those
    unanswered, and tickets ever given; `accepted` is how many of `sent` the last report covers.
    `seen` is when it last reported, `since` when its state last changed, `worked` when it last was
    told to have served, `shunned` until when it is left alone since it could not be reached (all in
    `now`'s seconds).
    """

    instance: Instance
    load: Load
    state: State
    seen: float
    since: float
    reason: Event = Event.REPORTED_UP
    accepted: int = 0
    sent: int = 0
    inflight: int = 0
    asked: int = 0
    worked: float = 0.0
    shunned: float = 0.0

    def queue(self) -> int:
        """Return the requests this instance holds, queued ones too, as far as can be known.

        The report's figure, plus what this gateway sent that the report cannot have counted yet:
        sent minus accepted, and never more than is unanswered. So a lost request is not counted
        for ever, and no report overwrites what is on its way (load-balancing 6.5.1).
        """
        if self.instance.epoch == 0:
            return self.inflight
        unseen = max(0, min(self.sent - self.accepted, self.inflight))
        return self.load.running + self.load.queued + unseen

    def take_in(self, report: Report, accepted: int, now: float) -> None:
        """Take in a newer report, which covers `accepted` of our requests.

        With none unanswered, what was sent and what was accepted must be the same; where they are
        not, requests were lost on the way.
        """
        if report.load.served != self.load.served:
            self.worked = now
        self.instance, self.load, self.seen, self.accepted = (
            report.instance, report.load, now, accepted,
        )  # fmt: skip
        if self.inflight == 0:
            self.sent = accepted


class Table:
    """Every instance known, by service. What changes is returned, in order.

    `gateway` is the name under which loaders count this gateway's requests. `silence`: seconds
    without a report that make an instance suspect (None: never, as in a gateway that follows a
    hub). `ttl`: seconds after which a suspect is forgotten.
    """

    def __init__(self, gateway: str = "", *, silence: float | None = 1.5, ttl: float = 3.0) -> None:
        self._gateway = gateway
        self._silence = silence
        self._ttl = ttl
        self._entries: dict[Key, Entry] = {}
        self._by_service: dict[str, dict[Key, Entry]] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        """Return the entry of an instance, or None."""
        return self._entries.get(key)

    def service(self, service_id: str) -> list[Entry]:
        """Return the entries of one service, in the order they joined."""
        return list(self._by_service.get(service_id, {}).values())

    def place(self, instance: Instance, now: float) -> None:
        """Put an instance that does not report (its epoch is 0); it stays."""
        self._put(Entry(instance, Load(), State.UP, now, now))

    def apply(self, report: Report, now: float) -> list[Change]:
        """Take in a report. A stale one (same epoch, `seq` not higher) is dropped.

        A new epoch is a new process: the old one is gone, the new one starts with fresh counts.
        """
        entry = self._entries.get(report.instance.key)
        event = _BY_LIVE[report.load.live]
        if entry is not None and entry.instance.epoch == 0:
            return []  # the operator placed it, and it stays
        if entry is not None and entry.instance.epoch == report.instance.epoch:
            if report.load.seq <= entry.load.seq:
                return []
            entry.take_in(report, report.load.acc.get(self._gateway, 0), now)
            return self._move(entry, event, now)
        after = TRANSITIONS.get((State.GONE, event))
        if after is None:
            return []
        changes = [] if entry is None else self._drop(entry, Event.REPLACED)
        fresh = Entry(report.instance, report.load, after, now, now, event)
        fresh.take_in(report, report.load.acc.get(self._gateway, 0), now)
        self._put(fresh)
        return [*changes, Change(report.instance, State.GONE, after, event)]

    def lose(self, key: Key, epoch: int, event: Event, now: float) -> list[Change]:
        """Take in that an instance's reports stopped coming; of an older epoch it means nothing."""
        entry = self._entries.get(key)
        if entry is None or entry.instance.epoch != epoch:
            return []
        return self._move(entry, event, now)

    def forget(self, key: Key, epoch: int, reason: Event) -> list[Change]:
        """Take in from a hub that an instance is gone, whatever was thought of it here."""
        entry = self._entries.get(key)
        if entry is None or entry.instance.epoch != epoch:
            return []
        return self._drop(entry, reason)

    def expire(self, now: float) -> list[Change]:
        """Let time pass: the silent turn suspect, suspects are forgotten after `ttl`."""
        changes = []
        for entry in self:
            if entry.instance.epoch == 0:
                continue
            if self._silence is not None and now - entry.seen > self._silence:
                changes += self._move(entry, Event.SILENT, now)
            if now - max(entry.seen, entry.since) > self._ttl:
                changes += self._move(entry, Event.EXPIRED, now)
        return changes

    def _put(self, entry: Entry) -> None:
        key = entry.instance.key
        self._entries[key] = entry
        self._by_service.setdefault(entry.instance.service, {})[key] = entry

    def _move(self, entry: Entry, event: Event, now: float) -> list[Change]:
        before, after = entry.state, TRANSITIONS.get((entry.state, event))
        if after is None or after is before:
            return []
        if after is State.GONE:
            return self._drop(entry, event)
        entry.state, entry.since, entry.reason = after, now, event
        return [Change(entry.instance, before, after, event)]

    def _drop(self, entry: Entry, reason: Event) -> list[Change]:
        instance, before = entry.instance, entry.state
        entry.state, entry.reason = State.GONE, reason
        del self._entries[instance.key]
        peers = self._by_service[instance.service]
        del peers[instance.key]
        if not peers:
            del self._by_service[instance.service]
        return [Change(instance, before, State.GONE, reason)]
