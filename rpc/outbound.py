"""The sending side of a connection: opens streams, splits data into frames, flow control. Pure.

Data that exceeds a window is buffered with its stream, without a copy. Source: RFC 9113, sections
4.2, 5.1.1 and 5.2.
"""

from collections import deque
from typing import Final

from rpc import frames
from rpc.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    ErrorCode,
    ProtocolError,
    Settings,
    pack_frame_header,
)
from rpc.streams import Http2Stream

# Bytes that one stream may send before the next stream is scheduled.
_QUANTUM: Final = 1 << 18
# Bytes of data that may be framed and not yet written. Only a write to the transport shows whether
# the peer reads, so a larger backlog of frames would evade back-pressure.
_MAX_UNWRITTEN: Final = 1 << 18


class Outbound:
    """The sending side of one connection.

    - `streams`: the streams with an open half, by id.
    - `peer_settings`: the settings of the peer.
    - `next_stream_id`: id of the next stream opened by this side, from `first_stream_id` in steps
      of 2.
    - `stream_ids_exhausted`: no stream id is left, so that a new connection is needed.
    - `blocked`: if True, no DATA frame is emitted. The transport sets it when its buffer is full.
    - `frames`: the frames to write, in order. `data_frames` counts those of data so far.
    - `_send_window`: bytes that the connection's window allows, of `_granted` ones in all.
    - `_write_budget`: bytes of data that may be framed until the next `take_frames`.
    - `_stalled_streams`: streams with buffered data that waits for the connection (its window, the
      write budget or `blocked`), in the order in which they are scheduled. A stream that waits for
      its own window alone is not added.
    """

    def __init__(self, first_stream_id: int) -> None:
        self.streams: dict[int, Http2Stream] = {}
        self.peer_settings = Settings()
        self.next_stream_id = first_stream_id
        self.stream_ids_exhausted = False
        self.blocked = False
        self.frames: list[bytes | memoryview] = []
        self._send_window = self._granted = frames.DEFAULT_WINDOW
        self.data_frames = 0
        self._stalled_streams: dict[int, Http2Stream] = {}
        self._write_budget = _MAX_UNWRITTEN

    def sent_bytes(self) -> int:
        """Return the number of bytes of data that were framed."""
        return self._granted - self._send_window

    def take_frames(self) -> list[bytes | memoryview]:
        """Return and remove the frames to write, and renew the write budget.

        Call `on_flushed` after they have been written.
        """
        buffers, self.frames = self.frames, []
        self._write_budget = _MAX_UNWRITTEN
        return buffers

    def open_stream(
        self, stream: Http2Stream, header_block: bytes, data: bytes, end_stream: bool, /
    ) -> None:
        """Open a stream: emit its header block and its first data, which may be empty.

        Data that exceeds a window is buffered.
        """
        stream_id = stream.id = self.next_stream_id
        self.next_stream_id = next_stream_id = stream_id + 2
        self.stream_ids_exhausted = next_stream_id > frames.MAX_STREAM_ID
        self.streams[stream_id] = stream
        peer_settings = self.peer_settings
        stream.send_window = send_window = peer_settings.initial_window_size
        max_frame_size = peer_settings.max_frame_size
        self._emit_headers(stream_id, header_block, 0)
        size = len(data)
        if (
            size <= max_frame_size
            and size <= send_window
            and size <= self._send_window
            and size <= self._write_budget
            and not self.blocked
        ):
            if size or end_stream:
                flags = END_STREAM if end_stream else 0
                self.frames.append(pack_frame_header(size >> 8, size & 255, DATA, flags, stream_id))
                self.frames.append(data)
                self.data_frames += 1
                stream.send_window = send_window - size
                self._send_window -= size
                self._write_budget -= size
                stream.send_open = not end_stream
        else:
            self.send_data(stream, data, end_stream=end_stream)

    def accept_stream(self, stream: Http2Stream, stream_id: int) -> None:
        """Add a stream that the peer opened."""
        stream.id = stream_id
        stream.send_window = self.peer_settings.initial_window_size
        self.streams[stream_id] = stream

    def send_headers(self, stream: Http2Stream, header_block: bytes) -> None:
        """Emit a header block that data or trailers follow."""
        self._emit_headers(stream.id, header_block, 0)

    def send_trailers(self, stream: Http2Stream, header_block: bytes) -> None:
        """End this half of a stream with a header block, after its buffered data.

        If this side has already closed its half, nothing is sent.
        """
        if not stream.send_open:
            return
        if stream.send_buffer is not None:
            stream.pending_trailers = header_block
            return
        self._emit_headers(stream.id, header_block, END_STREAM)
        stream.send_open = False
        if not stream.recv_open:
            self.streams.pop(stream.id, None)

    def send_data(self, stream: Http2Stream, data: bytes, *, end_stream: bool) -> None:
        """Emit data as far as the windows allow, and buffer the rest.

        If this side has already closed its half, the data is dropped.
        """
        if not stream.send_open:
            return
        if stream.send_buffer is None:
            size = len(data)
            sendable = min(
                self.peer_settings.max_frame_size,
                stream.send_window,
                self._send_window,
                self._write_budget,
            )
            if 0 < size <= sendable and not self.blocked:  # the common case
                stream.end_stream_requested = end_stream
                self._emit_data(stream, memoryview(data), end_stream=end_stream)
                return
            stream.send_buffer = deque()
        if data or end_stream:
            stream.send_buffer.append(memoryview(data))
        stream.end_stream_requested = end_stream
        if self._send_pending(stream):
            self._send_stalled()

    def drop_stream(self, stream: Http2Stream) -> None:
        """Close both halves of a stream and discard its buffered data."""
        self.streams.pop(stream.id, None)
        self._stalled_streams.pop(stream.id, None)
        stream.send_open = stream.recv_open = False
        stream.send_buffer = None

    def unblock(self) -> None:
        """Clear `blocked` and emit buffered data."""
        self.blocked = False
        self._send_stalled()

    def on_flushed(self) -> None:
        """Emit data that waited for the write budget, after the frames have been written."""
        if self._stalled_streams and not self.blocked:
            self._send_stalled()

    def increase_connection_window(self, increment: int) -> None:
        """Increase the connection's send window by `increment` bytes and emit buffered data.

        Raises ProtocolError if the window exceeds 2^31-1.
        """
        self._send_window += _check_increment(increment, self._send_window)
        self._granted += increment
        self._send_stalled()

    def adjust_stream_window(self, stream: Http2Stream, delta: int) -> None:
        """Change a stream's send window by `delta` bytes and emit buffered data.

        `delta` is negative if the peer reduced its initial window (RFC 9113, 6.9.2). Raises
        ProtocolError if the window exceeds 2^31-1.
        """
        stream.send_window += _check_increment(delta, stream.send_window)
        if stream.send_buffer and delta > 0 and self._send_pending(stream):
            self._send_stalled()

    def _emit_headers(self, stream_id: int, header_block: bytes, flags: int, /) -> None:
        """Emit a header block. `flags` is END_STREAM or 0."""
        size = len(header_block)
        if size > self.peer_settings.max_frame_size:
            self._emit_header_fragments(stream_id, header_block, flags)
        else:
            flags |= END_HEADERS
            self.frames.append(pack_frame_header(size >> 8, size & 255, HEADERS, flags, stream_id))
            self.frames.append(header_block)

    def _emit_header_fragments(self, stream_id: int, header_block: bytes, flags: int, /) -> None:
        max_frame_size = self.peer_settings.max_frame_size
        first = header_block[:max_frame_size]
        self.frames.append(frames.frame(HEADERS, flags, stream_id, first))
        for offset in range(max_frame_size, len(header_block), max_frame_size):
            flags = END_HEADERS if offset + max_frame_size >= len(header_block) else 0
            self.frames.append(
                frames.frame(
                    CONTINUATION, flags, stream_id, header_block[offset : offset + max_frame_size]
                )
            )

    def _send_pending(self, stream: Http2Stream) -> bool:
        """Emit buffered data of a stream, at most one quantum.

        Return whether it stopped at the quantum while its own window allows more.
        """
        send_buffer, budget = stream.send_buffer, _QUANTUM
        while send_buffer:
            data = send_buffer[0]
            sendable = min(
                self.peer_settings.max_frame_size,
                budget,
                stream.send_window,
                self._send_window,
                self._write_budget,
            )
            size = max(0, min(len(data), sendable))
            if self.blocked or (data and not size):
                connection_blocked = stream.send_window > 0 or not data
                if connection_blocked:  # it does not wait for its own window
                    if budget < _QUANTUM:  # it sent data: move it to the end
                        self._stalled_streams.pop(stream.id, None)
                    self._stalled_streams[stream.id] = stream
                return connection_blocked and budget <= 0
            if size == len(data):
                send_buffer.popleft()
            else:
                send_buffer[0] = data[size:]
            budget -= size
            self._emit_data(
                stream, data[:size], end_stream=stream.end_stream_requested and not send_buffer
            )
        self._stalled_streams.pop(stream.id, None)
        stream.send_buffer = None
        if stream.pending_trailers is not None:
            self.send_trailers(stream, stream.pending_trailers)
        stream.on_sent()
        return False

    def _emit_data(self, stream: Http2Stream, data: memoryview, *, end_stream: bool) -> None:
        size = len(data)
        flags = END_STREAM if end_stream else 0
        self.frames += (pack_frame_header(size >> 8, size & 255, DATA, flags, stream.id), data)
        self.data_frames += 1
        stream.send_window -= size
        self._send_window -= size
        self._write_budget -= size
        if end_stream:
            stream.send_open = False
            if not stream.recv_open:
                self.streams.pop(stream.id, None)

    def _send_stalled(self) -> None:
        """Emit data of the stalled streams round-robin, as far as the connection allows."""
        stalled = list(self._stalled_streams.values())
        while stalled:
            stalled = [stream for stream in stalled if self._send_pending(stream)]


def _check_increment(increment: int, window: int) -> int:
    if window + increment > MAX_WINDOW:
        raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")
    return increment
