"""What we send on a connection: streams opened, data cut to frames, held to the windows. Pure.

Data that finds no window waits with its stream, uncopied. Source: RFC 9113, sections 4.2, 5.1.1
and 5.2.
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
    pack_head,
)
from rpc.streams import Stream

# What one stream may send before another has its turn.
_QUANTUM: Final = 1 << 18
# Bytes of data that may be ready and not yet written: only a write shows whether the peer takes it.
_READY: Final = 1 << 18


class Outbound:
    """The sending side. `peer` is what the other side lets us do; `blocked` holds all data back.

    `first` is the number of the first stream opened here.
    """

    def __init__(self, first: int) -> None:
        self.streams: dict[int, Stream] = {}
        self.peer = Settings()
        self.next = first
        self.blocked = False
        self.frames: list[bytes | memoryview] = []
        self._window = frames.DEFAULT_WINDOW
        self._stalled: dict[int, Stream] = {}
        self._room = _READY

    def take(self) -> list[bytes | memoryview]:
        """Return what is to be written, and forget it; `go_on` when it was."""
        out, self.frames = self.frames, []
        self._room = _READY
        return out

    def spent(self) -> bool:
        """Return whether the numbers for streams are used up: another connection is needed."""
        return self.next > frames.MAX_STREAM_ID

    def open(self, stream: Stream, block: bytes, data: bytes, ended: bool, /) -> None:
        """Open a stream with a header block and its first data, which may be empty."""
        number = stream.id = self.next
        self.next = number + 2
        self.streams[number] = stream
        peer = self.peer
        stream.window = window = peer.window
        size, room = len(block), peer.frame
        if size > room:
            self._long_block(number, block)
        else:
            self.frames.append(pack_head(size >> 8, size & 255, HEADERS, END_HEADERS, number))
            self.frames.append(block)
        size = len(data)
        if (
            size <= room
            and size <= window
            and size <= self._window
            and size <= self._room
            and not self.blocked
        ):
            if size or ended:
                flags = END_STREAM if ended else 0
                self.frames.append(pack_head(size >> 8, size & 255, DATA, flags, number))
                self.frames.append(data)
                stream.window = window - size
                self._window -= size
                self._room -= size
                stream.sending = not ended
        else:
            self.send(stream, data, ended=ended)

    def send(self, stream: Stream, data: bytes, *, ended: bool) -> None:
        """Send data as far as the windows allow; the rest goes when they open."""
        if not stream.sending:
            return
        if stream.pending is None:
            size = len(data)
            room = min(self.peer.frame, stream.window, self._window, self._room)
            if 0 < size <= room and not self.blocked:  # all of it at once, as nearly always
                stream.ending = ended
                self._emit(stream, memoryview(data), ended=ended)
                return
            stream.pending = deque()
        if data or ended:
            stream.pending.append(memoryview(data))
        stream.ending = ended
        if self._push(stream):
            self._push_stalled()

    def drop(self, stream: Stream) -> None:
        """Forget a stream that ended, and what it had still to send."""
        self.streams.pop(stream.id, None)
        self._stalled.pop(stream.id, None)
        stream.sending = stream.receiving = False
        stream.pending = None

    def unblock(self) -> None:
        """Go on sending after `blocked` was set."""
        self.blocked = False
        self._push_stalled()

    def go_on(self) -> None:
        """Make ready what had to wait until the rest was written."""
        if self._stalled and not self.blocked:
            self._push_stalled()

    def widen(self, size: int) -> None:
        """Take in that the peer has room for more on the connection."""
        self._window += _sane(size, self._window)
        self._push_stalled()

    def widen_stream(self, stream: Stream, size: int) -> None:
        """Take in that the peer has room for more on a stream; less, when `size` is negative."""
        stream.window += _sane(size, stream.window)
        if stream.pending and size > 0 and self._push(stream):
            self._push_stalled()

    def _long_block(self, number: int, block: bytes) -> None:
        room = self.peer.frame
        self.frames.append(frames.frame(HEADERS, 0, number, block[:room]))
        for at in range(room, len(block), room):
            flags = END_HEADERS if at + room >= len(block) else 0
            self.frames.append(frames.frame(CONTINUATION, flags, number, block[at : at + room]))

    def _push(self, stream: Stream) -> bool:
        """Send what waits in a stream, a quantum at most; return whether it should have more."""
        pending, budget = stream.pending, _QUANTUM
        while pending:
            data = pending[0]
            most = min(self.peer.frame, budget, stream.window, self._window, self._room)
            size = max(0, min(len(data), most))
            if self.blocked or (data and not size):
                own = stream.window > 0 or not data
                if own:  # it waits for the connection, not for its own window
                    if budget < _QUANTUM:  # it had its turn: those behind it are before it now
                        self._stalled.pop(stream.id, None)
                    self._stalled[stream.id] = stream
                return own and budget <= 0
            if size == len(data):
                pending.popleft()
            else:
                pending[0] = data[size:]
            budget -= size
            self._emit(stream, data[:size], ended=stream.ending and not pending)
        self._stalled.pop(stream.id, None)
        stream.pending = None
        stream.on_sent()
        return False

    def _emit(self, stream: Stream, data: memoryview, *, ended: bool) -> None:
        size = len(data)
        flags = END_STREAM if ended else 0
        self.frames += (pack_head(size >> 8, size & 255, DATA, flags, stream.id), data)
        stream.window -= size
        self._window -= size
        self._room -= size
        if ended:
            stream.sending = False
            if not stream.receiving:
                self.streams.pop(stream.id, None)

    def _push_stalled(self) -> None:
        """Give every stream that waits for the connection a turn, while there is room."""
        turn = list(self._stalled.values())
        while turn:
            turn = [stream for stream in turn if self._push(stream)]


def _sane(size: int, window: int) -> int:
    if window + size > MAX_WINDOW:
        raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")
    return size
