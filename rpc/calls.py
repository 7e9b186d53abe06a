"""A gRPC call as a stream of a connection: answers in, one end, whatever befalls it. Pure.

Source: gRPC over HTTP/2, "Responses"; codes of RST_STREAM by its section "Errors".
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from rpc.connection import Connection
from rpc.frames import ErrorCode, code_name
from rpc.headers import Blocks, TooLargeError
from rpc.messages import PREFIX, Messages, prefix
from rpc.metadata import Head
from rpc.status import RpcError, Status
from rpc.streams import Stream

Over = Callable[[Any], None]

_BY_CODE: Final[dict[int, Status]] = {
    ErrorCode.CANCEL: Status.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}


class Call(Stream):
    """One call. `over` is called with it once, at its end; then `error` is None or says why.

    `block` is its header block but for the timeout, `deadline` when it is due, `done` what its
    maker wants to be called with it. `initial` and `trailing` are the metadata that came.
    `refused`: the peer never looked at it; `again`: it has been out before.
    """

    __slots__ = (
        "_blocks", "_connection", "_limit", "_messages", "_over", "again", "block", "deadline",
        "done", "ended", "error", "initial", "refused", "trailing",
    )  # fmt: skip

    def __init__(
        self, block: bytes, limit: int, deadline: float | None, over: Over, done: Over
    ) -> None:
        self.fresh()
        self.block = block
        self.deadline = deadline
        self.done = done
        self.error: RpcError | None = None
        self.ended = self.again = self.refused = False
        self.initial: Head | None = None
        self.trailing: Head | None = None
        self._limit = limit
        self._over = over
        self._messages: Messages | None = None
        self._connection: Connection | None = None

    def start(self, connection: Connection, blocks: Blocks[Head], block: bytes) -> None:
        """Go out on a connection, with a header block that is complete."""
        self._connection, self._blocks = connection, blocks
        self._open(connection, block)

    def renew(self) -> None:
        """Be as before the start: the peer never looked at the call."""
        self.fresh()
        self.again, self.refused, self.ended = True, False, False
        self.error = self._connection = None

    @abstractmethod
    def _open(self, connection: Connection, block: bytes) -> None:
        """Open the stream, with what is sent at once."""

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Take in data of the answer. Raises RpcError for messages that cannot be read."""

    def end(self, error: RpcError | None) -> None:
        """End the call, once; what is still open of its stream is given up."""
        if self.ended:
            return
        self.ended, self.error = True, error
        connection = self._connection
        if connection is not None and (self.sending or self.receiving):
            connection.reset(self, ErrorCode.CANCEL)
        self._over(self)

    def cancel(self) -> None:
        """End the call; one that has ended stays as it is."""
        self.fail(Status.CANCELLED, "cancelled here")

    def fail(self, status: Status, words: str, *, sent: bool = True) -> None:
        """End the call with an error."""
        self.end(RpcError(status, words, sent=sent))

    def on_headers(self, block: bytes, ended: bool, /) -> None:
        """Take the head of the response, or its trailers."""
        if self.ended:
            return
        try:
            head = self._blocks.read(block)
        except TooLargeError:
            self.fail(Status.RESOURCE_EXHAUSTED, "the peer's metadata is too large")
            return
        if self.initial is None:
            if head.opens and not ended:
                self.initial = head
            else:
                self._begin(head, ended)
        elif ended:
            self._finish(head)
        else:
            self.fail(Status.INTERNAL, "the peer sent headers within its answer")

    def _begin(self, head: Head, ended: bool, /) -> None:
        """Take a first head that is not the plain head of an answer."""
        if 100 <= head.http < 200 and not ended:
            return
        fault = head.fault()
        if fault is not None and head.status is None:
            self.fail(fault[0], fault[1])
        elif ended:
            self._finish(head)
        else:
            self.initial = head

    def _finish(self, head: Head) -> None:
        self.trailing = head
        if head.status is Status.OK:
            self._complete()
        elif head.status is None:
            self.fail(Status.UNKNOWN, "the peer ended the call without a status")
        else:
            self.fail(head.status, head.details)

    def _complete(self) -> None:
        if self._messages is not None and self._messages.held:
            self.fail(Status.INTERNAL, "the answer ended within a message")
        else:
            self.end(None)

    def on_data(self, data: bytes, ended: bool, /) -> None:
        """Take data of messages."""
        if self.ended:
            return
        if self.initial is None:
            self.fail(Status.INTERNAL, "the peer sent data before headers")
            return
        try:
            self._take(data)
        except RpcError as error:
            self.end(error)
            return
        if ended:
            self.fail(Status.UNKNOWN, "the peer ended the call without a status")

    def _cut(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole with this data."""
        if self._messages is None:
            self._messages = Messages(self._limit)
            if self.initial is not None:
                self._messages.encoding = self.initial.encoding
        return self._messages.feed(data)

    def on_reset(self, code: int) -> None:
        """End: the peer gave the call up."""
        words = f"the peer reset the call: {code_name(code)}"
        if code != ErrorCode.REFUSED_STREAM:
            self.fail(_BY_CODE.get(code, Status.INTERNAL), words)
        elif self.again:  # it has too much to do, and asking on would not help it
            self.fail(Status.UNAVAILABLE, words, sent=False)
        else:
            self.on_refused(words)

    def on_refused(self, reason: str) -> None:
        """End: the peer never looked at the call, or says so."""
        self.refused = self.initial is None
        self.fail(Status.UNAVAILABLE, reason, sent=not self.refused)


class UnaryCall(Call):
    """A call with one request and one answer, which is `message` at its good end."""

    __slots__ = ("message", "request")

    def __init__(
        self,
        block: bytes,
        limit: int,
        deadline: float | None,
        over: Over,
        done: Over,
        request: bytes,
    ) -> None:
        Call.__init__(self, block, limit, deadline, over, done)
        self.request = request
        self.message: bytes | None = None

    def _open(self, connection: Connection, block: bytes) -> None:
        request = self.request
        connection.outbound.open(self, block, prefix(len(request)) + request, True)

    def _take(self, data: bytes) -> None:
        size = len(data)
        if self.receiving and self._connection is not None:
            self._connection.use_up(self, size)
        if (
            self._messages is None
            and size >= PREFIX
            and not data[0]
            and int.from_bytes(data[1:PREFIX], "big") == size - PREFIX <= self._limit
        ):
            self._keep(data[PREFIX:])  # the whole answer at once, as nearly always
            return
        for message in self._cut(data):
            self._keep(message)

    def _keep(self, message: bytes) -> None:
        if self.message is not None:
            raise RpcError(Status.INTERNAL, "more than one answer")
        self.message = message

    def _complete(self) -> None:
        if self.message is None:
            self.fail(Status.INTERNAL, "no answer, though the status is OK")
        elif self._messages is None:
            self.end(None)
        else:
            super()._complete()


class StreamCall(Call):
    """A call with a stream of messages either way; `wake` is called whenever something changed.

    Messages wait in `inbox` until they are popped, and as long the peer may send so many less.
    """

    __slots__ = ("_owed", "inbox", "wake")

    def __init__(
        self, block: bytes, limit: int, deadline: float | None, over: Over, done: Over
    ) -> None:
        super().__init__(block, limit, deadline, over, done)
        self.inbox: deque[tuple[bytes, int]] = deque()
        self.wake: Callable[[], None] = _nothing
        self._owed = 0  # bytes of a message that is not whole, and that the peer may not send again

    def _open(self, connection: Connection, block: bytes) -> None:
        connection.outbound.open(self, block, b"", False)
        self.wake()

    def send(self, message: bytes) -> None:
        """Send a message; `pending` is None again when all of it is on its way."""
        if self._connection is not None:
            data = prefix(len(message)) + message
            self._connection.outbound.send(self, data, ended=False)

    def finish_sending(self) -> None:
        """Say that no more messages come from here."""
        if self._connection is not None:
            self._connection.outbound.send(self, b"", ended=True)

    def pop(self) -> bytes:
        """Return the next message, and let the peer send as much again."""
        message, size = self.inbox.popleft()
        self._free(size)
        return message

    def _take(self, data: bytes) -> None:
        messages = self._cut(data)
        self._owed += len(data)
        if messages and self._messages is not None:
            rest = self._messages.held
            self.inbox.append((messages[0], self._owed - rest))
            self.inbox.extend((message, 0) for message in messages[1:])
            self._owed = rest
        self._free(0)
        self.wake()

    def _free(self, size: int) -> None:
        """Let the peer send so many bytes again.

        When nothing whole is left to read, what is here of the next message is let go too: the
        rest of it could not come otherwise.
        """
        if not self.inbox:
            size, self._owed = size + self._owed, 0
        if self._connection is not None:
            self._connection.use_up(self, size)

    def end(self, error: RpcError | None) -> None:
        """End the call, and wake who waits for it."""
        super().end(error)
        self.wake()

    def on_sent(self) -> None:
        """Wake who waits to send more."""
        self.wake()


def _nothing() -> None:
    pass
