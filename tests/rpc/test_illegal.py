"""Peers that break HTTP/2: an error with a reason, never another exception, a hang or a leak."""

import asyncio

import h2.events
import hyperframe.frame as hf
import pytest

from rpc.client import Channel
from rpc.frames import ErrorCode, frame
from rpc.headers import encode_literal
from rpc.status import RpcError, Status
from tests.rpc.peer import HEADERS, Peer, encode_message, serve_script

OK_BLOCK = b"\x88\x0f\x10\x10application/grpc"

# What is sent instead of an answer to stream 1, and the error that it is.
ILLEGAL: list[tuple[str, bytes, ErrorCode]] = [
    ("DATA on a stream never opened", frame(0, 0, 99, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("DATA on an even stream", frame(0, 0, 2, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("DATA on stream 0", frame(0, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("HEADERS on stream 0", frame(1, 4, 0, OK_BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("HEADERS on a stream never opened", frame(1, 4, 7, OK_BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("padding as long as the frame", frame(0, 8, 1, b"\5abc"), ErrorCode.PROTOCOL_ERROR),
    ("padding without its length", frame(0, 8, 1, b""), ErrorCode.FRAME_SIZE_ERROR),
    ("padded HEADERS, too long", frame(1, 12, 1, b"\xff\x88"), ErrorCode.PROTOCOL_ERROR),
    ("a frame larger than we allow", frame(0, 0, 1, b"x" * 70_000), ErrorCode.FRAME_SIZE_ERROR),
    ("a block that is no HPACK", frame(1, 4, 1, b"\xff\xff\xff\xff\xff"),
     ErrorCode.COMPRESSION_ERROR),
    ("an index into a table we have not", frame(1, 4, 1, b"\xbe"), ErrorCode.COMPRESSION_ERROR),
    ("a table, against our setting", frame(1, 4, 1, b"\x3f\xe1\x1f\x88"),
     ErrorCode.COMPRESSION_ERROR),
    ("CONTINUATION out of nowhere", frame(9, 4, 1, OK_BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("a block interrupted by DATA", frame(1, 0, 1, OK_BLOCK) + frame(0, 0, 1, b"x"),
     ErrorCode.PROTOCOL_ERROR),
    ("a block interrupted by PING", frame(1, 0, 1, OK_BLOCK) + frame(6, 0, 0, b"x" * 8),
     ErrorCode.PROTOCOL_ERROR),
    ("a block continued elsewhere", frame(1, 0, 1, OK_BLOCK) + frame(9, 4, 3, b""),
     ErrorCode.PROTOCOL_ERROR),
    ("an endless block", frame(1, 0, 1, OK_BLOCK) + frame(9, 0, 1, b"\0" * 16_000) * 5,
     ErrorCode.ENHANCE_YOUR_CALM),
    ("an endless block of nothing", frame(1, 0, 1, OK_BLOCK) + frame(9, 0, 1, b"") * 1100,
     ErrorCode.ENHANCE_YOUR_CALM),
    ("SETTINGS of a broken size", frame(4, 0, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    ("SETTINGS on a stream", frame(4, 0, 1), ErrorCode.PROTOCOL_ERROR),
    ("SETTINGS ACK with a payload", frame(4, 1, 0, b"abcdef"), ErrorCode.FRAME_SIZE_ERROR),
    ("a window too large by SETTINGS", hf.SettingsFrame(0, {4: 1 << 31}).serialize(),
     ErrorCode.FLOW_CONTROL_ERROR),
    ("WINDOW_UPDATE of 0", frame(8, 0, 0, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of 0 on a stream", frame(8, 0, 1, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of a broken size", frame(8, 0, 0, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE on a stream never opened", frame(8, 0, 9, b"\0\0\0\1"),
     ErrorCode.PROTOCOL_ERROR),
    ("a window above 2^31-1", frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2,
     ErrorCode.FLOW_CONTROL_ERROR),
    ("a stream's window above 2^31-1", frame(8, 0, 1, b"\x7f\xff\xff\xff") * 2,
     ErrorCode.FLOW_CONTROL_ERROR),
    ("PING of a broken size", frame(6, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("PING on a stream", frame(6, 0, 1, b"x" * 8), ErrorCode.PROTOCOL_ERROR),
    ("a flood of PING", frame(6, 0, 0, b"x" * 8) * 10_001, ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of SETTINGS", frame(4, 0, 0) * 10_001, ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of empty DATA", frame(1, 4, 1, OK_BLOCK) + frame(0, 0, 1) * 10_001,
     ErrorCode.ENHANCE_YOUR_CALM),
    ("RST_STREAM of a broken size", frame(3, 0, 1, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("RST_STREAM on a stream never opened", frame(3, 0, 9, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
    ("RST_STREAM on stream 0", frame(3, 0, 0, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
    ("GOAWAY of a broken size", frame(7, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("GOAWAY on a stream", frame(7, 0, 1, b"\0" * 8), ErrorCode.PROTOCOL_ERROR),
    ("PUSH_PROMISE", frame(5, 4, 1, b"\0\0\0\2" + OK_BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("PRIORITY on stream 0", frame(2, 0, 0, b"\0" * 5), ErrorCode.PROTOCOL_ERROR),
    ("PRIORITY of a broken size", frame(2, 0, 1, b"\0" * 4), ErrorCode.FRAME_SIZE_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(
    ("illegal_bytes", "code"), [row[1:] for row in ILLEGAL], ids=[row[0] for row in ILLEGAL]
)
def test_an_illegal_frame_is_a_connection_error_with_a_reason(
    illegal_bytes: bytes, code: ErrorCode
) -> None:
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.wait_for_event(h2.events.StreamEnded)
        await peer.flush(illegal_bytes)
        received.append(await peer.read_to_end())

    async def main() -> None:
        async with serve_script(script) as addr, asyncio.timeout(20):
            channel = Channel(addr)
            with pytest.raises(RpcError) as caught:
                await channel.unary("/a.B/C", b"x", timeout=10)
            assert caught.value.status is Status.UNAVAILABLE
            assert f"broke HTTP/2: {code.name}: " in caught.value.details
            assert caught.value.may_have_run
            assert not channel._transports
            await channel.close()

    asyncio.run(main())
    position = received[0].rfind(b"\x07\0\0\0\0\0")
    if position < 0:  # TCP resets a connection that is closed with a flood unread
        assert len(illegal_bytes) > 10_000
        return
    goaway = received[0][position:]
    assert int.from_bytes(goaway[10:14], "big") == code, "the peer is told why"


def test_unread_stream_window_is_enforced() -> None:
    """The message is whole, and stays unread: the peer may send no more than the window."""

    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.wait_for_event(h2.events.RequestReceived)
        await peer.flush(
            frame(1, 4, 1, OK_BLOCK) + frame(0, 0, 1, encode_message(b"x" * 30_000)) * 40
        )
        await peer.read_to_end()

    async def main() -> None:
        async with serve_script(script) as addr, asyncio.timeout(20):
            channel = Channel(addr)
            stream = channel.stream("/a.B/C")
            with pytest.raises(RpcError, match="FLOW_CONTROL_ERROR"):
                while not stream.call.ended:
                    await stream._wait_change()
                raise stream.call.error or AssertionError
            await channel.close()

    asyncio.run(main())


LEGAL: list[tuple[str, bytes]] = [
    ("PRIORITY", frame(2, 0, 1, b"\0" * 5)),
    ("an unknown frame", frame(0xFE, 0xFF, 1, b"whatever")),
    ("an unknown setting", frame(4, 0, 0, b"\x77\x77\0\0\0\1")),
    ("settings that change mid-stream", hf.SettingsFrame(0, {4: 10, 5: 20_000}).serialize()),
    ("an unasked PING ACK", frame(6, 1, 0, b"x" * 8)),
    ("an unknown error in RST_STREAM of a stream that ended", b""),
]


@pytest.mark.parametrize("legal_bytes", [row[1] for row in LEGAL], ids=[row[0] for row in LEGAL])
def test_unusual_legal_frames_are_ignored(legal_bytes: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        for _ in range(2):
            request_end = await peer.wait_for_event(h2.events.StreamEnded)
            peer.h2.send_headers(request_end.stream_id, HEADERS)
            await peer.flush(legal_bytes)
            peer.h2.send_data(request_end.stream_id, encode_message(b"ok"), pad_length=7)
            peer.h2.send_headers(request_end.stream_id, [("grpc-status", "0")], end_stream=True)
            await peer.flush(frame(3, 0, request_end.stream_id, b"\0\0\0\0"))
        await peer.read_to_end()

    async def main() -> None:
        async with serve_script(script) as addr, asyncio.timeout(20):
            channel = Channel(addr)
            for _ in range(2):
                assert await channel.unary("/a.B/C", b"x", timeout=10) == b"ok"
            assert not next(iter(channel._transports)).connection.outbound.streams
            await channel.close()

    asyncio.run(main())


BROKEN_CALLS: list[tuple[str, bytes, Status]] = [
    ("no status", frame(1, 4, 1, OK_BLOCK) + frame(1, 5, 1, b"\0\1x\1y"), Status.UNKNOWN),
    ("DATA ends the stream", frame(1, 4, 1, OK_BLOCK) + frame(0, 1, 1), Status.UNKNOWN),
    ("DATA before HEADERS", frame(0, 0, 1, encode_message(b"x")), Status.INTERNAL),
    ("not gRPC", frame(1, 5, 1, b"\x88"), Status.UNKNOWN),
    ("HTTP 503", frame(1, 5, 1, b"\x08\x03503"), Status.UNAVAILABLE),
    ("OK without a message", frame(1, 5, 1, OK_BLOCK + b"\0\x0bgrpc-status\x010"),
     Status.INTERNAL),
    ("two messages", frame(1, 4, 1, OK_BLOCK) + frame(0, 0, 1, encode_message(b"x") * 2),
     Status.INTERNAL),
    ("half a message", frame(1, 4, 1, OK_BLOCK) + frame(0, 0, 1, encode_message(b"xyz")[:-1])
     + frame(1, 5, 1, b"\0\x0bgrpc-status\x010"), Status.INTERNAL),
    ("a message of 4 GiB", frame(1, 4, 1, OK_BLOCK) + frame(0, 0, 1, b"\0\xff\xff\xff\xff"),
     Status.RESOURCE_EXHAUSTED),
    ("huge headers", frame(1, 4, 1, OK_BLOCK + encode_literal(b"x", b"y" * 32_768)),
     Status.RESOURCE_EXHAUSTED),
    *[
        (f"field {name!r}", frame(1, 4, 1, OK_BLOCK + encode_literal(name, value)), Status.INTERNAL)
        for name, value in (
            (b"X-Upper", b"1"), (b"", b"1"), (b"a b", b"1"), (b"a:", b"1"), (b"\xe9", b"1"),
            (b"x", b"a\r\nb"), (b"x", b"a\0"),
            (b"connection", b"close"), (b"transfer-encoding", b"chunked"), (b":status", b"200"),
            (b":late", b"1"),
        )
    ],
    ("headers within the answer", frame(1, 4, 1, OK_BLOCK) * 2, Status.INTERNAL),
    ("RST_STREAM CANCEL", frame(3, 0, 1, b"\0\0\0\x08"), Status.CANCELLED),
    ("RST_STREAM ENHANCE_YOUR_CALM", frame(3, 0, 1, b"\0\0\0\x0b"), Status.RESOURCE_EXHAUSTED),
    ("RST_STREAM unknown", frame(3, 0, 1, b"\0\0\xff\xff"), Status.INTERNAL),
]  # fmt: skip


@pytest.mark.parametrize(
    ("response_bytes", "status"),
    [row[1:] for row in BROKEN_CALLS],
    ids=[row[0] for row in BROKEN_CALLS],
)
def test_invalid_response_ends_only_its_call(response_bytes: bytes, status: Status) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.wait_for_event(h2.events.StreamEnded)
        await peer.flush(response_bytes)
        await peer.wait_for_event(h2.events.RequestReceived)
        second = await peer.wait_for_event(h2.events.StreamEnded)
        await peer.flush(
            frame(1, 4, second.stream_id, OK_BLOCK)
            + frame(0, 0, second.stream_id, encode_message(b"ok"))
            + frame(1, 5, second.stream_id, b"\0\x0bgrpc-status\x010")
        )
        await peer.read_to_end()

    async def main() -> None:
        async with serve_script(script) as addr, asyncio.timeout(20):
            channel = Channel(addr)
            with pytest.raises(RpcError) as caught:
                await channel.unary("/a.B/C", b"x", timeout=10)
            assert caught.value.status is status
            assert await channel.unary("/a.B/C", b"x", timeout=10) == b"ok"
            assert len(channel._transports) == 1
            assert not next(iter(channel._transports)).connection.outbound.streams
            await channel.close()

    asyncio.run(main())
