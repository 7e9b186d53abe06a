"""A session at a loader, as a non-blocking stream with a wake callback.

The owner is woken after each change and then polls: frames may be sent, results have arrived, the
session has ended.
"""

from collections.abc import Callable
from typing import Protocol

from atom.errors import to_ase_error
from rpc.calls import StreamCall
from rpc.client import Channel
from schemas.model.errors import AseError


class LoaderStream(Protocol):
    """A session at a loader.

    Frames are serialized LoaderInputs, results are serialized LoaderOutputs.
    """

    def can_send(self) -> bool:
        """Return whether a frame may be sent now."""

    def send(self, frame: bytes) -> None:
        """Send a frame. Call it only if `can_send`."""

    def finish_sending(self) -> None:
        """Close the sending half. Call it only if `can_send`."""

    def pop_result(self) -> bytes | None:
        """Return the next result, or None; the loader may then send further results."""

    def is_finished(self) -> bool:
        """Return whether the session has ended and all results have been popped."""

    def failure(self) -> AseError | None:
        """Return the error that the session ended with, or None."""

    def cancel(self) -> None:
        """Cancel the session, also at the loader."""


class NativeStream:
    """A session over `ase.v1.Loader/Session`: one gRPC stream.

    HTTP/2 flow control gives back-pressure in both directions. `timeout` is the deadline of the
    session in seconds.
    """

    __slots__ = ("_call", "_channel")

    def __init__(
        self, channel: Channel, header_block: bytes, timeout: float, wake: Callable[[], None]
    ) -> None:
        self._channel = channel
        self._call: StreamCall = channel.start_stream(header_block, timeout, wake)

    def can_send(self) -> bool:
        """Return whether the stream is open and the previous frame has been handed to HTTP/2."""
        call = self._call
        return call.id != 0 and call.send_buffer is None and call.send_open and not call.ended

    def send(self, frame: bytes) -> None:
        """Send a frame as one gRPC message."""
        self._call.send(frame)
        self._channel.flush()

    def finish_sending(self) -> None:
        """Close the sending half of the stream."""
        self._call.finish_sending()
        self._channel.flush()

    def pop_result(self) -> bytes | None:
        """Return the next result and acknowledge its bytes, or None."""
        call = self._call
        if not call.inbox:
            return None
        message = call.pop()
        if not call.ended:
            self._channel.flush()
        return message

    def is_finished(self) -> bool:
        """Return whether the call has ended and all results have been popped."""
        return self._call.ended and not self._call.inbox

    def failure(self) -> AseError | None:
        """Return the error for the status of the call, or None."""
        error = self._call.error
        return None if error is None else to_ase_error(error)

    def cancel(self) -> None:
        """Reset the stream and discard the results that were not popped."""
        self._call.cancel()
        self._call.inbox.clear()
