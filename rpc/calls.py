"""A gRPC call as an HTTP/2 stream: receives the response and ends exactly once. Pure.

Source: gRPC over HTTP/2, "Responses"; for the codes of RST_STREAM, its section "Errors".
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from rpc.connection import Connection
from rpc.frames import ErrorCode, code_name
from rpc.headers import HeaderBlockCache, MalformedError, TooLargeError
from rpc.messages import PREFIX_SIZE, MessageDeframer, length_prefix
from rpc.metadata import ResponseHeaders
from rpc.status import RpcError, Status
from rpc.streams import Http2Stream

CallCallback = Callable[[Any], None]

_STATUS_BY_ERROR_CODE: Final[dict[int, Status]] = {
    ErrorCode.CANCEL: Status.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}


class Call(Http2Stream):
    """One call: the parts that unary and streaming calls share.

    `on_end` is called with the call once, when it ends.

    - `header_block`: the header block of the request without `grpc-timeout`.
    - `deadline`: loop time in seconds, or None.
    - `on_done`: the callback of the caller. The channel calls it, unless it retries the call.
    - `ended`: the call has ended. `error` is then None or the reason for the failure.
    - `initial_headers`, `trailers`: the received header blocks, None until they arrive.
    - `refused`: the peer did not process the call.
    - `is_retry`: the call was refused once and is sent again.
    - `_deframer`: None until the first message that needs one.
    - `_connection`: None until the call is started.
    """

    __slots__ = (
        "_connection",
        "_deframer",
        "_header_cache",
        "_max_message_size",
        "_on_end",
        "deadline",
        "ended",
        "error",
        "header_block",
        "initial_headers",
        "is_retry",
        "on_done",
        "refused",
        "trailers",
    )  # fmt: skip

    def __init__(
        self,
        header_block: bytes,
        max_message_size: int,
        deadline: float | None,
        on_end: CallCallback,
        on_done: CallCallback,
    ) -> None:
        self.reset_state()
        self.header_block = header_block
        self.deadline = deadline
        self.on_done = on_done
        self.error: RpcError | None = None
        self.ended = self.is_retry = self.refused = False
        self.initial_headers: ResponseHeaders | None = None
        self.trailers: ResponseHeaders | None = None
        self._max_message_size = max_message_size
        self._on_end = on_end
        self._deframer: MessageDeframer | None = None
        self._connection: Connection | None = None

    def start(
        self,
        connection: Connection,
        header_cache: HeaderBlockCache[ResponseHeaders],
        header_block: bytes,
    ) -> None:
        """Open the stream of the call on a connection, with its complete header block."""
        self._connection, self._header_cache = connection, header_cache
        self._open_stream(connection, header_block)

    def reset_for_retry(self) -> None:
        """Return to the state before `start`, for a retry of a call that the peer refused."""
        self.reset_state()
        self.is_retry, self.refused, self.ended = True, False, False
        self.error = self._connection = None

    @abstractmethod
    def _open_stream(self, connection: Connection, header_block: bytes) -> None:
        """Open the stream with the data that is sent at once."""

    @abstractmethod
    def _receive_data(self, data: bytes) -> None:
        """Handle message data. Raises RpcError for an invalid message."""

    def end(self, error: RpcError | None) -> None:
        """End the call, at most once, and reset its stream if a half is still open."""
        if self.ended:
            return
        self.ended, self.error = True, error
        connection = self._connection
        if connection is not None and (self.send_open or self.recv_open):
            connection.reset_stream(self, ErrorCode.CANCEL)
        self._on_end(self)

    def cancel(self) -> None:
        """End the call with CANCELLED, unless it has ended."""
        self.fail(Status.CANCELLED, "cancelled here")

    def fail(self, status: Status, details: str, *, sent: bool = True) -> None:
        """End the call with an error, unless it has ended. `sent`: see `RpcError.may_have_run`."""
        self.end(RpcError(status, details, may_have_run=sent))

    def on_headers(self, header_block: bytes, end_stream: bool, /) -> None:
        """Handle the initial headers or the trailers of the response."""
        if self.ended:
            return
        try:
            headers = self._header_cache.decode(header_block)
        except TooLargeError:
            self.fail(Status.RESOURCE_EXHAUSTED, "the peer's metadata is too large")
            return
        except MalformedError as error:
            self.fail(Status.INTERNAL, f"the peer's headers are malformed: {error}")
            return
        if self.initial_headers is None:
            if headers.starts_response and not end_stream:
                self.initial_headers = headers
            else:
                self._handle_initial_headers(headers, end_stream)
        elif end_stream:
            self._handle_trailers(headers)
        else:
            self.fail(Status.INTERNAL, "the peer sent headers within its answer")

    def _handle_initial_headers(self, headers: ResponseHeaders, end_stream: bool, /) -> None:
        """Handle a first header block other than plain initial headers.

        It is an interim response (1xx), a response that is not gRPC, or Trailers-Only.
        """
        if 100 <= headers.http_status < 200 and not end_stream:
            return
        http_error = headers.http_error()
        if http_error is not None and headers.status is None:
            self.fail(http_error[0], http_error[1])
        elif end_stream:
            self._handle_trailers(headers)
        else:
            self.initial_headers = headers

    def _handle_trailers(self, headers: ResponseHeaders) -> None:
        self.trailers = headers
        if headers.status is Status.OK:
            self._complete()
        elif headers.status is None:
            self.fail(Status.UNKNOWN, "the peer ended the call without a status")
        else:
            self.fail(headers.status, headers.details)

    def _complete(self) -> None:
        if self._deframer is not None and self._deframer.buffered_size:
            self.fail(Status.INTERNAL, "the answer ended within a message")
        else:
            self.end(None)

    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        """Handle message data."""
        if self.ended:
            return
        if self.initial_headers is None:
            self.fail(Status.INTERNAL, "the peer sent data before headers")
            return
        try:
            self._receive_data(data)
        except RpcError as error:
            self.end(error)
            return
        if end_stream:
            self.fail(Status.UNKNOWN, "the peer ended the call without a status")

    def _deframe(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes."""
        if self._deframer is None:
            self._deframer = MessageDeframer(self._max_message_size)
            if self.initial_headers is not None:
                self._deframer.encoding = self.initial_headers.encoding
        return self._deframer.feed(data)

    def on_reset(self, code: int) -> None:
        """End the call: the peer reset its stream.

        A first REFUSED_STREAM marks the call as `refused`.
        """
        details = f"the peer reset the call: {code_name(code)}"
        if code != ErrorCode.REFUSED_STREAM:
            self.fail(_STATUS_BY_ERROR_CODE.get(code, Status.INTERNAL), details)
        elif self.is_retry:  # the peer is overloaded: do not retry again
            self.fail(Status.UNAVAILABLE, details, sent=False)
        else:
            self.on_refused(details)

    def on_refused(self, reason: str) -> None:
        """End the call with UNAVAILABLE: the peer states that it did not process it.

        A call whose response has begun was processed, and is not marked as `refused`.
        """
        self.refused = self.initial_headers is None
        self.fail(Status.UNAVAILABLE, reason, sent=not self.refused)


