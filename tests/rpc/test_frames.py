"""Frames to the byte, against hyperframe; settings and padding by the RFC's limits."""

import pytest
from hyperframe import frame as oracle

from rpc import frames
from rpc.frames import ErrorCode, ProtocolError, Setting, Settings


def test_frames_match_hyperframe() -> None:
    settings = oracle.SettingsFrame(0, {1: 0, 4: 1 << 20})
    window_update = oracle.WindowUpdateFrame(3, window_increment=77)
    rst_stream = oracle.RstStreamFrame(5, error_code=8)
    ping = oracle.PingFrame(0, b"12345678", flags=["ACK"])
    goaway = oracle.GoAwayFrame(0, last_stream_id=7, error_code=2, additional_data=b"why")
    setting_values = {Setting.HEADER_TABLE_SIZE: 0, Setting.INITIAL_WINDOW_SIZE: 1 << 20}
    assert frames.settings(setting_values) == settings.serialize()
    assert frames.window_update(3, 77) == window_update.serialize()
    assert frames.rst_stream(5, ErrorCode.CANCEL) == rst_stream.serialize()
    assert frames.ping(b"12345678", ack=True) == ping.serialize()
    assert frames.goaway(7, ErrorCode.INTERNAL_ERROR, "why") == goaway.serialize()
    data = oracle.DataFrame(9, b"x" * 70_000, flags=["END_STREAM"])
    assert frames.frame(frames.DATA, frames.END_STREAM, 9, b"x" * 70_000) == data.serialize()


def test_settings_apply_in_order_and_unknown_ones_are_ignored() -> None:
    settings = Settings()
    settings.update_from_payload(
        frames.settings({Setting.MAX_CONCURRENT_STREAMS: 3})[9:] + b"\x00\x99\0\0\0\1"
    )
    settings.update_from_payload(frames.settings({Setting.MAX_FRAME_SIZE: 20_000})[9:])
    assert (
        settings.max_concurrent_streams,
        settings.initial_window_size,
        settings.max_frame_size,
    ) == (
        3,
        65_535,
        20_000,
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\0\4\x80\0\0\0", ErrorCode.FLOW_CONTROL_ERROR),
        (b"\0\5\0\0\0\1", ErrorCode.PROTOCOL_ERROR),
        (b"\0\5\1\0\0\0", ErrorCode.PROTOCOL_ERROR),
        (b"\0\2\0\0\0\2", ErrorCode.PROTOCOL_ERROR),
        (b"\0\2\0", ErrorCode.FRAME_SIZE_ERROR),
    ],
    ids=["window", "small frame", "large frame", "push", "size"],
)
def test_invalid_settings(payload: bytes, code: ErrorCode) -> None:
    with pytest.raises(ProtocolError) as caught:
        Settings().update_from_payload(payload)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("payload", "flags", "expected"),
    [
        (b"abc", 0, b"abc"),
        (b"\0abc", frames.PADDED, b"abc"),
        (b"\2abc\0\0", frames.PADDED, b"abc"),
        (b"\3\0\0\0", frames.PADDED, b""),
        (b"PRIORabc", frames.PRIORITY_FLAG, b"abc"),
        (b"\1PRIORabc\0", frames.PADDED | frames.PRIORITY_FLAG, b"abc"),
    ],
    ids=str,
)
def test_padding_and_priority_are_stripped(payload: bytes, flags: int, expected: bytes) -> None:
    assert frames.strip_padding(payload, flags) == expected


@pytest.mark.parametrize(
    ("payload", "flags"),
    [(b"", frames.PADDED), (b"\4\0\0\0", frames.PADDED), (b"PRI", frames.PRIORITY_FLAG)],
    ids=str,
)
def test_padding_longer_than_the_frame_is_an_error(payload: bytes, flags: int) -> None:
    with pytest.raises(ProtocolError):
        frames.strip_padding(payload, flags)


def test_code_names() -> None:
    assert frames.code_name(8) == "CANCEL"
    assert frames.code_name(0x99) == "0x99"
