"""The providers that are connected to this registry, and those of all registries."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from registry.discovery import LeaseTable, Provider
from registry.feedback import Consumer
from registry.store.interfaces import Presence, StoreError

_logger = logging.getLogger("ase.registry")

SWEEP_INTERVAL_S: Final = 0.25
_PROVIDER_PREFIX: Final = "provider/"
_CONSUMER_PREFIX: Final = "consumer/"
_RETRY_DELAY_S: Final = 0.5


class Present:
    """Everyone that is connected to any registry, as `Presence` tells. Call `follow`.

    `providers` are by key. `changed` is set, and replaced, by each change of one. Consumers that
    are connected here are known at once, those of other registries by the presence.
    """

    def __init__(self, presence: Presence) -> None:
        self.providers: dict[str, Provider] = {}
        self._own_consumers: dict[str, Consumer] = {}
        self._other_consumers: dict[str, Consumer] = {}
        self.changed = asyncio.Event()
        self._presence = presence

    async def follow(self) -> None:
        """Follow the presence, forever; what was last seen stays while it cannot be read."""
        while True:
            try:
                is_snapshot = True
                async for entries in self._presence.watch():
                    self._apply(entries, is_snapshot=is_snapshot)
                    is_snapshot = False
            except StoreError as error:
                _logger.warning("presence lost; trying on", extra={"reason": str(error)})
            await asyncio.sleep(_RETRY_DELAY_S)

    def show_consumer(self, key: str, consumer: Consumer | None) -> None:
        """Show an instance of this registry; None: it has left."""
        _set(self._own_consumers, key, consumer)

    def consumers(self) -> Collection[Consumer]:
        """Return the consumers of all registries."""
        return (self._other_consumers | self._own_consumers).values()

    def notify(self) -> None:
        """Wake those that wait for `changed`."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def _apply(self, entries: Mapping[str, bytes | None], *, is_snapshot: bool) -> None:
        if is_snapshot:
            self.providers, self._other_consumers = {}, {}
        for key, value in entries.items():
            if key.startswith(_PROVIDER_PREFIX):
                _set(self.providers, key, Provider.from_bytes(value) if value else None)
            # What our own consumers said is known already, and newer.
            elif key.startswith(_CONSUMER_PREFIX) and key not in self._own_consumers:
                consumer = Consumer.from_bytes(value) if value else None
                _set(self._other_consumers, key, consumer)
        if is_snapshot or any(key.startswith(_PROVIDER_PREFIX) for key in entries):
            self.notify()


class ProviderLeases:
    """The leases of the providers that are connected here. Call `run` to end them in time."""

    def __init__(self, presence: Presence, clock: Callable[[], float]) -> None:
        """Create it; `clock` returns monotonic seconds."""
        self._presence = presence
        self._clock = clock
        self._leases = LeaseTable(clock())

    async def register(self, provider: Provider, duration: float) -> str:
        """Register a provider for `duration` seconds; return its key. Raises StoreError."""
        key = f"{_PROVIDER_PREFIX}{provider.name}/{provider.address}"
        self._leases.renew(key, duration, self._clock())
        await self._presence.put({key: provider.to_bytes()})
        return key

    def renew(self, key: str, duration: float) -> None:
        """Renew a lease."""
        self._leases.renew(key, duration, self._clock())

    async def deregister(self, key: str) -> None:
        """End a lease now. Raises StoreError."""
        self._leases.remove(key)
        await self._presence.put({key: None})

    async def run(self) -> None:
        """End the leases that are not renewed, forever."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            ended = self._leases.sweep(self._clock(), SWEEP_INTERVAL_S)
            if ended:
                for key in ended:
                    _logger.warning("lease ended", extra={"provider": key})
                try:
                    await self._presence.put(dict.fromkeys(ended))
                except StoreError as error:
                    _logger.warning("leases not ended", extra={"reason": str(error)})


def _set(records: dict[str, Any], key: str, record: Any) -> None:
    if record is None:
        records.pop(key, None)
    else:
        records[key] = record
