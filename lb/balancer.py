"""The picker a gateway asks: a table, a policy, tickets that count. No await, no RPC. Pure."""

from collections.abc import Callable, Collection
from functools import partial
from random import Random
from types import TracebackType
from typing import Final, Self

from lb.affinity import keep
from lb.budget import RetryBudget
from lb.entry import Entry
from lb.health import Standing
from lb.line import Later, Line, Waiter
from lb.pick import OwnFirst
from lb.policy import Policy
from lb.report import Feed, Instance
from lb.table import Table
from schemas.errors import (
    CLIENT_GONE,
    DEADLINE,
    LOADER_FULL,
    NO_INSTANCE,
    UNREACHABLE,
    AseError,
    ErrorSource,
    ErrorSpec,
)

# What was asked for is not waited for any more, yet may still run.
_GIVEN_UP: Final = (CLIENT_GONE, DEADLINE)
# One pick of 1,024 is timed.
_TIMED: Final = 1023


class Ticket:
    """A place at an instance: counted when given, given back exactly once, whatever happens."""

    __slots__ = ("_balancer", "_began", "_entry", "_expected_ms", "_given_back", "_policy")

    def __init__(self, balancer: "Balancer", policy: Policy, entry: Entry, now: float) -> None:
        self._balancer = balancer
        self._policy = policy
        self._entry = entry
        self._began = now
        self._given_back = False
        self._expected_ms = entry.expected_ms()
        entry.asked += 1
        entry.inflight += 1
        entry.settle()

    @property
    def instance(self) -> Instance:
        """Return the instance that the place is at."""
        return self._entry.instance

    def release(
        self, fault: ErrorSpec | None = None, *, given_up: bool = False, lasting: bool = False
    ) -> None:
        """Give the place back; a second time does nothing.

        `fault` tells how the request ended, None: well. `given_up`: nobody waited for its end.
        `lasting`: it was a session, whose length says nothing of the instance's speed.
        """
        if self._given_back:
            return
        self._given_back = True
        entry = self._entry
        entry.inflight -= 1
        if given_up and entry.feed is not Feed.NONE:
            entry.ghosts += 1
        entry.settle()
        balancer = self._balancer
        now = balancer.clock()
        good = fault is None and not given_up
        self._policy.ended(entry, now - self._began, now, good and not lasting)
        if good and not lasting:
            if entry.instance.feed is Feed.NONE:
                entry.learn(now - self._began, now)
            else:
                entry.compare((now - self._began) * 1000, self._expected_ms, now)
        balancer.ended(entry, fault, given_up, now)

    def unused(self) -> None:
        """Give the place back: nothing was sent, so it tells nothing of the instance."""
        if self._given_back:
            return
        self._given_back = True
        self._entry.inflight -= 1
        self._entry.settle()
        self._balancer.unused(self._entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.release()
        elif isinstance(error, AseError):
            self.release(error.spec, given_up=error.spec in _GIVEN_UP)
        else:
            self.release(given_up=True)

    def __del__(self) -> None:
        if not self._given_back:
            self._balancer.counts.dropped += 1
            self.release(given_up=True)


class PickCounts:
    """What a balancer counted since it began.

    `dropped`: tickets that nobody gave back, each a fault of ours. `timed` picks took `timed_s`.
    """

    __slots__ = ("dropped", "ejections", "picks", "timed", "timed_s", "waits")

    def __init__(self) -> None:
        self.picks = self.waits = self.dropped = self.timed = 0
        self.timed_s = 0.0
        self.ejections: dict[str, int] = {}


class Balancer:
    """Picks among the instances of a table by a policy.

    `policy` makes one for each service. `clock` gives seconds that never step back,
    `later(s, call)` calls after so many. `most` may wait for room at a time, of all services.
    `on_health` is told when an instance's standing changed.
    """

    def __init__(
        self,
        table: Table,
        policy: Callable[[], Policy],
        *,
        clock: Callable[[], float],
        rng: Random,
        later: Later,
        most: int = 256,
        on_health: Callable[[Entry], None] | None = None,
    ) -> None:
        self._table = table
        self._new_policy = policy
        self._policies: dict[str, Policy] = {}
        self.clock = clock
        self._rng = rng
        self._later = later
        self._most = most
        self._on_health = on_health
        self._lines: dict[str, Line] = {}
        self._budget = RetryBudget()
        self.counts = PickCounts()
        table.listen(self._heard)

    def acquire(
        self, service_id: str, digest: str, exclude: Collection[str] = (), key: str = "", /
    ) -> Ticket:
        """Return a ticket for the best instance of a service whose schema is the active one.

        An instance that tells no digest follows the gateway's own schema. `exclude` are addresses
        tried before. Requests of one `key` go to few instances (`lb/affinity.py`). Raises AseError
        20002 when no live instance is left, 10110 when each holds all it takes.
        """
        if self._lines:
            line = self._lines.get(service_id)
            if line is not None and len(line):  # others came before
                line.room()
                raise AseError(LOADER_FULL)
        self._budget.request()
        counts = self.counts
        counts.picks += 1
        if counts.picks & _TIMED:
            return self._acquire(service_id, digest, exclude, key)
        began = self.clock()
        ticket = self._acquire(service_id, digest, exclude, key)
        counts.timed += 1
        counts.timed_s += self.clock() - began
        return ticket

    def waiting(self) -> int:
        """Return how many requests wait for room."""
        return sum(map(len, self._lines.values()))

    def stood_on(self) -> tuple[int, int]:
        """Return how many picks stood on reports, and on own load alone, where a policy tells."""
        ours = [policy for policy in self._policies.values() if isinstance(policy, OwnFirst)]
        return sum(told.by_report for told in ours), sum(told.by_own for told in ours)

    def wait(
        self,
        service_id: str,
        digest: str,
        key: str,
        seconds: float,
        ahead: bool,
        done: Callable[[Waiter], None],
        /,
    ) -> Waiter:
        """Wait for a place for so many seconds at most; `done` is told when it is over.

        One that had its turn, and was refused by an instance that seemed to have room, waits
        `ahead` of the others.
        """
        line = self._lines.get(service_id)
        if line is None:
            again = partial(self._acquire, service_id)
            line = self._lines[service_id] = Line(again, self.clock, self._later)
        self.counts.waits += 1
        patience = seconds if self.waiting() < self._most else 0.0
        return line.join(digest, key, patience, done, ahead=ahead)

    def may_retry(self) -> bool:
        """Return whether a request may be tried elsewhere, and count it."""
        return self._budget.retry(self.clock())

    def _acquire(self, service_id: str, digest: str, exclude: Collection[str], key: str) -> Ticket:
        now = self.clock()
        pool = self._table.pool(service_id, digest, now)
        policy = self._policies.get(service_id)
        if policy is None:
            policy = self._policies[service_id] = self._new_policy()
        entry = pool.trial(now) if pool.trials and not exclude else None
        tried = entry is not None
        if entry is None:
            entry = policy.choose(pool, now, exclude)
        if entry is None:
            others = " that speaks the active schema" if self._table.service(service_id) else ""
            raise AseError(NO_INSTANCE, f"no live instance of service {service_id!r}{others}")
        if key and not tried:
            entry = keep(pool.members, entry, key, exclude, now)
        if not entry.has_room(now):
            raise AseError(LOADER_FULL)
        return Ticket(self, policy, entry, now)

    def ended(self, entry: Entry, fault: ErrorSpec | None, given_up: bool, now: float, /) -> None:
        """Take in how a request ended: what it says of the instance's health."""
        good = fault is None and not given_up
        health = entry.health
        if good or (fault is not None and fault.source is ErrorSource.CALLER and not given_up):
            changed = health.good(now)
        elif fault is None or fault is CLIENT_GONE:
            changed = health.standing is Standing.TRIED  # it told nothing; another may try
        elif fault is LOADER_FULL:
            entry.refused(now)
            changed = health.standing is Standing.TRIED
        elif fault is UNREACHABLE:
            changed = health.unreachable(now, self._rng)
        else:
            changed = health.bad(now, self._rng)
        if changed:
            self._moved(entry)
        if self._lines:
            line = self._lines.get(entry.instance.service)
            if line is not None:
                line.room()

    def unused(self, entry: Entry, /) -> None:
        """Take in that a place was given back that nothing was sent to."""
        if entry.health.standing is Standing.TRIED:
            self._table.renew(entry.instance.service)
        line = self._lines.get(entry.instance.service)
        if line is not None:
            line.room()

    def _moved(self, entry: Entry) -> None:
        """Take in that an instance's standing changed."""
        health = entry.health
        self._table.renew(entry.instance.service)
        if health.standing is Standing.EJECTED:
            reason = health.reason.value
            self.counts.ejections[reason] = self.counts.ejections.get(reason, 0) + 1
        if self._on_health is not None:
            self._on_health(entry)

    def _heard(self, entry: Entry) -> None:
        """Take in that an instance joined or reported: how it fares, and room for who waits.

        All gateways hear of the same room at the same time: each takes its share.
        """
        load, now = entry.load, self.clock()
        if entry.health.told(load.served, load.errors, now, self._rng):
            self._moved(entry)
        if not self._lines:
            return
        line = self._lines.get(entry.instance.service)
        if line is None or not len(line) or not entry.has_room(now):
            return
        share = (entry.inflight + 1) / (entry.inflight + entry.foreign + 1)
        if self._rng.random() < share:
            line.room()
