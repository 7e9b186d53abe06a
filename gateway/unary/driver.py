"""Drivers of unary requests: they execute the steps of `serve_unary` as results arrive.

`RequestDriver` is the base of the fast path (`UnaryRequestCycle`) and of the ASGI path
(`AsgiRequestDriver`).
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.request.event_stream import (
    EventStreamFactory,
    EventStreamHandle,
    EventStreamRequest,
    Sink,
)
from gateway.request.interfaces import Dependencies, PendingOperation
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse, finish_with_error, header_list
from gateway.unary.handler import AcquireSlot, CallLoader, ReadBody, Steps
from schemas.model.errors import AseError


class RequestDriver(ABC):
    """Executes the steps of one request.

    A subclass receives the response once, by `on_response`, unless the request is answered by an
    event stream. `_pending` is the call or the wait for a slot that is in progress, `event_stream`
    the event stream; at most one of the two is set. When `finished` is True, the request is
    answered, and further input and errors are ignored.
    """

    __slots__ = (
        "_dependencies",
        "_open_event_stream",
        "_pending",
        "_record",
        "_steps",
        "event_stream",
        "finished",
    )

    def __init__(self, open_event_stream: EventStreamFactory) -> None:
        self.finished = False
        self.event_stream: EventStreamHandle | None = None
        self._open_event_stream = open_event_stream
        self._pending: PendingOperation[Any] | None = None

    def drive(self, steps: Steps, record: RequestRecord, dependencies: Dependencies) -> None:
        """Run the steps until they wait: for the body, for a slot or for a call."""
        self._steps = steps
        self._record = record
        self._dependencies = dependencies
        self._advance(None)

    def feed(self, body: bytes) -> None:
        """Pass the complete body to the steps."""
        if not self.finished:
            self._advance(body)

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
        self._finish(finish_with_error(error, self._record, self._dependencies.clock()))

    def finish_event_stream(self) -> None:
        """Finish the request after all events were written; a subclass calls it from `end`."""
        self.finished = True

    def _advance(self, result: bytes | PendingOperation[Any] | None) -> None:
        try:
            step = self._steps.send(result)
        except StopIteration as stop:
            self._finish(stop.value)
        else:
            self._execute(step)

    def _throw(self, error: Exception) -> None:
        try:
            step = self._steps.throw(error)
        except StopIteration as stop:
            self._finish(stop.value)
        else:
            self._execute(step)

    def _finish(self, result: HttpResponse | EventStreamRequest) -> None:
        if isinstance(result, EventStreamRequest):
            self.event_stream = self._open_event_stream(result, self.sink())
            self.event_stream.start()
        else:
            self.finished = True
            self.on_response(result)

    def _execute(self, step: ReadBody | AcquireSlot | CallLoader) -> None:
        if isinstance(step, CallLoader):
            try:
                self._pending = self._dependencies.caller.start_call(step, self._on_operation_done)
            except Exception as error:  # noqa: BLE001 (the steps map it to a response)
                self._throw(error)
        elif isinstance(step, AcquireSlot):
            wait = self._dependencies.picker.wait
            self._pending = wait(
                step.service_id,
                step.digest,
                step.affinity_key,
                step.timeout,
                step.at_front,
                self._on_operation_done,
            )

    def _on_operation_done(self, operation: PendingOperation[Any]) -> None:
        """Resume the steps after a call or a wait has ended; ignore a cancelled one."""
        if self._pending is not None:
            self._pending = None
            self._advance(operation)


class AsgiRequestDriver(RequestDriver):
    """The driver of a request whose response is sent by a task.

    `wake` is called when there is something to send. `response` is a complete response. `messages`
    are the ASGI messages of an event stream that the task has not sent yet.
    """

    __slots__ = ("_wake", "messages", "response")

    def __init__(self, open_event_stream: EventStreamFactory, wake: Callable[[], None]) -> None:
        super().__init__(open_event_stream)
        self._wake = wake
        self.response: HttpResponse | None = None
        self.messages: deque[dict[str, Any]] = deque()

    def on_response(self, response: HttpResponse) -> None:
        """Store the response and wake the task."""
        self.response = response
        self._wake()

    def sink(self) -> Sink:
        """Return this driver: the task sends what is written to it."""
        return self

    def writable(self) -> bool:
        """Return whether the task has sent everything written so far."""
        return not self.messages

    def start_response(self, head: bytes) -> None:
        """Queue the start of a 200 response; `head` are its header lines."""
        start_message = {"type": "http.response.start", "status": 200, "headers": header_list(head)}
        self._enqueue(start_message)

    def write(self, data: bytes) -> None:
        """Queue a part of the body."""
        self._enqueue({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """Queue the end of the body; the request is finished."""
        self.finish_event_stream()
        self._enqueue({"type": "http.response.body", "body": b""})

    def _enqueue(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._wake()
