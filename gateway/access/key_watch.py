"""Reads the keys again when their store has changed, while the gateway serves."""

import asyncio
import logging

from gateway.access.key_table import KeySource

_logger = logging.getLogger("ase.gateway")

_INTERVAL_S = 0.5


async def watch_keys(keys: KeySource, interval: float = _INTERVAL_S) -> None:
    """Refresh the keys each `interval` seconds, forever; log when they change or cannot be read.

    A store that cannot be read is logged once, until it can be again or fails in another way.
    """
    table, last_problem = keys.table(), ""
    while True:
        await asyncio.sleep(interval)
        problem = keys.refresh()
        if problem and problem != last_problem:
            _logger.error("keys not read; the last ones stay valid", extra={"reason": problem})
        last_problem = problem
        if keys.table() is not table:
            table = keys.table()
            _logger.info("keys changed", extra={"keys": len(table), "revoked": table.revoked})