class UnaryCall(Call):
    """A call with one request and one response.

    `response` is the response message if the call ended without an error.
    """

    __slots__ = ("request", "response")

    def __init__(
        self,
        header_block: bytes,
        max_message_size: int,
        deadline: float | None,
        on_end: CallCallback,
        on_done: CallCallback,
        request: bytes,
    ) -> None:
        Call.__init__(self, header_block, max_message_size, deadline, on_end, on_done)
        self.request = request
        self.response: bytes | None = None

    def _open_stream(self, connection: Connection, header_block: bytes) -> None:
        request = self.request
        connection.outbound.open_stream(
            self, header_block, length_prefix(len(request)) + request, True
        )

    def _receive_data(self, data: bytes) -> None:
        size = len(data)
        if (
            self._deframer is None
            and size >= PREFIX_SIZE
            and not data[0]
            and int.from_bytes(data[1:PREFIX_SIZE], "big")
            == size - PREFIX_SIZE
            <= self._max_message_size
        ):
            # One frame, the common case. Nothing is acknowledged: only trailers may follow.
            self._set_response(data[PREFIX_SIZE:])
            return
        if self.recv_open and self._connection is not None:
            self._connection.acknowledge_received_data(self, size)
        for message in self._deframe(data):
            self._set_response(message)

    def _set_response(self, response: bytes) -> None:
        if self.response is not None:
            raise RpcError(Status.INTERNAL, "more than one answer")
        self.response = response

    def _complete(self) -> None:
        if self.response is None:
            self.fail(Status.INTERNAL, "no answer, though the status is OK")
        elif self._deframer is None:
            self.end(None)
        else:
            super()._complete()


