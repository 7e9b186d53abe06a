"""One HTTP/2 connection without a role: bytes in, bytes out, streams between. Pure.

A client opens streams with odd numbers; a server would take those of its peer. Header blocks pass
through unread: what they mean is for whoever owns the stream. Source: RFC 9113.
"""

from typing import Final, NoReturn

from rpc import frames, streams
from rpc.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEADERS,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    PING,
    PRIORITISED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    ProtocolError,
    Setting,
    unpack_head,
)
from rpc.outbound import Outbound
from rpc.streams import Stream

# What a peer may send us unasked, on all streams together.
ROOM: Final = 1 << 24
FRAME: Final = 1 << 16
MAX_BLOCK: Final = 1 << 16
# Frames that bring nothing, in a row, before a peer is told to calm down.
MAX_IDLE_FRAMES: Final = 10_000
# Streams we gave up whose last frames may still be on their way.
_GIVEN_UP: Final = 16_384
_WHOLE: Final = END_HEADERS | PADDED | PRIORITISED


class Connection:
    """The state of a connection. Call `receive` with what came; write what `outbound` has.

    `first` is the number of the first stream opened here (1 for a client, 2 for a server).
    `settled`: the peer's settings came. `away`: it will take no more streams, and says why.
    `useful` counts the frames that show the peer at work; `pongs` are its answers to pings.
    """

    def __init__(self, *, first: int = 1) -> None:
        self.outbound = Outbound(first)
        self.settled = False
        self.away = ""
        self.pongs: list[bytes] = []
        self.useful = 0
        self._streams = self.outbound.streams
        self._room = ROOM
        self._given_up: dict[int, None] = {}
        self._rest: list[bytes] = []
        self._held = 0
        self._need = HEAD
        self._block: tuple[int, int, list[bytes]] | None = None
        self._plain = False  # settled, and not within a header block
        self._idle_frames = 0
        self._others = {
            PRIORITY: self._priority, RST_STREAM: self._rst_stream, SETTINGS: self._settings,
            PUSH_PROMISE: self._push_promise, PING: self._ping, GOAWAY: self._goaway,
            WINDOW_UPDATE: self._window_update, CONTINUATION: self._continuation,
        }  # fmt: skip

    def greet(self, preface: bytes = frames.PREFACE) -> None:
        """Say who we are: a client's preface (a server has none), settings, and our room."""
        ours = {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: streams.ROOM,
            Setting.MAX_FRAME_SIZE: FRAME,
            Setting.MAX_HEADER_LIST_SIZE: MAX_BLOCK,
        }
        widened = frames.window_update(0, ROOM - frames.DEFAULT_WINDOW)
        self.outbound.frames += (preface, frames.settings(ours), widened)

    def may_open(self) -> bool:
        """Return whether the peer takes another stream now."""
        limit = self.outbound.peer.streams
        if limit is not None and len(self._streams) >= limit:
            return False
        return self.settled and not self.away and not self.outbound.spent()

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Give a stream up."""
        if stream.id not in self._streams:
            return
        if stream.receiving:
            self._given_up[stream.id] = None
            if len(self._given_up) > _GIVEN_UP:
                del self._given_up[next(iter(self._given_up))]
        self.outbound.drop(stream)
        self.outbound.frames.append(frames.rst_stream(stream.id, code))

    def use_up(self, stream: Stream, size: int) -> None:
        """Note that data of a stream was used up, so that the peer may send more."""
        stream.consumed += size
        if stream.consumed >= streams.ROOM // 2 and stream.receiving:
            self.outbound.frames.append(frames.window_update(stream.id, stream.consumed))
            stream.room += stream.consumed
            stream.consumed = 0

    def ping(self, payload: bytes) -> None:
        """Ask the peer for a sign of life of 8 bytes."""
        self.outbound.frames.append(frames.ping(payload))

    def close(self, code: ErrorCode, reason: str = "") -> None:
        """Say goodbye. We have taken no streams of the peer: the last one is 0."""
        self.outbound.frames.append(frames.goaway(0, code, reason))

    def receive(self, data: bytes) -> None:
        """Take in what came. Raises ProtocolError: the connection is to be closed with its code."""
        if self._rest:
            self._rest.append(data)
            self._held += len(data)
            if self._held < self._need:
                return
            data = b"".join(self._rest)
            self._rest = []
        at, end = 0, len(data)
        self._need = HEAD
        while end - at >= HEAD:
            high, low, kind, flags, number = unpack_head(data, at)
            size = high << 8 | low
            if size > FRAME:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            start = at + HEAD
            if end - start < size:
                self._need = HEAD + size
                break
            at = start + size
            number &= MAX_STREAM_ID
            if kind == HEADERS and flags & _WHOLE == END_HEADERS and self._plain:
                self._headers(number, data[start:at], flags & END_STREAM != 0)
            elif kind == DATA and self._plain:
                self._data(number, flags, data[start:at])
            else:
                self._frame(kind, flags, number, data[start:at])
        self._held = end - at
        if self._held:
            self._rest.append(data[at:] if at else data)

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Take in a frame in full; `receive` itself takes those that nearly all are."""
        if self._block is not None and kind != CONTINUATION:
            _refuse("a header block was interrupted")
        if not self.settled and kind != SETTINGS:
            _refuse("the first frame is not SETTINGS")
        if kind == HEADERS:
            if flags & (PADDED | PRIORITISED):
                payload = frames.unpadded(payload, flags)
            if flags & END_HEADERS:
                self._headers(number, payload, flags & END_STREAM != 0)
            else:
                self._block = (number, flags, [payload])
                self._plain = False
        elif kind == DATA:
            self._data(number, flags, payload)
        else:
            if kind != WINDOW_UPDATE:  # those are bounded by the window itself
                self._idle()
            other = self._others.get(kind)
            if other is not None:
                other(number, flags, payload)

    def _headers(self, number: int, block: bytes, ended: bool, /) -> None:
        self.useful += 1
        self._idle_frames = 0
        stream = self._streams.get(number)
        if stream is None or not stream.receiving:
            self._let_pass(number, "HEADERS")
            return
        if ended:
            self._end_receiving(stream)
        stream.on_headers(block, ended)

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._room -= size
        if self._room < ROOM // 2:
            self._make_room()
        stream = self._streams.get(number)
        if stream is None or not stream.receiving:
            self._let_pass(number, "DATA")
            return
        stream.room -= size
        if stream.room < 0:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "more data than a stream's window")
        if flags & PADDED:
            payload = frames.unpadded(payload, PADDED)
            self.use_up(stream, size - len(payload))
        ended = flags & END_STREAM != 0
        if payload or ended:
            self.useful += 1
            self._idle_frames = 0
        else:
            self._idle()
        if ended:
            self._end_receiving(stream)
        stream.on_data(payload, ended)

    def _make_room(self) -> None:
        """Let the peer send more, on whatever stream; how fast each is read is its own affair."""
        if self._room < 0:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "more data than our window")
        self.outbound.frames.append(frames.window_update(0, ROOM - self._room))
        self._room = ROOM

    def _end_receiving(self, stream: Stream) -> None:
        stream.receiving = False
        if not stream.sending:
            del self._streams[stream.id]

    def _let_pass(self, number: int, what: str) -> None:
        """Let pass what a peer sent before it heard that we gave the stream up."""
        if number in self._given_up:
            return
        self._not_idle(number, what)
        raise ProtocolError(ErrorCode.STREAM_CLOSED, f"{what} on stream {number}, which has ended")

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            _refuse("CONTINUATION without HEADERS")
        _, first, pieces = self._block
        pieces.append(payload)
        if sum(map(len, pieces)) > MAX_BLOCK or len(pieces) > MAX_BLOCK // 64:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too large")
        if flags & END_HEADERS:
            self._block = None
            self._plain = True
            self._headers(number, b"".join(pieces), first & END_STREAM != 0)

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        _on_connection(number, "SETTINGS")
        if flags & ACK:
            if payload:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            if not self.settled:
                _refuse("the first frame is not SETTINGS")
            return
        peer = self.outbound.peer
        before = peer.window
        peer.take(payload)
        self.settled = self._plain = True
        self.outbound.frames.append(frames.frame(SETTINGS, ACK, 0))
        if peer.window != before:
            for stream in list(self._streams.values()):
                self.outbound.widen_stream(stream, peer.window - before)

    def _window_update(self, number: int, _flags: int, payload: bytes) -> None:
        size = frames.read_long(payload, "WINDOW_UPDATE") & MAX_WINDOW
        stream = self._streams.get(number)
        if number and stream is None:
            self._not_idle(number, "WINDOW_UPDATE")
        elif size == 0:
            _refuse("WINDOW_UPDATE of 0")
        elif stream is None:
            self.outbound.widen(size)
        else:
            self.outbound.widen_stream(stream, size)

    def _rst_stream(self, number: int, _flags: int, payload: bytes) -> None:
        code = frames.read_long(payload, "RST_STREAM")
        stream = self._streams.get(number)
        if stream is None:
            self._given_up.pop(number, None)
            self._not_idle(number, "RST_STREAM")
            return
        self.outbound.drop(stream)
        stream.on_reset(code)

    def _ping(self, number: int, flags: int, payload: bytes) -> None:
        _on_connection(number, "PING")
        if len(payload) != 8:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "PING of a broken size")
        if flags & ACK:
            self.pongs.append(payload)
            del self.pongs[:-4]
        else:
            self.outbound.frames.append(frames.ping(payload, ack=True))

    def _goaway(self, number: int, _flags: int, payload: bytes) -> None:
        _on_connection(number, "GOAWAY")
        last, code, reason = frames.read_goaway(payload)
        self.away = f"the peer goes away: {frames.code_name(code)} {reason}".rstrip()
        for stream in [stream for stream in self._streams.values() if stream.id > last]:
            self.outbound.drop(stream)
            stream.on_refused(self.away)

    def _priority(self, number: int, _flags: int, payload: bytes) -> None:
        if number == 0:
            _refuse("PRIORITY on stream 0")
        if len(payload) != 5:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a broken size")

    def _push_promise(self, number: int, _flags: int, _payload: bytes) -> None:
        _refuse(f"PUSH_PROMISE on stream {number}; we said that we take none")

    def _not_idle(self, number: int, what: str) -> None:
        upcoming = self.outbound.next
        if number == 0 or number >= upcoming or number % 2 != upcoming % 2:
            _refuse(f"{what} on stream {number}, which was never opened")

    def _idle(self) -> None:
        self._idle_frames += 1
        if self._idle_frames > MAX_IDLE_FRAMES:
            words = f"{MAX_IDLE_FRAMES} frames that bring nothing"
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, words)


def _on_connection(number: int, what: str) -> None:
    if number != 0:
        _refuse(f"{what} on stream {number}")


def _refuse(reason: str) -> NoReturn:
    raise ProtocolError(ErrorCode.PROTOCOL_ERROR, reason)
