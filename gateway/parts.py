"""What a gateway is made of, as narrow protocols: each request function asks for these alone."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from config.options import GatewayOptions
from gateway.contracts import Catalog


class Place(Protocol):
    """Where a request may run: an instance, held while the block lasts."""

    @property
    def instance(self) -> Any:
        """Return the instance; `addr` names it."""


class Picker(Protocol):
    """Chooses an instance and counts it."""

    def __call__(
        self, service_id: str, digest: str, exclude: Collection[str], /
    ) -> AbstractContextManager[Place]:
        """Return a place at an instance that speaks the schema with that digest.

        `exclude` are addresses. Raises AseError 20002 when no live instance is left.
        """


class Pending(Protocol):
    """A call under way."""

    def cancel(self) -> None:
        """End the call; what it was to tell may still be told, and is not waited for."""

    def outcome(self) -> bytes:
        """Return the output of the instance, when the call has ended; raises AseError."""


class Caller(Protocol):
    """Carries a frame to an instance."""

    def begin(self, attempt: Any, done: Callable[[Any], None]) -> Pending:
        """Begin a call; `done` gets it when it has ended, after this returned."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The whole: options, contracts, picking, calling, and the two things that never repeat.

    `on_fault` is told the id of a request that failed by a fault of ours, and what was raised.
    """

    options: GatewayOptions
    catalog: Catalog
    pick: Picker
    caller: Caller
    clock: Callable[[], float]
    new_id: Callable[[], str]
    on_fault: Callable[[str, Exception], None]
