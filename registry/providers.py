"""The providers that are connected to this registry, and those of all registries."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
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
            # One of our own is kept here too: it may have moved to another registry.
            elif key.startswith(_CONSUMER_PREFIX):
                consumer = Consumer.from_bytes(value) if value else None
                _set(self._other_consumers, key, consumer)
        if is_snapshot or any(key.startswith(_PROVIDER_PREFIX) for key in entries):
            self.notify()


@dataclass(frozen=True, slots=True)
class Registration:
    """One registration of a provider; a later one of the same address takes its place."""

    key: str
    record: bytes
    duration: float
    number: int


class ProviderLeases:
    """The leases of the providers that are connected here. Call `run` to end them in time.

    `_owners` has the number of the registration that owns a key: only that one can end it.
    `_removals` are keys whose end is not told to the other registries yet.
    """

    def __init__(self, presence: Presence, clock: Callable[[], float]) -> None:
        """Create it; `clock` returns monotonic seconds."""
        self._presence = presence
        self._clock = clock
        self._leases = LeaseTable(clock())
        self._owners: dict[str, int] = {}
        self._removals: set[str] = set()
        self._last_number = 0

    async def register(self, provider: Provider, duration: float) -> Registration:
        """Register a provider for `duration` seconds. Raises StoreError."""
        self._last_number += 1
        key = f"{_PROVIDER_PREFIX}{provider.name}/{provider.address}"
        registration = Registration(key, provider.to_bytes(), duration, self._last_number)
        await self._put(registration)
        return registration

    async def renew(self, registration: Registration) -> None:
        """Renew a lease; register again if it has ended. Raises StoreError.

        A registration whose place another one has taken is not renewed.
        """
        owner = self._owners.get(registration.key)
        if owner == registration.number:
            self._leases.renew(registration.key, registration.duration, self._clock())
        elif owner is None:
            await self._put(registration)

    async def deregister(self, registration: Registration) -> None:
        """End a lease now, if no other registration has taken its place."""
        if self._owners.get(registration.key) == registration.number:
            self._leases.remove(registration.key)
            await self._remove([registration.key])

    async def run(self) -> None:
        """End the leases that are not renewed, forever."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            ended = self._leases.sweep(self._clock(), SWEEP_INTERVAL_S)
            for key in ended:
                _logger.warning("lease ended", extra={"provider": key})
            if ended or self._removals:
                await self._remove(ended)

    async def _put(self, registration: Registration) -> None:
        key = registration.key
        self._owners[key] = registration.number
        self._leases.renew(key, registration.duration, self._clock())
        self._removals.discard(key)
        await self._presence.put({key: registration.record})

    async def _remove(self, keys: list[str]) -> None:
        """Tell the other registries of ends; what cannot be told now is told later."""
        for key in keys:
            self._owners.pop(key, None)
        removals, self._removals = self._removals | {*keys}, set()
        try:
            await self._presence.put(dict.fromkeys(removals))
        except StoreError as error:
            _logger.warning("leases not ended; trying on", extra={"reason": str(error)})
            self._removals |= {key for key in removals if key not in self._owners}


def _set(records: dict[str, Any], key: str, record: Any) -> None:
    if record is None:
        records.pop(key, None)
    else:
        records[key] = record
