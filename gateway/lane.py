"""The once-lane: once-routes served from the connection, without an ASGI cycle.

It drives the same steps as the Starlette route, and its answers are the same bytes.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from config.options import SessionOptions
from gateway.access import AccessLog
from gateway.answers import HttpResponse
from gateway.closing import drain_timeout_error
from gateway.course import RequestDriver
from gateway.events import EventStream, EventStreamRequest, Sink
from gateway.heads import HeadCache, HeadKey
from gateway.metrics import Metrics
from gateway.once import serve_unary
from gateway.parts import Dependencies
from gateway.record import RequestRecord
from gateway.sessions import SessionMetrics
from schemas.errors import CLIENT_GONE, AseError

SERVICE_PATH_PREFIX: Final = "/v1/private/"


class UnaryRequestHead:
    """What the head of a once-request says; `headers` have lower-case names.

    `expects`: the client holds its body back until it is asked for.
    """

    __slots__ = ("expects_continue", "headers", "keep_alive", "path", "service_id")

    def __init__(
        self,
        service_id: str,
        path: str,
        headers: Mapping[bytes, bytes],
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.service_id = service_id
        self.path = path
        self.headers = headers
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue

    def is_cacheable(self) -> bool:
        """Return whether another request on the connection may say the same, but for its length."""
        has_content_length = (
            b"content-length" in self.headers and b"transfer-encoding" not in self.headers
        )
        return has_content_length and self.keep_alive and not self.expects_continue

    def with_only_headers(self, names: Collection[bytes]) -> "UnaryRequestHead":
        """Return the same with the headers of those names alone."""
        headers = {name: self.headers[name] for name in names if name in self.headers}
        return UnaryRequestHead(
            self.service_id, self.path, headers, self.keep_alive, self.expects_continue
        )


class GatewayContext:
    """What all requests of a gateway share; `heads` are those of once-requests that came again."""

    __slots__ = (
        "_options",
        "_used_headers",
        "access_log",
        "dependencies",
        "head_cache",
        "metrics",
        "session_metrics",
    )

    def __init__(
        self,
        dependencies: Dependencies,
        metrics: Metrics,
        access_log: AccessLog,
        session_metrics: SessionMetrics,
        options: SessionOptions,
    ) -> None:
        self._options = options
        self.dependencies = dependencies
        self.session_metrics = session_metrics
        self.metrics = metrics
        self.access_log = access_log
        consumer_header = dependencies.options.consumer_header
        self.head_cache: HeadCache[UnaryRequestHead] = HeadCache(consumer_header)
        # What the steps read of a head, but for the length, which is judged where it comes again.
        self._used_headers = (
            b"content-type",
            b"content-encoding",
            b"accept",
            consumer_header.lower().encode(),
        )

    def cache_head(self, key: HeadKey, head: UnaryRequestHead) -> None:
        """Remember what a head says."""
        if head.is_cacheable():
            self.head_cache.add(key, head.with_only_headers(self._used_headers))

    def open_event_stream(self, request: EventStreamRequest, sink: Sink) -> EventStream:
        """Return the events that answer a request."""
        call_later = asyncio.get_running_loop().call_later
        return EventStream(
            request, self.dependencies, self.session_metrics, self._options, sink, call_later
        )

    def new_record(self, method: str, path: str, client_ip: str) -> RequestRecord:
        """Return the record of a request that is accepted now."""
        return RequestRecord(
            self.dependencies.new_id(), self.dependencies.clock(), method, path, client_ip
        )

    def count_and_log(self, record: RequestRecord) -> None:
        """Count and log a request that was answered."""
        self.metrics.count_request(record)
        self.access_log.write(record)


def requested_service(method: bytes, path: str) -> str:
    """Return the service that a once-request asks; "" for any other request."""
    if method == b"POST" and path.startswith(SERVICE_PATH_PREFIX):
        service_id = path[len(SERVICE_PATH_PREFIX) :]
        return "" if "/" in service_id else service_id
    return ""


class ResponseWriter(Protocol):
    """The connection that a request came on."""

    def send_continue(self) -> None:
        """Ask the client for the body it holds back."""

    def send_response(self, cycle: "UnaryRequestCycle", response: HttpResponse) -> None:
        """Write the answer; the next request may have its turn."""

    def may_write(self) -> bool:
        """Return whether the client keeps up."""

    def send_head(self, cycle: "UnaryRequestCycle", head: bytes) -> None:
        """Write the head of an answer that comes in parts."""

    def send_chunk(self, data: bytes) -> None:
        """Write a part."""

    def send_last_chunk(self, cycle: "UnaryRequestCycle") -> None:
        """Write its end; the next request may have its turn."""


class UnaryRequestCycle(RequestDriver):
    """One request of the lane and its answer. `running` holds those that the drain waits for."""

    __slots__ = (
        "_body_chunks", "_client_ip", "_context", "_head", "_is_body_complete", "_record",
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
        self.keep_alive = head.keep_alive

    def start(self) -> None:
        """Begin: its turn has come."""
        context, head, dependencies = self._context, self._head, self._context.dependencies
        self._record = record = context.new_record("POST", head.path, self._client_ip)
        context.metrics.inflight += 1
        self._tasks.add(self)
        self.drive(serve_unary(head.service_id, head.headers, record, dependencies), dependencies)
        if self.body_error is not None:
            self.fail(self.body_error)
        elif self._is_body_complete:
            self.complete_body()
        elif head.expects_continue and not self.finished:
            self._writer.send_continue()

    def add_body_chunk(self, data: bytes) -> None:
        """Take in a piece of the body."""
        if not self.finished:
            self._body_chunks.append(data)

    def complete_body(self) -> None:
        """Take in that the body is whole."""
        self._is_body_complete = True
        if self in self._tasks:
            chunks, self._body_chunks = self._body_chunks, []
            self.feed(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def fail_body(self, error: AseError) -> None:
        """Take in that the rest of the body cannot be had; said when it is the request's turn."""
        if self in self._tasks:
            self.fail(error)
        else:
            self.body_error = error

    def on_disconnect(self) -> None:
        """Take in that the client went away."""
        self.fail(AseError(CLIENT_GONE))

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 (as of a task, which the drain cancels)
        """End now: the drain's time is over."""
        asyncio.get_running_loop().call_soon(self._on_drain_timeout)

    def _on_drain_timeout(self) -> None:
        self.fail(drain_timeout_error())

    def on_response(self, response: HttpResponse) -> None:
        """Send the answer, and note the request."""
        self._finish()
        self._context.count_and_log(self._record)
        self._writer.send_response(self, response)

    def _finish(self) -> None:
        self._tasks.discard(self)
        self._context.metrics.inflight -= 1
        self.response_complete = True

    # An answer in parts (gateway.events.Sink).

    def sink(self) -> Sink:
        """Return itself: what is written goes out by the connection."""
        return self

    def writable(self) -> bool:
        """Return whether the client keeps up."""
        return self._writer.may_write()

    def resume_writing(self) -> None:
        """Take in that the client reads again."""
        if self.event_stream is not None:
            self.event_stream.resume_writing()

    def start_response(self, head: bytes) -> None:
        """Write the head."""
        self._writer.send_head(self, head)

    def write(self, data: bytes) -> None:
        """Write a part."""
        self._writer.send_chunk(data)

    def end(self) -> None:
        """Write the end."""
        self.finish_event_stream()
        self._finish()
        self._writer.send_last_chunk(self)
