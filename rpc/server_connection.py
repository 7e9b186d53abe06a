"""The HTTP/2 connection of a server: the peer opens the streams. Pure.

Source: RFC 9113. Header blocks are decoded in the order of their arrival, because a client may use
the dynamic table for a while (`rpc.request_headers`).
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from rpc import frames
from rpc.connection import Connection
from rpc.frames import ErrorCode, ProtocolError, Setting
from rpc.headers import MalformedError, TooLargeError
from rpc.request_headers import RequestHeaderDecoder, RequestHeaders
from rpc.streams import Http2Stream

# What a stream costs that its peer resets, in tokens of the budget, beside its frames.
_RESET_COST: Final = 2


class RequestStream(Http2Stream):
    """A stream that the peer opened."""

    @abstractmethod
    def on_opened(self, end_stream: bool, /) -> None:
        """Handle the start of the request. If `end_stream`, no data follows."""


class ServerConnection(Connection):
    """The protocol state of one connection of a client.

    - `accept`: returns the stream for a new request, from its headers and its timeout in seconds.
    - `max_streams`: requests at a time; further ones are refused (REFUSED_STREAM).
    - `goaway_sent`: no more streams are accepted; those that come are ignored, since GOAWAY said
      so.
    - `last_stream_id`: the highest stream that the peer opened; 0 before the first.
      `_last_accepted` is the highest one that is not ignored after a GOAWAY.
    - `answered_calls`: calls that a handler has answered.
    - `buffered_size`: bytes of received messages that no handler has taken yet, of all streams.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        accept: Callable[[RequestHeaders, float | None], RequestStream],
        max_streams: int,
    ) -> None:
        super().__init__(clock, first_stream_id=2)
        self.goaway_sent = False
        self.last_stream_id = self.buffered_size = self.answered_calls = 0
        self._last_accepted = frames.MAX_STREAM_ID
        self._accept = accept
        self._max_streams = max_streams
        self._decoder = RequestHeaderDecoder()

    def initiate_connection(self) -> None:
        """Emit SETTINGS and the connection's window. The client's preface string comes first."""
        self._emit_settings({Setting.MAX_CONCURRENT_STREAMS: self._max_streams})

    def queue_goaway(self, code: ErrorCode, reason: str = "") -> None:
        """Emit a GOAWAY: streams up to `last_stream_id` are finished, and later ones ignored."""
        if not self.goaway_sent:
            self.goaway_sent, self._last_accepted = True, self.last_stream_id
        self.outbound.frames.append(frames.goaway(self._last_accepted, code, reason))

    def _handle_other_headers(
        self, stream_id: int, header_block: bytes, end_stream: bool, /
    ) -> None:
        if stream_id % 2 == 0:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        if stream_id <= self.last_stream_id:
            if not self._decoder.is_stateless:
                self._decode(stream_id, header_block)
            self._ignore_if_reset(stream_id, "HEADERS")
            return
        self.last_stream_id = stream_id
        is_refused = self.goaway_sent or len(self._streams) >= self._max_streams
        if is_refused and self._decoder.is_stateless:
            self._refuse(stream_id)
            return
        decoded = self._decode(stream_id, header_block)
        if decoded is None:
            return
        if is_refused:
            self._refuse(stream_id)
            return
        stream = self._accept(*decoded)
        self.outbound.accept_stream(stream, stream_id)
        stream.recv_open = not end_stream
        stream.on_opened(end_stream)

    def decode_trailers(self, stream: Http2Stream, header_block: bytes) -> None:
        """Decode the trailers of a request, which gRPC does not use, for the table's sake."""
        if not self._decoder.is_stateless:
            self._decode(stream.id, header_block)

    def _decode(
        self, stream_id: int, header_block: bytes
    ) -> tuple[RequestHeaders, float | None] | None:
        """Return the decoded block; None if it is malformed, which resets its stream."""
        try:
            return self._decoder.decode(header_block)
        except (MalformedError, TooLargeError) as error:
            is_malformed = isinstance(error, MalformedError)
            code = ErrorCode.PROTOCOL_ERROR if is_malformed else ErrorCode.ENHANCE_YOUR_CALM
            self._reset_unopened(stream_id, code)
            return None

    def _refuse(self, stream_id: int) -> None:
        """Refuse a new stream: the client knows that nothing ran, and may try again elsewhere."""
        if not self.goaway_sent:
            self._reset_unopened(stream_id, ErrorCode.REFUSED_STREAM)

    def _reset_unopened(self, stream_id: int, code: ErrorCode) -> None:
        self._reset_stream_ids.add(stream_id, True)
        self.outbound.frames.append(frames.rst_stream(stream_id, code))

    def _handle_goaway(self, stream_id: int, _flags: int, payload: bytes) -> None:
        """Note that the client goes away. Its last stream id is about streams of this side.

        So the client's own streams go on (RFC 9113, 6.8).
        """
        if stream_id != 0:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"GOAWAY on stream {stream_id}")
        _, code, reason = frames.read_goaway(payload)
        self.goaway_reason = f"the client goes away: {frames.code_name(code)} {reason}".rstrip()

    def _handle_rst_stream(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id in self._streams:
            self._spend(_RESET_COST)
        super()._handle_rst_stream(stream_id, flags, payload)

    def _ignore_if_reset(self, stream_id: int, frame_name: str) -> None:
        if stream_id > self._last_accepted and stream_id <= self.last_stream_id:
            self._spend(1)
            return
        super()._ignore_if_reset(stream_id, frame_name)

    def _reject_idle_stream(self, stream_id: int, frame_name: str) -> None:
        if stream_id == 0 or stream_id % 2 == 0 or stream_id > self.last_stream_id:
            reason = f"{frame_name} on stream {stream_id}, which was never opened"
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, reason)

    def _useful_streams(self) -> int:
        """Return the number of streams that were worth frames of the peer."""
        return self.answered_calls
