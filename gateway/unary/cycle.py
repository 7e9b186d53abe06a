"""A unary request served from its connection, without an ASGI cycle.

It drives the same steps as the Starlette route, and its responses are the same bytes.
"""

import asyncio
from typing import Protocol

from gateway.context import GatewayContext
from gateway.request.event_stream import Sink
from gateway.request.response import HttpResponse
from gateway.request.shutdown import drain_timeout_error
from gateway.unary.driver import RequestDriver
from gateway.unary.handler import serve_unary
from gateway.unary.request_head import UnaryRequestHead
from schemas.model.errors import CLIENT_GONE, AseError


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

    def send_chunk(self, data: bytes) -> None:
        """Write a part of the body of a streamed response."""

    def send_last_chunk(self, cycle: "UnaryRequestCycle") -> None:
        """Write the end of a streamed response; the next request may start."""


class UnaryRequestCycle(RequestDriver):
    """One request of the fast path and its response.

    A cycle is queued until `start`, then in `tasks` until it is answered. `tasks` is uvicorn's set
    of tasks, which a shutdown waits for and cancels; so a cycle has the `cancel` of a task. While a
    cycle is queued, its body is buffered in `_body_chunks`, and `body_error` holds an error that
    ended the body. `response_complete` is True once the request is answered, as in uvicorn's cycle.
    """

    __slots__ = (
        "_body_bytes", "_body_chunks", "_client_ip", "_context", "_head", "_is_body_complete",
        "_tasks", "_writer", "body_error", "keep_alive", "response_complete",
    )  # fmt: skip

    def __init__(
        self,
        context: GatewayContext,
        writer: ResponseWriter,
        tasks: set["UnaryRequestCycle"],
        head: UnaryRequestHead,
        client_ip: str,
    ) -> None:
        super().__init__(context.open_event_stream)
        self.response_complete = self._is_body_complete = False
        self.body_error: AseError | None = None
        self._context = context
        self._writer = writer
        self._tasks = tasks
        self._head = head
        self._client_ip = client_ip
        self._body_chunks: list[bytes] = []
        self._body_bytes = 0
        self.keep_alive = head.keep_alive

    def start(self) -> None:
        """Start the request: it is the current one of its connection."""
        self.serve(self._take_body() if self._is_body_complete else None)
        if self.body_error is not None:
            self.fail(self.body_error)
        elif self._head.expects_continue and not (self._is_body_complete or self.finished):
            self._writer.send_continue()

    def serve(self, body: bytes | None) -> None:
        """Run the request as far as it goes; `body` is None while it is still arriving."""
        context, head, dependencies = self._context, self._head, self._context.dependencies
        record = context.new_record("POST", head.path, self._client_ip)
        context.metrics.inflight += 1
        self._tasks.add(self)
        self.drive(
            serve_unary(head.service_id, head.headers, body, record, dependencies),
            record,
            dependencies,
        )

    def add_body_chunk(self, data: bytes) -> int:
        """Keep a chunk of the body; return the bytes that wait for the request to start."""
        if self.finished:
            return 0
        self._body_chunks.append(data)
        self._body_bytes += len(data)
        return 0 if self in self._tasks else self._body_bytes

    def complete_body(self) -> None:
        """Pass the complete body to the steps; if it is queued, `start` does."""
        self._is_body_complete = True
        if self in self._tasks:
            self.feed(self._take_body())

    def _take_body(self) -> bytes:
        chunks, self._body_chunks = self._body_chunks, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

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
        self._writer.send_chunk(data)

    def end(self) -> None:
        """Write the end of the response; the request is finished."""
        self.finish_event_stream()
        self._leave()
        self._writer.send_last_chunk(self)
