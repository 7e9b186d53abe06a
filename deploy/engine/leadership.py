"""Which of several deployers works: the one that holds a record, as long as it renews it.

A deployer that does not see the record renewed for `_TAKEOVER_S` of its own clock takes it. So
clocks need not agree. Every write of the leader expects the record as it has last written it
(`guard`): what a leader that was taken for dead writes is refused by the store.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Final, Protocol

from registry.store.interfaces import ConflictError, Store, StoreError, Transaction

_logger = logging.getLogger("ase.deploy")

LEADER: Final = "deployment-leader"
_RENEW_S: Final = 1.0
_TAKEOVER_S: Final = 3.0
# A leader that could not renew for this long stops, before another one begins.
_STOP_S: Final = 2.0


class Leadership(Protocol):
    """Says whether this deployer leads."""

    @property
    def is_leader(self) -> bool:
        """Whether this deployer may act now."""

    def guard(self) -> dict[str, int]:
        """Return what every transaction of the leader must expect."""


class SoleLeadership:
    """The leadership of a deployer whose store nobody else can open."""

    is_leader = True

    def guard(self) -> dict[str, int]:
        """Return nothing: there is no other."""
        return {}


class SharedLeadership:
    """The leadership of one deployer of several. `run` keeps or seeks it; `clock` is monotonic."""

    def __init__(
        self,
        store: Store,
        name: str,
        clock: Callable[[], float],
        on_elected: Callable[[], None],
        interval_s: float = _RENEW_S,
    ) -> None:
        self._store = store
        self._name = name
        self._clock = clock
        self._on_elected = on_elected
        self._interval_s = interval_s
        self._revision = 0  # of the record, as seen last
        self._seen_at = 0.0  # when it was seen to change
        self._renewed_at = float("-inf")
        self.leader = ""

    @property
    def is_leader(self) -> bool:
        """Whether this deployer leads, and has renewed that lately."""
        is_fresh = self._clock() < self._renewed_at + _STOP_S * self._interval_s / _RENEW_S
        return self.leader == self._name and is_fresh

    def guard(self) -> dict[str, int]:
        """Return the record that the leader's transactions expect."""
        return {LEADER: self._revision}

    async def run(self) -> None:
        """Renew the leadership, or take it when the leader is gone, forever."""
        self._seen_at = self._clock()
        while True:
            try:
                await self._act()
            except StoreError as error:
                _logger.warning("leadership unknown", extra={"reason": str(error)})
            except ConflictError:
                pass  # another one was faster
            await asyncio.sleep(self._interval_s)

    async def resign(self) -> None:
        """Let another deployer take over at once."""
        if self.is_leader:
            self.leader = ""
            transaction = Transaction({}, frozenset({LEADER}), self.guard())
            try:
                await self._store.commit(transaction)
            except (StoreError, ConflictError) as error:
                _logger.warning("leadership not given up", extra={"reason": str(error)})

    async def _act(self) -> None:
        now = self._clock()
        entry = await self._store.get(LEADER)
        revision = entry.revision if entry is not None else 0
        if revision != self._revision or entry is None:
            self._revision = revision
            self._seen_at = now if entry is not None else float("-inf")
        holder = json.loads(entry.value)["name"] if entry is not None else ""
        was_leader = self.leader == self._name
        self.leader = holder
        is_ended = now > self._seen_at + _TAKEOVER_S * self._interval_s / _RENEW_S
        if holder != self._name and not is_ended:
            return
        record = json.dumps({"name": self._name}).encode()
        revision = await self._store.commit(Transaction({LEADER: record}, expected=self.guard()))
        self._revision, self._seen_at, self._renewed_at = revision, now, now
        self.leader = self._name
        if not was_leader or holder != self._name:
            _logger.info("leads the deployments", extra={"deployer": self._name})
            self._on_elected()
