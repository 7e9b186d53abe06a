"""The picker a gateway asks: a table, a policy, tickets that count. No await, no RPC. Pure."""

from collections.abc import Callable, Collection
from random import Random
from types import TracebackType
from typing import Final, Self

from lb.pick import pick
from lb.report import Instance
from lb.table import Entry, Table
from schemas.errors import NO_INSTANCE, UNREACHABLE, AseError

# How long an instance is left alone that could not be reached, in seconds.
SHUN_S: Final = 1.0


class Ticket:
    """A place at an instance: counted when given, given back exactly once, whatever happens."""

    __slots__ = ("_clock", "_entry", "_given_back")

    def __init__(self, entry: Entry, clock: Callable[[], float]) -> None:
        self._entry = entry
        self._clock = clock
        self._given_back = False
        entry.asked += 1
        entry.sent += 1
        entry.inflight += 1

    @property
    def instance(self) -> Instance:
        """Return the instance that the place is at."""
        return self._entry.instance

    def release(self, *, accepted: bool = True) -> None:
        """Give the place back; a second time does nothing.

        `accepted` False says that the instance took nothing on (refused, or never reached), so
        that its counter will never cover the request.
        """
        if self._given_back:
            return
        self._given_back = True
        self._entry.inflight -= 1
        if not accepted:
            self._entry.sent -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        fault = error.fault if isinstance(error, AseError) else None
        self.release(accepted=fault is None or not fault.retry)
        if fault is UNREACHABLE:
            self._entry.shunned = self._clock() + SHUN_S


class Balancer:
    """Picks among the instances of a table. `clock` gives seconds that never step back."""

    def __init__(self, table: Table, *, clock: Callable[[], float], rng: Random) -> None:
        self._table = table
        self._clock = clock
        self._rng = rng

    def acquire(self, service_id: str, digest: str, exclude: Collection[str] = (), /) -> Ticket:
        """Return a ticket for the best instance of a service whose schema is the active one.

        An instance that tells no digest follows the gateway's own schema. `exclude` are addresses
        tried before. Raises AseError 20002 when no live instance is left.
        """
        now = self._clock()
        entries = self._table.service(service_id)
        fitting = [entry for entry in entries if entry.instance.digest in ("", digest)]
        entry = pick(fitting, now=now, rng=self._rng, exclude=exclude)
        if entry is None:
            others = " that speaks the active schema" if entries else ""
            raise AseError(NO_INSTANCE, f"no live instance of service {service_id!r}{others}")
        return Ticket(entry, self._clock)
