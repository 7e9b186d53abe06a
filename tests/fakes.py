"""Fakes of what the gateway depends on, and the gateway itself put together on them."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from functools import cache, partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from aseloader import declare
from config.options import AuthOptions, GatewayOptions, SessionOptions
from gateway import server
from gateway.access.authenticator import Authenticator, TokenVerifier
from gateway.access.certificates import CallerCertificates
from gateway.access.key_table import KeySource, StaticKeys
from gateway.access.limits import UsageLimiter
from gateway.access.proxies import TrustedProxies
from gateway.context import GatewayContext
from gateway.grpc.service import GatewayService
from gateway.http import app
from gateway.http.memory_limits import BodyBudget, UnreadOutput
from gateway.request.answer_store import AnswerStore
from gateway.request.interfaces import Dependencies
from gateway.services.catalog import Catalog, Contract, build_contract
from gateway.streaming.sse import EventStream
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.session_metrics import SessionMetrics
from schemas.model.errors import LOADER_FULL, NO_INSTANCE, AseError, ErrorSpec
from schemas.wire import LoaderOutput, MetaDesc, Payload
from tests.wrappers.probe import Probe
from tests.wrappers.talker import Talker


def output_frame(text: bytes = b"hi", status: int = 0) -> bytes:
    """Return a serialized output of the services that the fakes serve."""
    meta = MetaDesc(name="said", dataType=0)
    return LoaderOutput(pl=[Payload(meta=meta, data=text)], status=status).SerializeToString()


def _call(function: Callable[[], None]) -> None:
    function()


def new_authenticator(
    options: AuthOptions,
    gateway_options: GatewayOptions | None = None,
    *,
    keys: KeySource | None = None,
    tokens: TokenVerifier | None = None,
    certificates: CallerCertificates | None = None,
    wall_clock: Callable[[], float] = lambda: 0.0,
) -> Authenticator:
    """Return the authenticator of a gateway with these options; without keys it knows none."""
    gateway_options = gateway_options or GatewayOptions()
    proxies = TrustedProxies(gateway_options.trusted_proxies, gateway_options.client_header)
    consumer_header = gateway_options.consumer_header
    return Authenticator(
        options, consumer_header, proxies, keys or StaticKeys(), tokens, certificates, wall_clock
    )


class FakeSlot:
    """A slot at an instance, which is the slot itself; `errors` has one entry per release."""

    def __init__(self, addr: str = "loader:1") -> None:
        self.addr = addr
        self.in_flight = 0
        self.errors: list[Any] = []

    @property
    def instance(self) -> "FakeSlot":
        return self

    def __enter__(self) -> "FakeSlot":
        self.in_flight += 1
        return self

    def __exit__(self, _: Any, error: Any, __: Any) -> None:
        self.in_flight -= 1
        self.errors.append(error)

    def pick_figures(self) -> tuple[float, float]:
        return 12.0, 4.0

    def release_unused(self) -> None:
        self.errors.append("unused")

    def release(
        self,
        error_spec: ErrorSpec | None = None,
        *,
        abandoned: bool = False,
        is_session: bool = False,
    ) -> None:
        assert is_session
        self.errors.append("abandoned" if abandoned else error_spec)


class FakePicker:
    """Returns the first of `slots` that is not excluded; if `slots` is None, a new one per call.

    `error` is raised instead, if it is set. `crowded` and `shedding` are what it answers about its
    queue; `shed_checks` are the applications that it was asked about.
    """

    def __init__(self, slots: list[FakeSlot] | None = None) -> None:
        self.slots = slots
        self.new_slots: list[FakeSlot] = []
        self.affinity_keys: list[str] = []
        self.error: AseError | None = None
        self.retry_budget = 99
        self.crowded = self.shedding = False
        self.shed_checks: list[str] = []
        self.pending: list[FakeOperation] = []

    @property
    def all_full(self) -> bool:
        return self.error is not None and self.error.spec is LOADER_FULL

    @all_full.setter
    def all_full(self, full: bool) -> None:
        self.error = AseError(LOADER_FULL) if full else None

    def acquire(self, _: str, __: str, exclude: Collection[str], affinity_key: str) -> FakeSlot:
        self.affinity_keys.append(affinity_key)
        if self.error is not None:
            raise self.error
        if self.slots is None:
            self.new_slots.append(FakeSlot(f"loader-{len(self.new_slots)}"))
            return self.new_slots[-1]
        for slot in self.slots:
            if slot.addr not in exclude:
                return slot
        raise AseError(NO_INSTANCE)

    def wait(self, *args: Any) -> "FakeOperation":
        self.pending.append(FakeOperation(AseError(LOADER_FULL), args[-1]))
        return self.pending[-1]

    def is_crowded(self, _: str) -> bool:
        return self.crowded

    def must_shed(self, _: str, __: str, app_id: str, ___: float) -> bool:
        self.shed_checks.append(app_id)
        return self.shedding

    def try_acquire_retry(self) -> bool:
        self.retry_budget -= 1
        return self.retry_budget >= 0


class FakeOperation:
    """An operation with a known outcome: a result, or an exception that is raised.

    `finish` calls `on_done`, as the end of an operation that is awaited does.
    """

    def __init__(self, result: Any, on_done: Callable[[Any], None] | None = None) -> None:
        self.result = result
        self.cancelled = False
        self._on_done = on_done

    def finish(self) -> None:
        assert self._on_done is not None
        self._on_done(self)

    def outcome(self) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoaderStream:
    """The stream of a session: what was sent to the loader, and what the test lets it answer.

    `run` calls a function where the gateway runs: in its event loop, if there is one.
    """

    def __init__(
        self, wake: Callable[[], None], run: Callable[[Callable[[], None]], None] = _call
    ) -> None:
        self.wake = wake
        self._run = run
        self.sent_frames: list[bytes] = []
        self.results: deque[bytes] = deque()
        self.finished = self.cancelled = False
        self.has_room = True
        self.error: AseError | None = None

    def can_send(self) -> bool:
        return self.has_room

    def send(self, frame: bytes) -> None:
        self.sent_frames.append(frame)

    def finish_sending(self) -> None:
        self.finished = True

    def pop_result(self) -> bytes | None:
        return self.results.popleft() if self.results else None

    def is_finished(self) -> bool:
        return self.error is not None and not self.results

    def failure(self) -> AseError | None:
        return self.error

    def cancel(self) -> None:
        self.cancelled = True

    def fail_with(self, error: AseError) -> None:
        self.error = error
        self._run(self.wake)

    def push_result(self, status: int, text: bytes | None = None) -> None:
        frame = LoaderOutput(status=status).SerializeToString()
        self.push_frame(frame if text is None else output_frame(text, status))

    def push_frame(self, frame: bytes) -> None:
        """Deliver a serialized output."""
        self.results.append(frame)
        self._run(self.wake)


class FakeCaller:
    """Answers each call with `result` in the next iteration of the loop, or never if it is None.

    `start_error` is raised by each start of a call, if it is set. `run` calls a function where the
    gateway runs: in its event loop, if there is one.
    """

    def __init__(self) -> None:
        self.result: Any = output_frame()
        self.start_error: Exception | None = None
        self.run: Callable[[Callable[[], None]], None] = _call
        self.calls: list[FakeOperation] = []
        self.frames: list[bytes] = []
        self.streams: list[FakeLoaderStream] = []

    def start_call(
        self, _: Any, frame: bytes, __: str, ___: float, on_done: Callable[[Any], None], /
    ) -> FakeOperation:
        self.frames.append(frame)
        if self.start_error is not None:
            raise self.start_error
        operation = FakeOperation(self.result, on_done)
        self.calls.append(operation)
        if self.result is not None:
            asyncio.get_running_loop().call_soon(operation.finish)
        return operation

    def finish_calls(self) -> None:
        """End the calls that had no answer with a good one; later calls get it at once."""
        self.result = result = output_frame()
        for operation in self.calls:
            if operation.result is None and not operation.cancelled:
                operation.result = result
                self.run(operation.finish)

    def open_session(
        self, _: Any, __: str, ___: float, wake: Callable[[], None]
    ) -> FakeLoaderStream:
        self.streams.append(FakeLoaderStream(wake, self.run))
        return self.streams[-1]


@cache
def _build_contract(schema_document: bytes) -> Contract:
    """Compile a contract, once: requests share it, and so may gateways."""
    return build_contract(schema_document, "file", {}, 5.0)


class FakeGateway:
    """The gateway of one process, as it is in production but for its loaders, clock and ids.

    `lines` are those of the access log. `server` is the server of the public port, `grpc_service`
    that of gRPC clients; both need a running event loop. `count_live_instances` is called with the
    id of a service.
    """

    def __init__(
        self,
        *,
        schemas: tuple[bytes, ...] = (),
        options: GatewayOptions | None = None,
        session_options: SessionOptions | None = None,
        authenticator: Authenticator | None = None,
        limiter: UsageLimiter | None = None,
        clock: Callable[[], float] = lambda: 1.0,
        new_id: Callable[[], str] = lambda: "5" * 32,
        slot_timeout: float = 0.0,
    ) -> None:
        texts = schemas or (declare.schema(Probe), declare.schema(Talker))
        contracts = [_build_contract(text) for text in texts]
        self.picker, self.caller = FakePicker(), FakeCaller()
        self.lines: list[str] = []
        self.count_live_instances: Callable[[str], int] = lambda _: 1
        self.internal_errors: list[tuple[str, Exception]] = []
        self.metrics = Metrics(CollectorRegistry())
        self.cuts: list[int] = []
        self.options = options or GatewayOptions()
        dependencies = Dependencies(
            self.options,
            Catalog(contracts, {}, 5.0),
            self.picker,
            slot_timeout,
            self.caller,
            clock=clock,
            new_id=new_id,
            on_internal_error=lambda sid, error: self.internal_errors.append((sid, error)),
            answers=AnswerStore(self.options.answer_window, self.options.max_answers),
            authenticator=authenticator or new_authenticator(AuthOptions(), self.options),
            limiter=limiter or UsageLimiter({}, {}, clock, clock),
        )
        access_log = AccessLog(self.lines.append, lambda: 0.0)
        self.session_metrics = SessionMetrics(CollectorRegistry(), access_log, clock)
        self.session_options = session_options = session_options or SessionOptions()
        open_event_stream = partial(
            EventStream,
            dependencies=dependencies,
            session_metrics=self.session_metrics,
            options=session_options,
            call_later=_call_later,
        )
        self.context = GatewayContext(
            dependencies,
            self.metrics,
            access_log,
            open_event_stream,
            session_options.origins,
            TrustedProxies(self.options.trusted_proxies, self.options.client_header),
        )
        self.grpc_service = GatewayService(self.context, self.session_metrics, session_options)
        self.readiness = app.Readiness(lambda: True)
        self.server = server.public_server(
            self.context,
            self.readiness,
            self.session_metrics,
            session_options,
            unread_output=UnreadOutput(dependencies.options.max_unread, self.cuts.append),
            body_budget=BodyBudget(dependencies.options.max_bodies),
            count_live_instances=self._count_live_instances,
            base_dir=Path(),
        )

    def _count_live_instances(self, service_id: str) -> int:
        return self.count_live_instances(service_id)  # a test may replace it


def _call_later(seconds: float, callback: Any) -> Any:
    return asyncio.get_running_loop().call_later(seconds, callback)
