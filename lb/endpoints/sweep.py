"""The loop that applies the passing of time to a table of endpoints."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from lb.endpoints.lifecycle import StateChange

_logger = logging.getLogger("ase.lb")

# A table is swept in short periods from _LEAD_S before something is due. A stall of the event loop,
# in which reports stay unread, then shows as a sweep that runs late. Else it is swept seldom: each
# sweep wakes the process.
_LEAD_S: Final = 0.06
_SHORT_PERIOD_S: Final = 0.02
_LONG_PERIOD_S: Final = 0.2


class Expiring(Protocol):
    """A table whose endpoints become suspect and expire."""

    def next_expiry(self) -> float:
        """Return when the next endpoint is due, in seconds of the clock; infinity without one."""

    def compensate_stall(self, stall_s: float, now: float) -> None:
        """Compensate for an event-loop stall of `stall_s` seconds that ended at `now`."""

    def expire(self, now: float) -> list[StateChange]:
        """Apply the passing of time and return the state changes."""


async def sweep(
    table: Expiring,
    clock: Callable[[], float],
    publish: Callable[[list[StateChange]], None],
) -> None:
    """Expire the endpoints of a table when they are due and publish the changes, forever.

    A sweep that runs late means that the event loop was stalled; the table compensates for it. An
    error in one sweep is logged and does not end the loop.
    """
    previous = clock()
    while True:
        period = sweep_period(table.next_expiry() - previous)
        await asyncio.sleep(period)
        now = clock()
        table.compensate_stall(now - previous - period, now)
        previous = now
        try:
            publish(table.expire(now))
        except Exception:
            _logger.exception("sweep failed by a fault of ours; it goes on")


def sweep_period(remaining: float) -> float:
    """Return the seconds to the next sweep if something is due in `remaining` seconds."""
    return min(_LONG_PERIOD_S, max(_SHORT_PERIOD_S, remaining - _LEAD_S))
