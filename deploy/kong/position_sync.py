"""Keeps a service and a route of each position at Kong, as positions come and go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import httpx

from config.options import Config
from deploy.engine.leadership import Leadership
from deploy.kong.admin import KongApiError, connect
from deploy.kong.document import KongError, make_position_document
from deploy.kong.entities import compare, find_conflicts, flatten
from registry.store.interfaces import StoreError

_logger = logging.getLogger("ase.deploy")

_INTERVAL_S: Final = 1.0
# Somebody may have changed Kong meanwhile.
_RESYNC_S: Final = 60.0
_TIMEOUT_S: Final = 10.0


class KongPositions:
    """Follows the positions while this deployer leads.

    `list_positions` returns their names, `clock` is monotonic. `problem` says why Kong does not
    have them, "" if it does.
    """

    def __init__(
        self,
        config: Config,
        list_positions: Callable[[], Awaitable[Collection[str]]],
        leadership: Leadership,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._list_positions = list_positions
        self._leadership = leadership
        self._clock = clock
        self._present: Collection[str] | None = None
        self._synced_at = 0.0
        self.problem = ""

    async def run(self) -> None:
        """Work forever."""
        while True:
            if self._leadership.is_leader:
                try:
                    await self.look()
                except (KongApiError, KongError, StoreError) as error:
                    self._present = None
                    if str(error) != self.problem:
                        _logger.warning("positions not at Kong", extra={"reason": str(error)})
                    self.problem = str(error)
                except Exception:
                    _logger.exception("positions not at Kong by a fault of ours; it goes on")
            else:
                self._present = None
            await asyncio.sleep(_INTERVAL_S)

    async def look(self) -> None:
        """Bring Kong to the positions of now. Raises KongApiError, KongError and StoreError."""
        positions = sorted(await self._list_positions())
        is_due = self._clock() >= self._synced_at + _RESYNC_S
        if positions == self._present and not is_due:
            return
        changes = await asyncio.to_thread(self._push, positions)
        self._present, self._synced_at, self.problem = positions, self._clock(), ""
        if changes:
            _logger.info("positions at Kong", extra={"count": len(positions), "changes": changes})

    def _push(self, positions: Collection[str]) -> list[str]:
        """Make the changes; return them."""
        kong = self._config.kong
        document = make_position_document(self._config, positions)
        headers = {"kong-admin-token": kong.admin_token} if kong.admin_token else {}
        with httpx.Client(
            base_url=kong.admin, headers=headers, timeout=_TIMEOUT_S, trust_env=False
        ) as client:
            connected = connect(client)
            state = connected.read(f"ase.{kong.name}-positions")
            changes = compare(flatten(document), state.ours)
            conflicts = find_conflicts(changes, state.others)
            if conflicts:
                names = ", ".join(map(str, conflicts))
                raise KongApiError(f"Kong has {names}, which are not ours; nothing is changed")
            return [str(change) for change in connected.apply(changes)]
