"""An HTTP/2 stream without a role: its two halves, its two windows, its callbacks. Pure."""

from abc import ABC, abstractmethod
from collections import deque
from typing import Final

# Receive window of a new stream, in bytes: SETTINGS_INITIAL_WINDOW_SIZE of this side.
INITIAL_RECV_WINDOW: Final = 1 << 20


class Http2Stream(ABC):
    """One stream. The code that uses it subclasses it; the connection calls the `on_` methods.

    - `id`: the stream id; 0 until the stream is opened.
    - `send_open`, `recv_open`: whether each half is open. The connection forgets the stream when
      both are closed.
    - `send_window`: bytes that this side may send. It may be negative (RFC 9113, 6.9.2).
    - `recv_window`: bytes that the peer may send.
    - `consumed`: bytes that were received and processed, and that no WINDOW_UPDATE has returned to
      the peer yet.
    - `send_buffer`: data that waits for a window; None if nothing waits.
    - `end_stream_requested`: END_STREAM goes out with the last buffered data.
    - `pending_trailers`: the header block that ends the stream after the buffered data, or None.
    """

    __slots__ = (
        "consumed",
        "end_stream_requested",
        "id",
        "pending_trailers",
        "recv_open",
        "recv_window",
        "send_buffer",
        "send_open",
        "send_window",
    )

    def __init__(self) -> None:
        self.reset_state()

    def reset_state(self) -> None:
        """Set the state of a stream that has not been opened."""
        self.id = 0
        self.send_open = self.recv_open = True
        self.send_window = 0
        self.recv_window = INITIAL_RECV_WINDOW
        self.consumed = 0
        self.send_buffer: deque[memoryview] | None = None
        self.end_stream_requested = False
        self.pending_trailers: bytes | None = None

    # Flags are positional in the methods that run for every frame: a keyword argument costs as much
    # as the call itself.

    @abstractmethod
    def on_headers(self, header_block: bytes, end_stream: bool, /) -> None:
        """Handle a header block. If `end_stream`, the peer has closed its half."""

    @abstractmethod
    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        """Handle data, without padding.

        The subclass passes the size of the processed data to
        `Connection.acknowledge_received_data`. If `end_stream`, the peer has closed its half.
        """

    @abstractmethod
    def on_reset(self, code: int) -> None:
        """Handle an RST_STREAM of the peer with error code `code`."""

    @abstractmethod
    def on_refused(self, reason: str) -> None:
        """Handle a GOAWAY by which the peer did not and will not process the stream."""

    def on_sent(self) -> None:  # noqa: B027 (optional: for a sender that waits)
        """Handle that `send_buffer` has been emptied: all of its data is in frames."""
