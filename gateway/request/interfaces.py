"""What a gateway is made of, as narrow protocols: each request function asks for these alone."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from atom.streams import LoaderStream
from config.options import GatewayOptions
from gateway.services.catalog import Catalog
from schemas.model.errors import ErrorSpec


class Slot(Protocol):
    """Where a request may run: an instance, held while the block lasts."""

    @property
    def instance(self) -> Any:
        """Return the instance; `addr` names it."""

    def release_unused(self) -> None:
        """Give the place back, when nothing was sent."""

    def release(
        self,
        error_spec: ErrorSpec | None = None,
        *,
        abandoned: bool = False,
        is_session: bool = False,
    ) -> None:
        """Give the place back after use; `fault` is how it ended, `lasting` that of a session."""


class PendingOperation(Protocol):
    """Something under way: a call, or the wait for a place."""

    def cancel(self) -> None:
        """End it; what it was to tell may still be told, and is not waited for."""

    def outcome(self) -> Any:
        """Return what came of it, when it has ended: an output, or a place. Raises AseError."""


class Picker(Protocol):
    """Chooses an instance and counts it."""

    def acquire(
        self, service_id: str, digest: str, exclude: Collection[str], affinity_key: str, /
    ) -> AbstractContextManager[Slot]:
        """Return a place at an instance that speaks the schema with that digest.

        `exclude` are addresses; requests of one `key` go to few instances. Raises AseError 20002
        when no live instance is left, 10110 when each holds all it takes.
        """

    def wait(
        self,
        service_id: str,
        digest: str,
        affinity_key: str,
        timeout: float,
        at_front: bool,
        on_done: Callable[[Any], None],
        /,
    ) -> PendingOperation:
        """Wait for a place, `ahead` of others or not.

        `done` gets it when there is one, or will be none in time.
        """

    def try_acquire_retry(self) -> bool:
        """Return whether a request may be tried at another instance, and count it."""


class Caller(Protocol):
    """Carries a frame to an instance."""

    def start_call(self, request: Any, on_done: Callable[[Any], None]) -> PendingOperation:
        """Begin a call; `done` gets it when it has ended, after this returned."""

    def open_session(
        self, target: Any, handle: str, timeout: float, wake: Callable[[], None]
    ) -> LoaderStream:
        """Begin a session; `wake` is called whenever something of it changed."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The whole: options, contracts, picking, calling, and the two things that never repeat.

    `patience`: seconds that a request may wait for a place. `on_fault` is told the id of a request
    that failed by a fault of ours, and what was raised.
    """

    options: GatewayOptions
    catalog: Catalog
    picker: Picker
    slot_timeout: float
    caller: Caller
    clock: Callable[[], float]
    new_id: Callable[[], str]
    on_internal_error: Callable[[str, Exception], None]