class StreamCall(Call):
    """A call with a stream of messages in both directions.

    `wake` is called when the stream opens, when messages arrive, when buffered data has been sent
    and when the call ends. `inbox` buffers received messages, each with the number of bytes to
    acknowledge when it is popped: until then they count against the receive window, so a slow
    reader slows the peer down. `_unacked_size` is the number of unacknowledged bytes of the
    incomplete message at the end.
    """

    __slots__ = ("_unacked_size", "inbox", "wake")

    def __init__(
        self,
        header_block: bytes,
        max_message_size: int,
        deadline: float | None,
        on_end: CallCallback,
        on_done: CallCallback,
    ) -> None:
        super().__init__(header_block, max_message_size, deadline, on_end, on_done)
        self.inbox: deque[tuple[bytes, int]] = deque()
        self.wake: Callable[[], None] = _noop
        self._unacked_size = 0

    def _open_stream(self, connection: Connection, header_block: bytes) -> None:
        connection.outbound.open_stream(self, header_block, b"", False)
        self.wake()

    def send(self, message: bytes) -> None:
        """Send a message. `send_buffer` is None again when all of it has been framed."""
        if self._connection is not None:
            data = length_prefix(len(message)) + message
            self._connection.outbound.send_data(self, data, end_stream=False)

    def finish_sending(self) -> None:
        """Close the sending half after the buffered messages."""
        if self._connection is not None:
            self._connection.outbound.send_data(self, b"", end_stream=True)

    def pop(self) -> bytes:
        """Return the next message and acknowledge its bytes. Raises IndexError if there is none."""
        message, size = self.inbox.popleft()
        self._acknowledge(size)
        return message

    def _receive_data(self, data: bytes) -> None:
        messages = self._deframe(data)
        self._unacked_size += len(data)
        if messages and self._connection is not None:
            self._connection.budget.earn(len(messages))
        if messages and self._deframer is not None:
            partial_size = self._deframer.buffered_size
            self.inbox.append((messages[0], self._unacked_size - partial_size))
            self.inbox.extend((message, 0) for message in messages[1:])
            self._unacked_size = partial_size
        self._acknowledge(0)
        self.wake()

    def _acknowledge(self, size: int) -> None:
        """Acknowledge `size` bytes, so that the peer may send as many again.

        If `inbox` is empty, acknowledge the bytes of the incomplete message too: a message larger
        than the window could not arrive otherwise.
        """
        if not self.inbox:
            size, self._unacked_size = size + self._unacked_size, 0
        if self._connection is not None:
            self._connection.acknowledge_received_data(self, size)

    def end(self, error: RpcError | None) -> None:
        """End the call and call `wake`."""
        super().end(error)
        self.wake()

    def on_sent(self) -> None:
        """Call `wake`: the next message can be sent."""
        self.wake()


def _noop() -> None:
    pass
