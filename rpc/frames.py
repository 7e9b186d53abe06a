"""HTTP/2 frames as bytes: constants, frame headers, control frames, settings. Pure: no I/O.

Source: RFC 9113, sections 4, 6 and 7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_SIZE: Final = 9
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
DEFAULT_MAX_FRAME_SIZE: Final = 16_384

# Types and flags are plain integers, not enum members: every frame compares them.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

_FRAME_HEADER: Final = Struct(">HBBBL")
_UINT32: Final = Struct(">L")
_UINT32_PAIR: Final = Struct(">LL")
_SETTING: Final = Struct(">HL")

pack_frame_header: Final[Callable[[int, int, int, int, int], bytes]] = _FRAME_HEADER.pack


class ErrorCode(IntEnum):
    """The error codes of RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ProtocolError(Exception):
    """A connection error (RFC 9113, 5.4.1): the peer violated HTTP/2.

    The connection must be closed with a GOAWAY frame that carries `code`.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


class Setting(IntEnum):
    """The settings of RFC 9113, section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


@dataclass(slots=True)
class Settings:
    """The settings of one side that this implementation honours, at first with their defaults.

    Sizes are in bytes. `max_concurrent_streams` None means no limit.
    """

    max_concurrent_streams: int | None = None
    initial_window_size: int = DEFAULT_WINDOW
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE

    def update_from_payload(self, payload: bytes) -> None:
        """Apply the payload of a SETTINGS frame.

        Raises ProtocolError if the size of the payload or a value is invalid.
        """
        if len(payload) % 6:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken size")
        for identifier, value in _SETTING.iter_unpack(payload):
            match identifier:
                case Setting.MAX_CONCURRENT_STREAMS:
                    self.max_concurrent_streams = value
                case Setting.INITIAL_WINDOW_SIZE:
                    if value > MAX_WINDOW:
                        reason = "INITIAL_WINDOW_SIZE above 2^31-1"
                        raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, reason)
                    self.initial_window_size = value
                case Setting.MAX_FRAME_SIZE:
                    if not DEFAULT_MAX_FRAME_SIZE <= value < 2**24:
                        reason = "MAX_FRAME_SIZE out of range"
                        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, reason)
                    self.max_frame_size = value
                case Setting.ENABLE_PUSH:
                    if value > 1:
                        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH above 1")
                case _:
                    pass  # unknown settings are ignored (RFC 9113, 6.5.2)


def frame(frame_type: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a frame: its header and `payload`, which must be shorter than 2^24 bytes."""
    size = len(payload)
    return pack_frame_header(size >> 8, size & 255, frame_type, flags, stream_id) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """Return a SETTINGS frame with `values`."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame for a stream, or for the connection if `stream_id` is 0."""
    return frame(WINDOW_UPDATE, 0, stream_id, _UINT32.pack(increment))


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return an RST_STREAM frame with an error code."""
    return frame(RST_STREAM, 0, stream_id, _UINT32.pack(code))


def ping(payload: bytes, *, ack: bool = False) -> bytes:
    """Return a PING frame, or its acknowledgement. `payload` is 8 bytes."""
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last_stream_id: int, code: int, reason: str = "") -> bytes:
    """Return a GOAWAY frame. Streams above `last_stream_id` were not processed.

    `reason` is cut to 256 bytes.
    """
    return frame(GOAWAY, 0, 0, _UINT32_PAIR.pack(last_stream_id, code) + reason.encode()[:256])


def read_goaway(payload: bytes) -> tuple[int, int, str]:
    """Return (last stream id, error code, reason) of a GOAWAY payload.

    At most 256 bytes of the reason are read. Raises ProtocolError if the payload is too short.
    """
    if len(payload) < 8:
        raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a broken size")
    last_stream_id, code = _UINT32_PAIR.unpack_from(payload)
    return last_stream_id & MAX_STREAM_ID, code, payload[8:264].decode("utf-8", "replace")


def read_uint32(payload: bytes, frame_name: str) -> int:
    """Return the 32-bit integer that is the payload of an RST_STREAM or WINDOW_UPDATE frame.

    Raises ProtocolError if the payload is not 4 bytes.
    """
    if len(payload) != 4:
        raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"{frame_name} of a broken size")
    number: int = _UINT32.unpack(payload)[0]
    return number


def strip_padding(payload: bytes, flags: int) -> bytes:
    """Return a DATA or HEADERS payload without padding and priority fields.

    Pass PRIORITY_FLAG in `flags` for HEADERS only. Raises ProtocolError if the padding does not fit
    into the frame.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its length")
        start, end = 1, end - payload[0]
    if flags & PRIORITY_FLAG:
        start += 5
    if start > end:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[start:end]


def code_name(code: int) -> str:
    """Return the name of an error code, or its number in hexadecimal if it is unknown."""
    return ErrorCode(code).name if code in ErrorCode._value2member_map_ else hex(code)
