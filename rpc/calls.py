"""A gRPC call as a stream of a connection: answers in, one end, whatever befalls it. Pure.

Source: gRPC over HTTP/2, "Responses"; codes of RST_STREAM by its section "Errors".
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from rpc.connection import Connection
from rpc.frames import ErrorCode, code_name
from rpc.headers import HeaderBlockCache, TooLargeError
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
    """One call. `over` is called with it once, at its end; then `error` is None or says why.

    `block` is its header block but for the timeout, `deadline` when it is due, `done` what its
    maker wants to be called with it. `initial` and `trailing` are the metadata that came.
    `refused`: the peer never looked at it; `again`: it has been out before.
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
        """Go out on a connection, with a header block that is complete."""
        self._connection, self._header_cache = connection, header_cache
        self._open_stream(connection, header_block)

    def reset_for_retry(self) -> None:
        """Be as before the start: the peer never looked at the call."""
        self.reset_state()
        self.is_retry, self.refused, self.ended = True, False, False
        self.error = self._connection = None

    @abstractmethod
    def _open_stream(self, connection: Connection, header_block: bytes) -> None:
        """Open the stream, with what is sent at once."""

    @abstractmethod
    def _receive_data(self, data: bytes) -> None:
        """Take in data of the answer. Raises RpcError for messages that cannot be read."""

    def end(self, error: RpcError | None) -> None:
        """End the call, once; what is still open of its stream is given up."""
        if self.ended:
            return
        self.ended, self.error = True, error
        connection = self._connection
        if connection is not None and (self.send_open or self.recv_open):
            connection.reset_stream(self, ErrorCode.CANCEL)
        self._on_end(self)

    def cancel(self) -> None:
        """End the call; one that has ended stays as it is."""
        self.fail(Status.CANCELLED, "cancelled here")

    def fail(self, status: Status, details: str, *, sent: bool = True) -> None:
        """End the call with an error."""
        self.end(RpcError(status, details, sent=sent))

    def on_headers(self, header_block: bytes, end_stream: bool, /) -> None:
        """Take the head of the response, or its trailers."""
        if self.ended:
            return
        try:
            headers = self._header_cache.decode(header_block)
        except TooLargeError:
            self.fail(Status.RESOURCE_EXHAUSTED, "the peer's metadata is too large")
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
        """Take a first head that is not the plain head of an answer."""
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
        """Take data of messages."""
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
        """Return the messages that are whole with this data."""
        if self._deframer is None:
            self._deframer = MessageDeframer(self._max_message_size)
            if self.initial_headers is not None:
                self._deframer.encoding = self.initial_headers.encoding
        return self._deframer.feed(data)

    def on_reset(self, code: int) -> None:
        """End: the peer gave the call up."""
        details = f"the peer reset the call: {code_name(code)}"
        if code != ErrorCode.REFUSED_STREAM:
            self.fail(_STATUS_BY_ERROR_CODE.get(code, Status.INTERNAL), details)
        elif self.is_retry:  # it has too much to do, and asking on would not help it
            self.fail(Status.UNAVAILABLE, details, sent=False)
        else:
            self.on_refused(details)

    def on_refused(self, reason: str) -> None:
        """End: the peer never looked at the call, or says so."""
        self.refused = self.initial_headers is None
        self.fail(Status.UNAVAILABLE, reason, sent=not self.refused)


class UnaryCall(Call):
    """A call with one request and one answer, which is `message` at its good end."""

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
        if self.recv_open and self._connection is not None:
            self._connection.acknowledge_received_data(self, size)
        if (
            self._deframer is None
            and size >= PREFIX_SIZE
            and not data[0]
            and int.from_bytes(data[1:PREFIX_SIZE], "big")
            == size - PREFIX_SIZE
            <= self._max_message_size
        ):
            self._set_response(data[PREFIX_SIZE:])  # the whole answer at once, as nearly always
            return
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
    """A call with a stream of messages either way; `wake` is called whenever something changed.

    Messages wait in `inbox` until they are popped, and as long the peer may send so many less.
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
        self._unacked_size = (
            0  # bytes of a message that is not whole, and that the peer may not send again
        )

    def _open_stream(self, connection: Connection, header_block: bytes) -> None:
        connection.outbound.open_stream(self, header_block, b"", False)
        self.wake()

    def send(self, message: bytes) -> None:
        """Send a message; `pending` is None again when all of it is on its way."""
        if self._connection is not None:
            data = length_prefix(len(message)) + message
            self._connection.outbound.send_data(self, data, end_stream=False)

    def finish_sending(self) -> None:
        """Say that no more messages come from here."""
        if self._connection is not None:
            self._connection.outbound.send_data(self, b"", end_stream=True)

    def pop(self) -> bytes:
        """Return the next message, and let the peer send as much again."""
        message, size = self.inbox.popleft()
        self._acknowledge(size)
        return message

    def _receive_data(self, data: bytes) -> None:
        messages = self._deframe(data)
        self._unacked_size += len(data)
        if messages and self._deframer is not None:
            partial_size = self._deframer.buffered_size
            self.inbox.append((messages[0], self._unacked_size - partial_size))
            self.inbox.extend((message, 0) for message in messages[1:])
            self._unacked_size = partial_size
        self._acknowledge(0)
        self.wake()

    def _acknowledge(self, size: int) -> None:
        """Let the peer send so many bytes again.

        When nothing whole is left to read, what is here of the next message is let go too: the
        rest of it could not come otherwise.
        """
        if not self.inbox:
            size, self._unacked_size = size + self._unacked_size, 0
        if self._connection is not None:
            self._connection.acknowledge_received_data(self, size)

    def end(self, error: RpcError | None) -> None:
        """End the call, and wake who waits for it."""
        super().end(error)
        self.wake()

    def on_sent(self) -> None:
        """Wake who waits to send more."""
        self.wake()


def _noop() -> None:
    pass
