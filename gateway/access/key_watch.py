"""Reads the keys again when their store has changed, while the gateway serves."""

import asyncio
import logging

from gateway.access.key_table import KeySource

_logger = logging.getLogger("ase.gateway")

_INTERVAL_S = 0.5


async def watch_keys(keys: KeySource, interval: float = _INTERVAL_S) -> None:
    """Refresh the keys each `interval` seconds, forever; log when they change or cannot be read.

    They are read in a thread: another process may lock the store for a while.

    A store that cannot be read is logged once, until it can be again or fails in another way.
    """
    table, last_problem = keys.table(), ""
    while True:
        await asyncio.sleep(interval)
        try:
            problem = await asyncio.to_thread(keys.refresh)
        except Exception as error:  # noqa: BLE001 (the watch must go on; it is logged)
            problem = f"{type(error).__name__}: {error}"
        if problem and problem != last_problem:
            _logger.error("keys not read; the last ones stay valid", extra={"reason": problem})
        last_problem = problem
        if keys.table() is not table:
            table = keys.table()
            _logger.info("keys changed", extra={"keys": len(table), "revoked": table.revoked})
