"""A unary request in progress: it executes the steps of `serve_unary` as results arrive.

`RequestDriver` is the part that both HTTP paths share. `UnaryRequestCycle` serves a request from
its connection, without an ASGI cycle; its responses are the same bytes as those of the ASGI path
(`gateway/unary/asgi_driver.py`).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from gateway.access.caller_head import CallerHead
from gateway.access.peer import Peer
from gateway.context import GatewayContext
from gateway.request.event_stream import (
    EventStreamFactory,
    EventStreamHandle,
    EventStreamRequest,
    Sink,
)
from gateway.request.exchange import Exchange
from gateway.request.interfaces import Dependencies, PendingOperation
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse
from gateway.request.shutdown import drain_timeout_error
from gateway.services.routes import is_plain_path
from gateway.unary.handler import (
    BODY_START_BYTES,
    AcquireSlot,
    CallLoader,
    ReadBodyStart,
    Step,
    Steps,
    serve_unary,
)
from gateway.unary.request_head import UnaryRequestHead
from schemas.model.errors import CLIENT_GONE, AseError


class RequestDriver(ABC):
    """Executes the steps of one request.

    A subclass receives the response once, by `on_response`, unless the request is answered by an
    event stream. `_pending` is the call or the wait for a slot that is in progress, `event_stream`
    the event stream; at most one of the two is set. While `wants_body_start` is True, the steps
    wait for the start of the body. When `finished` is True, the request is answered, and further
    input and errors are ignored.
    """

    __slots__ = (
        "_dependencies",
        "_exchange",
        "_open_event_stream",
        "_pending",
        "_record",
        "_steps",
        "event_stream",
        "finished",
        "wants_body_start",
    )

    def __init__(self, open_event_stream: EventStreamFactory) -> None:
        self.finished = self.wants_body_start = False
        self.event_stream: EventStreamHandle | None = None
        self._open_event_stream = open_event_stream
        self._pending: PendingOperation[Any] | None = None

    def drive(
        self, steps: Steps, record: RequestRecord, dependencies: Dependencies, exchange: Exchange
    ) -> None:
        """Run the steps until they wait: for the body, for a slot or for a call.

        `exchange` is that of the steps.
        """
        self._steps = steps
        self._exchange = exchange
        self._record = record
        self._dependencies = dependencies
        self._advance(None)

    def feed(self, body: bytes) -> None:
        """Pass the complete body to the steps."""
        if self.wants_body_start:
            self.feed_start(body)
        if not self.finished:
            self._advance(body)

    def feed_start(self, body: bytes | bytearray) -> None:
        """Pass the start of the body to the steps, which want it; `body` has arrived so far."""
        self.wants_body_start = False
        if not self.finished:
            self._advance(bytes(body[:BODY_START_BYTES]))

    def fail(self, error: AseError) -> None:
        """End the request early with an error; a call or a wait in progress is cancelled."""
        if self.finished:
            return
        if self.event_stream is not None:
            self.event_stream.fail(error)
            return
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        self._throw(error)

    @abstractmethod
    def on_response(self, response: HttpResponse) -> None:
        """Send the response."""

    @abstractmethod
    def sink(self) -> Sink:
        """Return the sink to which the events of the request are written.

        Its `send_error` and `end` call `send_error` and `finish_event_stream` of this driver.
        """

    def send_error(self, error: AseError) -> None:
        """Answer with an error instead of events; no event was written before."""
        self.event_stream = None
        now = self._dependencies.clock()
        self._execute(self._exchange.fail(error, self._record, now))

    def finish_event_stream(self) -> None:
        """Finish the request after all events were written; a subclass calls it from `end`."""
        self.finished = True

    def _advance(self, result: bytes | PendingOperation[Any] | None) -> None:
        self._execute(self._steps.send(result))

    def _throw(self, error: Exception) -> None:
        self._execute(self._steps.throw(error))

    def _execute(self, step: Step) -> None:
        if isinstance(step, HttpResponse):
            self.finished = True
            self.on_response(step)
        elif isinstance(step, EventStreamRequest):
            self.event_stream = self._open_event_stream(step, self.sink())
            self.event_stream.start()
        elif isinstance(step, ReadBodyStart):
            self.wants_body_start = True
        elif isinstance(step, CallLoader):
            try:
                self._pending = self._dependencies.caller.start_call(
                    step.target, step.frame, step.handle, step.timeout, self._on_operation_done
                )
            except Exception as error:  # noqa: BLE001 (the steps map it to a response)
                self._throw(error)
        elif isinstance(step, AcquireSlot):
            wait = self._dependencies.picker.wait
            self._pending = wait(
                step.service_id,
                step.digest,
                step.affinity_key,
                step.app_id,
                step.timeout,
                step.at_front,
                self._on_operation_done,
            )

    def _on_operation_done(self, operation: PendingOperation[Any]) -> None:
        """Resume the steps after a call or a wait has ended; ignore a cancelled one."""
        if self._pending is not None:
            self._pending = None
            self._advance(operation)


class ResponseWriter(Protocol):
    """The connection that a request arrived on, as its cycle uses it."""

    def send_continue(self) -> None:
        """Write `100 Continue`: the client waits for it before it sends the body."""

    def send_response(self, cycle: "UnaryRequestCycle", response: HttpResponse) -> None:
        """Write a complete response; the next request may start."""

    def may_write(self) -> bool:
        """Return whether the client keeps up with what is written to it."""

    def send_head(self, cycle: "UnaryRequestCycle", head: bytes) -> None:
        """Write the head of a streamed response; `head` are its header lines."""

    def send_chunk(self, cycle: "UnaryRequestCycle", data: bytes) -> None:
        """Write a part of the body of a streamed response."""

    def send_last_chunk(self, cycle: "UnaryRequestCycle") -> None:
        """Write the end of a streamed response; the next request may start."""


class UnaryRequestCycle(RequestDriver):
    """One request of the fast path and its response.

    A cycle is queued until `start`, then in `tasks` until it is answered. `tasks` is uvicorn's set
    of tasks, which a shutdown waits for and cancels; so a cycle has the `cancel` of a task. While a
    cycle is queued, `body_error` holds an error that ended the body. `_body` is what has arrived of
    the body: the only chunk, or a bytearray, since a list of tiny chunks takes many times their
    size. `tracing` are the tracing headers for the loader. `peer` is the other end of the
    connection, `client_ip` the address of the client, perhaps behind a proxy.
    `response_complete` is True once the request is answered, as in uvicorn's cycle.
    """

    __slots__ = (
        "_body", "_client_ip", "_context", "_head", "_is_body_complete", "_peer",
        "_tasks", "_tracing", "_writer", "body_error", "chunked", "keep_alive", "origin",
        "response_complete",
    )  # fmt: skip

    def __init__(
        self,
        context: GatewayContext,
        writer: ResponseWriter,
        tasks: set["UnaryRequestCycle"],
        head: UnaryRequestHead,
        tracing: Mapping[str, str],
        peer: Peer,
        client_ip: str,
    ) -> None:
        super().__init__(context.open_event_stream)
        self.response_complete = self._is_body_complete = False
        self.body_error: AseError | None = None
        self._context = context
        self._writer = writer
        self._tasks = tasks
        self._head = head
        self._tracing = tracing
        self._peer = peer
        self._client_ip = client_ip
        self._body: bytes | bytearray = b""
        self.keep_alive = head.keep_alive
        self.origin = head.headers.get(b"origin")
        self.chunked = head.chunked

    def start(self) -> None:
        """Start the request: it is the current one of its connection."""
        self.serve(self._take_body() if self._is_body_complete else None)
        if self.wants_body_start and len(self._body) >= BODY_START_BYTES:
            self.feed_start(self._body)
        if self.body_error is not None:
            self.fail(self.body_error)
        elif self._head.expects_continue and not (self._is_body_complete or self.finished):
            self._writer.send_continue()

    def serve(self, body: bytes | None) -> None:
        """Run the request as far as it goes; `body` is None while it is still arriving."""
        context, head, dependencies = self._context, self._head, self._context.dependencies
        record = context.new_record("POST", head.path, self._client_ip)
        record.tracing = self._tracing
        exchange = context.new_exchange(record, head.query, is_plain=is_plain_path(head.path))
        caller = CallerHead("POST", head.raw_path, head.query, head.headers, self._peer)
        context.metrics.inflight += 1
        self._tasks.add(self)
        self.drive(
            serve_unary(head.service_id, caller, body, record, dependencies, exchange),
            record,
            dependencies,
            exchange,
        )

    def add_body_chunk(self, data: bytes) -> int:
        """Keep a chunk of the body; return the bytes that wait for the request to start."""
        if self.finished:
            return 0
        body = self._body
        if isinstance(body, bytearray):
            body += data
        else:
            self._body = bytearray(body + data) if body else data
        if self.wants_body_start and len(self._body) >= BODY_START_BYTES:
            self.feed_start(self._body)
        return 0 if self in self._tasks else len(self._body)

    def complete_body(self) -> None:
        """Pass the complete body to the steps; if it is queued, `start` does."""
        self._is_body_complete = True
        if self in self._tasks:
            self.feed(self._take_body())

    def _take_body(self) -> bytes:
        body, self._body = self._body, b""
        return body if isinstance(body, bytes) else bytes(body)

    def fail_body(self, error: AseError) -> None:
        """End the request because its body cannot be received; a queued one ends at `start`."""
        if self in self._tasks:
            self.fail(error)
        else:
            self.body_error = error

    def on_disconnect(self) -> None:
        """End the request because the client closed the connection."""
        self.fail(AseError(CLIENT_GONE))

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 (the signature of Task.cancel)
        """End the request because the drain timeout has expired.

        The end is scheduled, because uvicorn cancels while it iterates over `tasks`.
        """
        asyncio.get_running_loop().call_soon(self._on_drain_timeout)

    def _on_drain_timeout(self) -> None:
        self.fail(drain_timeout_error())

    def on_response(self, response: HttpResponse) -> None:
        """Send the response; count and log the request."""
        self._leave()
        self._context.count_and_log(self._record)
        self._writer.send_response(self, response)

    def _leave(self) -> None:
        self._tasks.discard(self)
        self._context.metrics.inflight -= 1
        self.response_complete = True
        self._body = b""

    # A streamed response (gateway.request.event_stream.Sink).

    def sink(self) -> Sink:
        """Return this cycle: the connection writes its events."""
        return self

    def writable(self) -> bool:
        """Return whether the client keeps up with what is written to it."""
        return self._writer.may_write()

    def resume_writing(self) -> None:
        """Continue the event stream, if there is one: the client reads again."""
        if self.event_stream is not None:
            self.event_stream.resume_writing()

    def start_response(self, head: bytes) -> None:
        """Write the head of the response; `head` are its header lines."""
        self._writer.send_head(self, head)

    def write(self, data: bytes) -> None:
        """Write a part of the body."""
        self._writer.send_chunk(self, data)

    def end(self) -> None:
        """Write the end of the response; the request is finished."""
        self.finish_event_stream()
        self._leave()
        self._writer.send_last_chunk(self)
