"""A session at a loader, for one who is woken when something changed: what may go, what came."""

from collections.abc import Callable
from typing import Protocol

from atom.faults import to_ase_error
from rpc.calls import StreamCall
from rpc.client import Channel
from schemas.model.errors import AseError


class LoaderStream(Protocol):
    """A session at a loader. Frames are serialised LoaderInputs, results LoaderOutputs."""

    def can_send(self) -> bool:
        """Return whether a frame may be sent now."""

    def send(self, frame: bytes) -> None:
        """Send a frame, where there is room."""

    def finish_sending(self) -> None:
        """Say that no other frame comes, where there is room."""

    def pop_result(self) -> bytes | None:
        """Return the next result, and let the loader send as much again; None: none is here."""

    def is_finished(self) -> bool:
        """Return whether the loader has ended it, and every result was taken."""

    def failure(self) -> AseError | None:
        """Return what it ended with, None where it ended well."""

    def cancel(self) -> None:
        """Give it up; the loader is told."""


class NativeStream:
    """A session by `ase.v1.Loader/Session`: one HTTP/2 stream."""

    __slots__ = ("_call", "_channel")

    def __init__(
        self, channel: Channel, header_block: bytes, timeout: float, wake: Callable[[], None]
    ) -> None:
        self._channel = channel
        self._call: StreamCall = channel.start_stream(header_block, timeout, wake)

    def can_send(self) -> bool:
        """Return whether the frame before is on its way."""
        call = self._call
        return call.id != 0 and call.send_buffer is None and call.send_open and not call.ended

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._call.send(frame)
        self._channel.flush()

    def finish_sending(self) -> None:
        """Close our half."""
        self._call.finish_sending()
        self._channel.flush()

    def pop_result(self) -> bytes | None:
        """Return the next result."""
        call = self._call
        if not call.inbox:
            return None
        message = call.pop()
        if not call.ended:
            self._channel.flush()
        return message

    def is_finished(self) -> bool:
        """Return whether the call has ended."""
        return self._call.ended and not self._call.inbox

    def failure(self) -> AseError | None:
        """Return what the status of the call means."""
        error = self._call.error
        return None if error is None else to_ase_error(error)

    def cancel(self) -> None:
        """Reset the stream."""
        self._call.cancel()
        self._call.inbox.clear()
