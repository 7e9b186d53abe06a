"""Providers and their leases: who serves a version, and where. Pure.

A lease that is not renewed ends after its time. If the registry itself stood still, the leases
stand still with it: silence that it could not have heard ends none.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from registry.names import ServiceVersion
from registry.state import RegistryState

ONLINE: Final = "online"
OFFLINE: Final = "offline"
# If more than this part of at least so many leases ends at once, the registry distrusts itself.
_MASS_SHARE: Final = 0.5
_MASS_LEAST: Final = 3


@dataclass(frozen=True, slots=True)
class Provider:
    """A process that serves a version at an address.

    `protocol` is how it is called, such as `http`, `grpc` or `ase`. `weight` is its share beside
    others. `state` is `online`, or what an operator has said. `since` (Unix time) is when it
    registered.
    """

    name: ServiceVersion
    address: str
    protocol: str
    weight: int
    labels: Mapping[str, str]
    since: float
    state: str = ONLINE

    def to_json(self) -> dict[str, Any]:
        """Return the members by name; the version as text."""
        return {**asdict(self), "name": str(self.name)}

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(self.to_json()).encode()

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the provider of a record."""
        tree = json.loads(record)
        return cls(**{**tree, "name": ServiceVersion.parse(tree["name"])})


def visible_providers(
    state: RegistryState, name: ServiceVersion, providers: Iterable[Provider]
) -> list[Provider]:
    """Return the providers of a version as consumers see them, ordered by address.

    Those that an operator has set offline are left out.
    """
    visible = []
    for provider in providers:
        if provider.name != name:
            continue
        override, _ = state.override(name, provider.address)
        shown = replace(provider, state=override.state) if override is not None else provider
        if shown.state != OFFLINE:
            visible.append(shown)
    return sorted(visible, key=lambda provider: provider.address)


class LeaseTable:
    """The leases of the providers that are connected to this registry. Times are seconds.

    `_ends` maps a provider's key to the time at which its lease ends, `_durations` to how long a
    renewal lasts. `_extended` are those that a sweep has kept although they had ended. `sweep` is
    called regularly; `_last_sweep_at` tells how long ago that was.
    """

    def __init__(self, now: float) -> None:
        self._ends: dict[str, float] = {}
        self._durations: dict[str, float] = {}
        self._extended: set[str] = set()
        self._last_sweep_at = now

    def __len__(self) -> int:
        return len(self._ends)

    def renew(self, key: str, duration: float, now: float) -> None:
        """Start or renew a lease."""
        self._ends[key] = now + duration
        self._durations[key] = duration
        self._extended.discard(key)

    def remove(self, key: str) -> None:
        """End a lease."""
        self._ends.pop(key, None)
        self._durations.pop(key, None)
        self._extended.discard(key)

    def sweep(self, now: float, interval: float) -> list[str]:
        """Return the keys whose lease has ended, and remove them.

        `interval` is the usual time between two calls. What it took longer is added to every
        lease. If more than half of the leases, three at least, end in one sweep, they are extended
        once instead: so many do not leave at the same moment, and a fault of the registry or of its
        network is likelier.
        """
        late = max(0.0, now - self._last_sweep_at - interval)
        self._last_sweep_at = now
        if late:
            self._ends = {key: end + late for key, end in self._ends.items()}
        ended = [key for key, end in self._ends.items() if end <= now]
        if len(ended) >= _MASS_LEAST and len(ended) > _MASS_SHARE * len(self._ends):
            for key in set(ended) - self._extended:
                self._ends[key] = now + self._durations[key]
                self._extended.add(key)
            ended = [key for key in ended if self._ends[key] <= now]
        for key in ended:
            self.remove(key)
        return ended
