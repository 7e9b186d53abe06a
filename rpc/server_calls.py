"""The calls of a gRPC server: requests are received, handlers run in tasks, responses are sent.

Source: gRPC over HTTP/2.
"""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from rpc.client_certificate import ClientCertificate
from rpc.frames import ErrorCode
from rpc.handler_tasks import CallContext, StreamHandler, UnaryHandler, run_stream, run_unary
from rpc.headers import encode_header_block
from rpc.messages import MessageDeframer, length_prefix
from rpc.metadata import Metadata, encode_metadata, encode_status
from rpc.request_headers import RequestHeaders
from rpc.server_connection import RequestStream, ServerConnection
from rpc.server_memory import ConnectionMemory
from rpc.status import MessageTooLargeError, RpcError, Status

_RESPONSE_HEADERS: Final = encode_header_block(
    [(b":status", b"200"), (b"content-type", b"application/grpc")]
)
_OK_TRAILERS: Final = encode_status(Status.OK, "")
_MAX_DETAILS_CHARS: Final = 4096  # of a status, so that a header block stays small
_MAX_DEADLINE_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class CallOwner:
    """What the calls of one connection share.

    `max_message_size` limits a message in either direction, `max_decompressed_size` a compressed
    request, `max_buffered` the received bytes of
    all calls that no handler has taken yet. `memory` counts what the connection holds. `flush`
    schedules a write. `on_deadline` is called with the time at which a new call expires.
    """

    connection: ServerConnection
    peer: str
    certificate: ClientCertificate | None
    max_message_size: int
    max_decompressed_size: int
    max_buffered: int
    memory: ConnectionMemory
    loop: asyncio.AbstractEventLoop
    flush: Callable[[], None]
    on_deadline: Callable[[float], None]
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class ServerCall(RequestStream):
    """One call of a client.

    `deadline` is in seconds of the loop's clock, or None. `_task` runs the handler. `_started`: the
    response headers are sent. `_finished`: the status is sent, or the call is gone. `_buffered` are
    the bytes that count in `ServerConnection.buffered_size`: `_waiting_size` of complete messages
    that the handler has not taken, decompressed, and those of an incomplete one. `_request_size`
    are the bytes of a request that its handler has taken whole, `_unsent` those of responses whose
    end the client's windows do not take yet.
    """

    __slots__ = (
        "_buffered",
        "_deframer",
        "_finished",
        "_metadata",
        "_owner",
        "_request_size",
        "_started",
        "_task",
        "_unsent",
        "_waiting_size",
        "deadline",
    )  # fmt: skip

    def __init__(self, owner: CallOwner, headers: RequestHeaders, timeout: float | None) -> None:
        super().__init__()
        self._owner = owner
        self._metadata = headers.metadata
        now = owner.loop.time()
        self.deadline = None if timeout is None else now + min(timeout, _MAX_DEADLINE_S)
        self._deframer = MessageDeframer(owner.max_message_size, owner.max_decompressed_size)
        self._deframer.encoding = headers.encoding
        self._task: asyncio.Task[None] | None = None
        self._started = self._finished = False
        self._buffered = self._waiting_size = self._request_size = self._unsent = 0

    def on_opened(self, end_stream: bool, /) -> None:
        """Start the call; see the subclasses."""
        if self.deadline is not None:
            self._owner.on_deadline(self.deadline)
        if end_stream:
            self._on_request_end()

    def on_headers(self, header_block: bytes, end_stream: bool, /) -> None:
        """Handle trailers of the request."""
        self._owner.connection.decode_trailers(self, header_block)
        if not end_stream:
            self._owner.connection.reset_stream(self, ErrorCode.PROTOCOL_ERROR)
            self._abandon()
        elif not self._finished:
            self._on_request_end()

    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        """Handle data of the request."""
        if self._finished:
            return
        try:
            messages = self._deframer.feed(data)
        except MessageTooLargeError as size_error:  # another name: mypyc gives each one type
            self.cancel(Status.RESOURCE_EXHAUSTED, _too_large_details(size_error))
            return
        except RpcError as error:
            self.cancel(error.status, error.details)
            return
        for message in messages:  # as they are in memory: decompressed
            self._waiting_size += len(message)
        self._count_buffered(self._waiting_size + self._deframer.buffered_size)
        if self._owner.connection.buffered_size > self._owner.max_buffered:
            self.cancel(Status.RESOURCE_EXHAUSTED, "too many bytes of requests wait")
            return
        if messages:
            self._on_messages(messages)
        if end_stream:
            self._on_request_end()

    def _release(self, message_size: int) -> None:
        """Count a message as taken by the handler."""
        self._waiting_size -= message_size
        self._count_buffered(self._waiting_size + self._deframer.buffered_size)

    def _count_buffered(self, size: int) -> None:
        change = size - self._buffered
        self._buffered = size
        self._owner.connection.buffered_size += change
        self._owner.memory.add_received(change)

    def _take_request(self, size: int) -> None:
        """Count a request as taken whole: its bytes stay in memory until the call ends."""
        self._release(size)
        self._request_size = size
        self._owner.memory.add_received(size)

    def _count_unsent(self, size: int) -> None:
        change = size - self._unsent
        if change:
            self._unsent = size
            self._owner.memory.add_unsent(change)

    @abstractmethod
    def _on_messages(self, messages: list[bytes], /) -> None:
        """Handle complete messages."""

    @abstractmethod
    def _on_request_end(self) -> None:
        """Handle the end of the request."""

    def _new_context(self) -> CallContext:
        now = self._owner.loop.time()
        remaining = None if self.deadline is None else self.deadline - now
        owner = self._owner
        return CallContext(self._metadata, owner.peer, remaining, certificate=owner.certificate)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the handler in a task of its own."""
        owner = self._owner
        self._task = task = owner.loop.create_task(work)
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)

    def on_reset(self, code: int) -> None:  # noqa: ARG002 (any code is the end)
        """Cancel the handler: the client does not want the response."""
        self._abandon()

    def on_refused(self, reason: str) -> None:
        """Do nothing: a client cannot refuse a stream of its own."""

    def cancel(self, status: Status, details: str) -> None:
        """End the call with a status and cancel its handler."""
        task = self._task
        if self.send_buffer is None:
            self.fail(status, details)
        else:  # the client does not read: it could not learn the status either
            self._finish()
            self._count_unsent(0)
            self._owner.connection.reset_stream(self, ErrorCode.CANCEL)
            self._owner.flush()
        if task is not None:
            task.cancel()

    def on_disconnected(self) -> None:
        """Cancel the handler: the connection is lost."""
        self._owner.connection.outbound.drop_stream(self)
        self._abandon()

    def _abandon(self) -> None:
        self._finish()
        self._count_unsent(0)
        if self._task is not None:
            self._task.cancel()

    def send_message(self, message: bytes) -> None:
        """Send a message, after the response headers if they were not sent; ignored after the end.

        Raises RpcError RESOURCE_EXHAUSTED for a message that is too large.
        """
        if self._finished:
            return
        size, limit = len(message), self._owner.max_message_size
        if size > limit:
            details = f"Sent message larger than max ({size} vs. {limit})"
            raise RpcError(Status.RESOURCE_EXHAUSTED, details)
        outbound = self._owner.connection.outbound
        if not self._started:
            self._started = True
            outbound.send_headers(self, _RESPONSE_HEADERS)
        outbound.send_data(self, length_prefix(size) + message, end_stream=False)
        self._owner.flush()
        if self.send_buffer is not None:
            self._count_unsent(self._unsent + size)

    def succeed(self, context: CallContext) -> None:
        """End the call with OK and the trailers of its context."""
        trailers = context.trailers
        metadata = encode_metadata(tuple(trailers)) if trailers else b""
        self._send_status(_OK_TRAILERS + metadata)

    def fail(self, status: Status, details: str, trailers: Metadata = ()) -> None:
        """End the call with a status and trailers, unless it has ended."""
        metadata = encode_metadata(trailers) if trailers else b""
        self._send_status(encode_status(status, details[:_MAX_DETAILS_CHARS]) + metadata)

    def _send_status(self, trailers: bytes) -> None:
        if self._finished:
            return
        self._finish()
        owner = self._owner
        connection = owner.connection
        connection.answered_calls += self._task is not None
        if not self._started:
            self._started = True
            trailers = _RESPONSE_HEADERS + trailers  # Trailers-Only
        connection.outbound.send_trailers(self, trailers)
        if self.recv_open and not self.send_open:
            connection.reset_stream(self, ErrorCode.NO_ERROR)  # RFC 9113, 8.1
        owner.flush()

    def _finish(self) -> None:
        self._finished = True
        self._count_buffered(0)
        size, self._request_size = self._request_size, 0
        self._owner.memory.add_received(-size)

    def on_sent(self) -> None:
        """Stop the rest of the request if the response is complete."""
        self._count_unsent(0)
        if self._finished and self.recv_open and not self.send_open:
            self._owner.connection.reset_stream(self, ErrorCode.NO_ERROR)
            self._owner.flush()


class UnaryServerCall(ServerCall):
    """A call with one request and one response: the handler runs when the request is complete."""

    __slots__ = ("_handler", "_request")

    def __init__(
        self,
        owner: CallOwner,
        headers: RequestHeaders,
        timeout: float | None,
        handler: UnaryHandler,
    ) -> None:
        super().__init__(owner, headers, timeout)
        self._handler = handler
        self._request: bytes | None = None

    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        """Handle data of the request: its window is renewed at once, since it is kept anyway."""
        if not end_stream and not self._finished:
            self._owner.connection.acknowledge_received_data(self, len(data))
        super().on_data(data, end_stream)

    def _on_messages(self, messages: list[bytes], /) -> None:
        if self._request is not None or len(messages) > 1:
            self.fail(Status.INTERNAL, "more than one request")
        else:
            self._request = messages[0]

    def _on_request_end(self) -> None:
        if self._finished:
            return
        request, self._request = self._request, None
        if request is None or self._deframer.buffered_size:
            self.fail(Status.INTERNAL, "the call has no complete request")
            return
        self._take_request(len(request))
        self._start(run_unary(self, self._handler, request, self._new_context()))


class StreamServerCall(ServerCall):
    """A call with a stream of messages in both directions: the handler runs from the start.

    A handler that does not iterate over its requests closes the receive window, which stops the
    client. `_inbox` has the received messages, each with the bytes to acknowledge when it is taken;
    `_unacked` are the bytes of the incomplete message after them. `_request_ended`: no further
    message follows. `_changed` is set by every change; a task that reads and one that sends both
    wait for it, and each checks its own condition again.
    """

    __slots__ = ("_changed", "_handler", "_inbox", "_request_ended", "_unacked")

    def __init__(
        self,
        owner: CallOwner,
        headers: RequestHeaders,
        timeout: float | None,
        handler: StreamHandler,
    ) -> None:
        super().__init__(owner, headers, timeout)
        self._handler = handler
        self._inbox: deque[tuple[bytes, int]] = deque()
        self._unacked = 0
        self._request_ended = False
        self._changed = asyncio.Event()

    def on_opened(self, end_stream: bool, /) -> None:
        """Start the handler."""
        super().on_opened(end_stream)
        if not self._finished:
            self._start(run_stream(self, self._handler, self._new_context()))

    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        """Handle data of the request."""
        self._unacked += len(data)
        super().on_data(data, end_stream)
        self._acknowledge(0)

    def _on_messages(self, messages: list[bytes], /) -> None:
        partial_size = self._deframer.buffered_size
        self._owner.connection.budget.earn(len(messages))
        self._inbox.append((messages[0], self._unacked - partial_size))
        self._inbox.extend([(message, 0) for message in messages[1:]])
        self._unacked = partial_size
        self._wake()

    def _on_request_end(self) -> None:
        if self._deframer.buffered_size:
            self.cancel(Status.INTERNAL, "the call ended within a message")
        self._request_ended = True
        self._wake()

    def _acknowledge(self, size: int) -> None:
        """Acknowledge `size` bytes, and those of an incomplete message if no other waits.

        A message that is larger than the window could not arrive otherwise.
        """
        if not self._inbox:
            size, self._unacked = size + self._unacked, 0
        if self.recv_open:
            self._owner.connection.acknowledge_received_data(self, size)

    def on_sent(self) -> None:
        """Wake the handler: the next response can be sent."""
        super().on_sent()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()

    def is_writable(self) -> bool:
        """Return whether the last message is in frames; True after the end of the call."""
        return self.send_buffer is None

    async def wait_change(self) -> None:
        """Wait until a message arrives, the call ends, or a response was sent."""
        self._changed.clear()
        await self._changed.wait()

    def take_request(self) -> bytes | None:
        """Return the next message and acknowledge its bytes; None if none has arrived."""
        if not self._inbox:
            return None
        message, size = self._inbox.popleft()
        if not self._finished:
            self._release(len(message))
        self._acknowledge(size)
        self._owner.flush()
        return message

    def has_ended(self) -> bool:
        """Return whether no further message follows those that have arrived."""
        return self._request_ended or self._finished


class RejectedCall(RequestStream):
    """A request that no handler gets: it is answered by a header block alone."""

    __slots__ = ("_owner", "_response")

    def __init__(self, owner: CallOwner, response: bytes) -> None:
        super().__init__()
        self._owner = owner
        self._response = response

    def on_opened(self, end_stream: bool, /) -> None:  # noqa: ARG002 (its data is not read)
        """Send the response, and stop the rest of the request."""
        connection = self._owner.connection
        connection.outbound.send_trailers(self, self._response)
        if self.recv_open:
            connection.reset_stream(self, ErrorCode.NO_ERROR)
        self._owner.flush()

    def on_headers(self, header_block: bytes, end_stream: bool, /) -> None:
        """Do nothing: the stream has ended."""

    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        """Do nothing: the stream has ended."""

    def on_reset(self, code: int) -> None:
        """Do nothing: the stream has ended."""

    def on_refused(self, reason: str) -> None:
        """Do nothing: a client cannot refuse a stream of its own."""


def _too_large_details(error: MessageTooLargeError) -> str:
    """Return the text of grpcio and Go, by which clients recognise the limit and the size."""
    size, _, unit = error.details.partition(" ")
    if unit == "bytes":
        return f"Received message larger than max ({size} vs. {error.limit})"
    return f"Received message after decompression larger than max ({error.limit})"


def reject_with_status(owner: CallOwner, status: Status, details: str) -> RejectedCall:
    """Return a call that ends with a status."""
    return RejectedCall(owner, _RESPONSE_HEADERS + encode_status(status, details))


def reject_with_http_error(owner: CallOwner, http_status: int) -> RejectedCall:
    """Return a request that is no gRPC: it ends with an HTTP status."""
    return RejectedCall(owner, encode_header_block([(b":status", b"%d" % http_status)]))
