"""The loop that applies the passing of time to a table of endpoints."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from lb.endpoints.lifecycle import StateChange

_logger = logging.getLogger("ase.lb")

SWEEP_PERIOD_S = 0.02


class Expiring(Protocol):
    """A table whose endpoints become suspect and expire."""

    def compensate_stall(self, stall_s: float) -> None:
        """Compensate for an event-loop stall of `stall_s` seconds."""

    def expire(self, now: float) -> list[StateChange]:
        """Apply the passing of time and return the state changes."""


async def sweep(
    table: Expiring,
    clock: Callable[[], float],
    publish: Callable[[list[StateChange]], None],
    period: float = SWEEP_PERIOD_S,
) -> None:
    """Expire the endpoints of a table every `period` seconds and publish the changes, forever.

    A sweep that runs late means that the event loop was stalled; the table compensates for it. An
    error in one sweep is logged and does not end the loop.
    """
    previous = clock()
    while True:
        await asyncio.sleep(period)
        now = clock()
        table.compensate_stall(now - previous - period)
        previous = now
        try:
            publish(table.expire(now))
        except Exception:
            _logger.exception("sweep failed by a fault of ours; it goes on")
