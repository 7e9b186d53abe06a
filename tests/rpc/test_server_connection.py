"""The server's side of HTTP/2: what a client may not send, floods, refusals, the end."""

import asyncio
from collections.abc import AsyncIterator

import hyperframe.frame as hf
import pytest

from rpc import frames
from rpc.frames import ErrorCode, frame
from rpc.server import CallContext
from tests.rpc.raw_client import (
    START,
    TestServer,
    message,
    open_call,
    request_block,
    run_with_server,
    unary_call,
)

BLOCK = request_block()

# What a client sends after the start of stream 1, and the connection error that it is.
ILLEGAL: list[tuple[str, bytes, ErrorCode]] = [
    ("HEADERS on an even stream", frame(1, 4, 2, BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("HEADERS on stream 0", frame(1, 4, 0, BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("DATA on a stream never opened", frame(0, 0, 99, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("DATA on stream 0", frame(0, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("DATA after the end", message(1, b"x") + frame(0, 0, 1, b"x"), ErrorCode.STREAM_CLOSED),
    ("padding as long as the frame", frame(0, 8, 1, b"\5abc"), ErrorCode.PROTOCOL_ERROR),
    ("a frame larger than we allow", frame(0, 0, 1, b"x" * 70_000), ErrorCode.FRAME_SIZE_ERROR),
    ("a block that is no HPACK", frame(1, 4, 3, b"\xff\xff\xff\xff\xff"),
     ErrorCode.COMPRESSION_ERROR),
    ("an index into the table given up", frame(1, 4, 3, b"\xbe"), ErrorCode.COMPRESSION_ERROR),
    ("CONTINUATION out of nowhere", frame(9, 4, 1, BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("a block interrupted by DATA", frame(1, 0, 3, BLOCK) + frame(0, 0, 1, b"x"),
     ErrorCode.PROTOCOL_ERROR),
    ("an endless block", frame(1, 0, 3, BLOCK) + frame(9, 0, 3, b"\0" * 16_000) * 5,
     ErrorCode.ENHANCE_YOUR_CALM),
    ("an endless block of nothing", frame(1, 0, 3, BLOCK) + frame(9, 0, 3, b"") * 1100,
     ErrorCode.ENHANCE_YOUR_CALM),
    ("SETTINGS of a broken size", frame(4, 0, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    ("a window too large by SETTINGS", hf.SettingsFrame(0, {4: 1 << 31}).serialize(),
     ErrorCode.FLOW_CONTROL_ERROR),
    ("WINDOW_UPDATE of 0", frame(8, 0, 0, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
    ("WINDOW_UPDATE on a stream never opened", frame(8, 0, 9, b"\0\0\0\1"),
     ErrorCode.PROTOCOL_ERROR),
    ("a window above 2^31-1", frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2,
     ErrorCode.FLOW_CONTROL_ERROR),
    ("PING of a broken size", frame(6, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("RST_STREAM on a stream never opened", frame(3, 0, 9, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
    ("PUSH_PROMISE", frame(5, 4, 1, b"\0\0\0\2" + BLOCK), ErrorCode.PROTOCOL_ERROR),
    ("PRIORITY of a broken size", frame(2, 0, 1, b"\0" * 4), ErrorCode.FRAME_SIZE_ERROR),
    ("more data than the window", message(1, b"x" * 60_000, end=False) * 19,
     ErrorCode.FLOW_CONTROL_ERROR),
    ("a flood of PING", frame(6, 0, 0, b"x" * 8) * 10_001, ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of SETTINGS", frame(4, 0, 0) * 10_001, ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of PRIORITY", frame(2, 0, 1, b"\0" * 5) * 10_001, ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of WINDOW_UPDATE", frame(8, 0, 1, b"\0\0\0\1") * 10_001,
     ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of empty DATA", frame(0, 0, 1) * 10_001, ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of unknown frames", frame(99, 0, 0) * 10_001, ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of streams that are reset",
     b"".join(frame(1, 4, n, BLOCK) + frame(3, 0, n, b"\0\0\0\x08") for n in range(3, 9003, 2)),
     ErrorCode.ENHANCE_YOUR_CALM),
    ("a flood of streams beyond the limit",
     b"".join(frame(1, 4, n, BLOCK) for n in range(3, 12003, 2)), ErrorCode.ENHANCE_YOUR_CALM),
]  # fmt: skip


async def never(_requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
    """Neither read nor answer."""
    await asyncio.Event().wait()
    yield b""


@pytest.mark.parametrize(
    ("illegal_bytes", "code"), [row[1:] for row in ILLEGAL], ids=[row[0] for row in ILLEGAL]
)
def test_illegal_frames_end_the_connection_with_a_reason(
    illegal_bytes: bytes, code: ErrorCode
) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1, "/t.T/Never") + illegal_bytes)
        assert await client.goaway_code() == code
        await client.read_to_end()
        other = await server.connect()
        await other.send(unary_call(1))
        assert (await other.response(1))[0][5:] == b"hi", "others are served"

    run_with_server(test, stream={"/t.T/Never": never}, max_streams=100)


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", b"\x16\x03\x01\x02\x00\x01"]
)
def test_another_protocol_is_no_http2(start: bytes) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect(start)
        assert await client.goaway_code() == ErrorCode.PROTOCOL_ERROR
        await client.read_to_end()

    run_with_server(test)


def test_a_first_frame_other_than_settings_is_an_error() -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect(frames.PREFACE + frame(6, 0, 0, b"x" * 8))
        assert await client.goaway_code() == ErrorCode.PROTOCOL_ERROR

    run_with_server(test)


def test_streams_beyond_the_limit_are_refused_unprocessed() -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(b"".join(open_call(n, "/t.T/Never") for n in (1, 3, 5)))
        assert await client.reset_code(5) == ErrorCode.REFUSED_STREAM
        await client.send(message(5, b"late", end=False))  # it was on its way
        await client.send(frame(3, 0, 1, b"\0\0\0\x08") + unary_call(7))
        assert (await client.response(7))[0][5:] == b"hi"

    run_with_server(test, stream={"/t.T/Never": never}, max_streams=2)


def test_malformed_headers_end_their_stream_alone() -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(frame(1, 5, 1, request_block(Upper="x")))
        assert await client.reset_code(1) == ErrorCode.PROTOCOL_ERROR
        await client.send(frame(1, 5, 3, request_block(a="x" * 40_000).removeprefix(b"\x20")))
        assert await client.reset_code(3) == ErrorCode.ENHANCE_YOUR_CALM
        await client.send(unary_call(5))
        assert (await client.response(5))[0][5:] == b"hi"

    run_with_server(test)


def test_trailers_of_a_request_end_it() -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1) + message(1, b"hi", end=False))
        await client.send(frame(1, 5, 1, b"\x00\x01a\x01b"))
        assert (await client.response(1))[0][5:] == b"hi"
        await client.send(open_call(3) + frame(1, 4, 3, b"\x00\x01a\x01b"))
        assert await client.reset_code(3) == ErrorCode.PROTOCOL_ERROR

    run_with_server(test)


def test_a_recorded_connection_may_be_cut_at_any_byte() -> None:
    recorded = START + frame(4, 1, 0) + unary_call(1, b"first") + frame(6, 0, 0, b"x" * 8)
    recorded += open_call(3, "/t.T/Stream") + message(3, b"a", end=False) + message(3, b"b")
    recorded += frame(1, 0, 5, request_block()[:40]) + frame(9, 4, 5, request_block()[40:])
    recorded += frame(0, 9, 5, b"\3\0\0\0\0\2hi\0\0\0")

    async def test(server: TestServer) -> None:
        async def exchange(cut: int) -> list[bytes]:
            client = await server.connect(recorded[:cut])
            await asyncio.sleep(0)
            await client.send(recorded[cut:])
            responses = [(await client.response(stream_id))[0] for stream_id in (1, 3, 5)]
            await client.close()
            return responses

        expected = await exchange(len(recorded))
        assert [data.replace(b"\0", b"")[1:2] for data in expected] == [b"f", b"a", b"h"]
        for cut in range(0, len(recorded), 3):
            assert await exchange(cut) == expected

    run_with_server(test)
