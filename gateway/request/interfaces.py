"""The dependencies of request handling, as narrow protocols: request functions need only these."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeVar

from atom.interfaces import CallTarget
from atom.streams import LoaderStream
from config.options import GatewayOptions
from gateway.access.caller_head import CallerHead
from gateway.access.identity import Identity
from gateway.access.meters import Admission
from gateway.access.position_certificate import PositionCertificate
from gateway.request.answer_store import AnswerStore
from gateway.request.traces import Tracer
from gateway.services.catalog import Catalog
from schemas.model.errors import ErrorSpec

Result_co = TypeVar("Result_co", covariant=True)


class Slot(Protocol):
    """The lease of a request slot at an instance, held for the duration of a `with` block."""

    @property
    def instance(self) -> CallTarget:
        """Return the instance."""

    def __enter__(self) -> "Slot":
        """Return the slot itself."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Release the slot with the error that left the block."""

    def pick_figures(self) -> tuple[float, float]:
        """Return what the pick knew of the instance, both in milliseconds.

        They are the delay that was expected, and the age of its report; -1 without reports.
        """

    def release_unused(self) -> None:
        """Release the slot when nothing was sent to the instance."""

    def release(
        self,
        error_spec: ErrorSpec | None = None,
        *,
        abandoned: bool = False,
        is_session: bool = False,
    ) -> None:
        """Release the slot after use.

        `error_spec` is the error that the request ended with, None for success. `abandoned`: the
        request is not waited for any more, but may still run at the instance. `is_session`: the
        slot was used by a session, whose duration says nothing about the instance's speed.
        """


class PendingOperation(Protocol[Result_co]):
    """An operation in progress: a call to a loader, or the wait for a slot."""

    def cancel(self) -> None:
        """Cancel the operation; its callback may still be called and must then be ignored."""

    def outcome(self) -> Result_co:
        """Return the result of a finished operation: a loader's output, or a slot.

        Raises AseError if the operation failed.
        """


class Picker(Protocol):
    """Chooses an instance for a request and counts the request as in flight there."""

    def acquire(
        self, service_id: str, digest: str, exclude: Collection[str], affinity_key: str, /
    ) -> Slot:
        """Return a slot at an instance that serves the schema with the digest `digest`.

        `exclude` are addresses of instances not to choose. Requests with the same `affinity_key` go
        to few instances; "" means no affinity. Raises AseError 20002 if no live instance is left,
        10110 if all instances are full.
        """

    def wait(
        self,
        service_id: str,
        digest: str,
        affinity_key: str,
        app_id: str,
        timeout: float,
        at_front: bool,
        on_done: Callable[[PendingOperation[Slot]], None],
        /,
    ) -> PendingOperation[Slot]:
        """Wait for a slot for at most `timeout` seconds, at the front of the queue if `at_front`.

        Applications share slots by weight. `on_done` is called with the operation when it has a
        slot, or has failed to get one in time.
        """

    def is_crowded(self, service_id: str, /) -> bool:
        """Return whether requests of a service wait for a slot, or none may wait at all."""

    def must_shed(self, service_id: str, digest: str, app_id: str, timeout: float, /) -> bool:
        """Return whether a new request of an application cannot get a slot within `timeout`."""

    def try_acquire_retry(self) -> bool:
        """Return whether the retry budget allows a retry at another instance, and consume it."""


class Caller(Protocol):
    """Sends frames to instances."""

    def start_call(
        self,
        target: CallTarget,
        frame: bytes,
        handle: str,
        timeout: float,
        on_done: Callable[[PendingOperation[bytes]], None],
        /,
    ) -> PendingOperation[bytes]:
        """Send a frame, a serialized LoaderInput, to an instance; wait for at most `timeout` s.

        `on_done` is called with the call when it has ended, after this has returned. `handle` is
        unique to the call.
        """

    def open_session(
        self, target: CallTarget, handle: str, timeout: float, wake: Callable[[], None]
    ) -> LoaderStream:
        """Open a session of at most `timeout` seconds; `handle` is unique to it.

        `wake` is called whenever the state of the stream changes.
        """


class CallerIdentifier(Protocol):
    """Finds out who calls."""

    @property
    def methods(self) -> Sequence[str]:
        """Return the ways in which callers prove who they are, as in the config."""

    def identify(self, head: CallerHead, /) -> Identity:
        """Return the caller of a request. Raises AseError 10105."""

    def renew(self, identity: Identity, /) -> Identity:
        """Return a caller with its present rights. Raises AseError 10105 if it has none now."""

    def issue_certificate(
        self, app_id: str, client: str, service_id: str, key: str, /
    ) -> PositionCertificate:
        """Return a certificate for one service. Raises AseError 10105, 11200 or 10163."""

    def unsigned_query(self, query: str, /) -> str:
        """Return a query without the parameters of a signature."""

    def check_body(self, identity: Identity, head: CallerHead, body: bytes, /) -> None:
        """Raise AseError 10105 if the caller signed another body."""


class Limiter(Protocol):
    """Limits what callers use."""

    def admit(self, identity: Identity, service_id: str, /) -> Admission:
        """Count a request of a caller. Raises LimitExceededError if it exceeds a limit."""

    def extend(self, admission: Admission, identity: Identity, service_id: str, /) -> Admission:
        """Count an admitted request for a further service. Raises LimitExceededError."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies of a gateway's request handling.

    `slot_timeout`: seconds that a request may wait for a slot. `clock` returns monotonic seconds,
    `new_id` a unique request id. `on_internal_error` is called with the id of a request that failed
    with an internal error, and the exception. `answers` keeps those that may be asked for again.
    `tracer` is None if nothing is traced.
    """

    options: GatewayOptions
    catalog: Catalog
    picker: Picker
    slot_timeout: float
    caller: Caller
    clock: Callable[[], float]
    new_id: Callable[[], str]
    on_internal_error: Callable[[str, Exception], None]
    answers: AnswerStore
    authenticator: CallerIdentifier
    limiter: Limiter
    tracer: Tracer | None = None
