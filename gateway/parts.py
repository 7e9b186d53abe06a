"""What a gateway is made of, as narrow protocols: each request function asks for these alone."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from config.options import GatewayOptions
from gateway.contracts import Catalog, Contract


class Place(Protocol):
    """Where a request may run: an instance, held while the block lasts."""

    @property
    def instance(self) -> Any:
        """Return the instance; `addr` names it."""


class Picker(Protocol):
    """Chooses an instance and counts it."""

    def __call__(
        self, contract: Contract, exclude: Collection[str]
    ) -> AbstractContextManager[Place]:
        """Return a place; raises AseError 20002 when no live instance is left."""


class Caller(Protocol):
    """Carries a frame to an instance."""

    async def once(self, target: Any, frame: Any, *, handle: str, timeout: float) -> Any:
        """Return the instance's answer within `timeout` seconds; raises AseError."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The whole: options, contracts, picking, calling, and the two things that never repeat."""

    options: GatewayOptions
    catalog: Catalog
    pick: Picker
    caller: Caller
    clock: Callable[[], float]
    new_id: Callable[[], str]
