"""The frames of messages as the library reads and writes them."""

import random
from typing import Any

import pytest
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from gateway.streaming.frame_native import read_message, write_message
from gateway.streaming.websocket import MessageProtocol, accept_handshake

pytestmark = pytest.mark.compiled_only

SIZES = [0, 1, 3, 4, 7, 8, 9, 125, 126, 127, 1000, 65535, 65536, 70_001]
MAX_SIZE = 100_000


def encode(opcode: Opcode, data: bytes, **bits: bool) -> bytes:
    return Frame(opcode, data, **bits).serialize(mask=True)


def parse(data: bytes) -> Any:
    """Return what the library reads of one whole frame: the frame, or None."""
    position = 0

    def read_exact(size: int) -> Any:
        nonlocal position
        if position + size > len(data):
            raise EOFError
        position += size
        return bytes(data[position - size : position])
        yield

    parser = Frame.parse(read_exact, mask=True, max_size=MAX_SIZE)
    try:
        next(parser)
    except StopIteration as stop:
        return stop.value if position == len(data) else None
    except (EOFError, ProtocolError, PayloadTooBig):
        return None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_messages_of_every_size(size: int, opcode: Opcode) -> None:
    message = random.Random(size).randbytes(size)
    is_binary = opcode is Opcode.BINARY
    assert read_message(encode(opcode, message), MAX_SIZE) == (message, is_binary)
    assert write_message(message, is_binary) == Frame(opcode, message).serialize(mask=False)


def test_a_size_with_a_longer_length_than_it_needs() -> None:
    """The library accepts it, so it is read in the same way."""
    for length in (b"\xfe\x00\x02", b"\xff\x00\x00\x00\x00\x00\x00\x00\x02"):
        data = b"\x81" + length + b"\x01\x02\x03\x04" + b"\x01\x02"
        assert read_message(data, MAX_SIZE) == (b"\0\0", False)
        assert parse(data).data == b"\0\0"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x81", encode(Opcode.TEXT, b"ab")[:-1], encode(Opcode.TEXT, b"ab") + b"\x81",
        encode(Opcode.TEXT, b"ab", fin=False), encode(Opcode.CONT, b"ab"),
        encode(Opcode.PING, b"ab"), encode(Opcode.CLOSE, b""),
        Frame(Opcode.TEXT, b"abcdef").serialize(mask=False), b"\xc1" + encode(Opcode.TEXT, b"")[1:],
        b"\x83" + encode(Opcode.TEXT, b"")[1:], encode(Opcode.TEXT, b"a" * (MAX_SIZE + 1)),
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", b"\x81\xff\0\0\0\0\xff",
    ],
    ids=lambda _: "frame",
)  # fmt: skip
def test_what_is_left_to_the_library(data: bytes) -> None:
    assert read_message(data, MAX_SIZE) is None


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes_are_read_as_by_the_library(seed: int) -> None:
    rng = random.Random(seed)
    read_count = 0
    for _ in range(20_000):
        opcode = rng.choice([Opcode.TEXT, Opcode.BINARY])
        data = bytearray(encode(opcode, rng.randbytes(rng.choice([0, 5, 130]))))
        for _ in range(rng.randrange(3)):
            data[rng.choice([0, 1, 2, 3, rng.randrange(len(data))])] = rng.randrange(256)
        message = read_message(bytes(data), MAX_SIZE)
        if message is not None:
            read_count += 1
            frame = parse(bytes(data))
            assert frame.fin
            assert (bytes(frame.data), frame.opcode is Opcode.BINARY) == message
    assert read_count > 5000


HANDSHAKE = [
    (b"host", b"a"), (b"upgrade", b"websocket"), (b"connection", b"upgrade"),
    (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="), (b"sec-websocket-version", b"13"),
]  # fmt: skip


def receive(protocol: MessageProtocol, reads: list[bytes], *, natively: bool) -> list[object]:
    """Return what a protocol makes of some reads: its events, its writes and its state."""
    seen: list[object] = []
    for data in reads:
        message = None
        if natively and protocol.is_between_messages and protocol.state is State.OPEN:
            message = read_message(data, MAX_SIZE)
        if message is not None:
            seen.append(message)
            continue
        protocol.receive_data(data)
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            is_message = frame.fin and frame.opcode in (Opcode.TEXT, Opcode.BINARY)
            data_of_frame = (bytes(frame.data), frame.opcode is Opcode.BINARY)
            seen.append(data_of_frame if is_message else frame)
        seen += [*protocol.data_to_send(), protocol.state]
    return [item for item in seen if item is not State.OPEN]


@pytest.mark.parametrize("seed", range(4))
def test_a_connection_sees_the_same_with_and_without_them(seed: int) -> None:
    rng = random.Random(seed)
    native_count = 0
    for _ in range(1500):
        frames = []
        for _ in range(rng.randrange(1, 6)):
            opcode = rng.choice([Opcode.TEXT] * 4 + [Opcode.BINARY, Opcode.CONT, Opcode.PING])
            is_final = opcode is Opcode.PING or rng.random() < 0.8
            frames.append(encode(opcode, rng.randbytes(rng.choice([0, 5, 120])), fin=is_final))
        if rng.random() < 0.2:
            frames.insert(rng.randrange(len(frames)), encode(Opcode.CLOSE, b"\x03\xe8"))
        reads = []
        for frame in frames:
            cut = rng.randrange(len(frame)) if rng.random() < 0.2 else 0
            reads += [part for part in (frame[:cut], frame[cut:]) if part]
            if rng.random() < 0.2 and len(reads) > 1:
                reads[-2:] = [reads[-2] + reads[-1]]
        results = [
            receive(accept_handshake(b"/", HANDSHAKE, MAX_SIZE)[0], reads, natively=natively)
            for natively in (False, True)
        ]
        assert results[0] == results[1], reads
        native_count += any(read_message(data, MAX_SIZE) is not None for data in reads)
    assert native_count > 500
