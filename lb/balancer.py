"""The picker a gateway asks: a table, a policy, tickets that count. No await, no RPC. Pure."""

from collections.abc import Collection
from random import Random
from types import TracebackType
from typing import Self

from lb.pick import pick
from lb.report import Instance
from lb.table import Entry, Table
from schemas.errors import NO_INSTANCE, AseError


class Ticket:
    """A place at an instance: counted when given, given back exactly once, whatever happens."""

    __slots__ = ("_entry", "_given_back")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._given_back = False
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
        nothing_ran = isinstance(error, AseError) and error.fault.retry
        self.release(accepted=not nothing_ran)


class Balancer:
    """Picks among the instances of a table on behalf of the gateway of that name."""

    def __init__(self, table: Table, *, gateway: str, rng: Random) -> None:
        self._table = table
        self._gateway = gateway
        self._rng = rng

    def acquire(self, service_id: str, digest: str, exclude: Collection[str] = ()) -> Ticket:
        """Return a ticket for the best instance of a service whose schema is the active one.

        An instance that tells no digest follows the gateway's own schema. `exclude` are addresses
        tried before. Raises AseError 20002 when no live instance is left.
        """
        fitting = [
            entry
            for entry in self._table.service(service_id)
            if entry.instance.digest in ("", digest)
        ]
        entry = pick(fitting, gateway=self._gateway, rng=self._rng, exclude=exclude)
        if entry is None:
            raise AseError(NO_INSTANCE, f"no live instance of service {service_id!r}")
        return Ticket(entry)
