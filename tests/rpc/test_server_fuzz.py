"""Bytes that no client sends: the server answers or ends the connection, and nobody suffers."""

import asyncio
import gc
import random
from typing import Any

import pytest

from rpc.frames import frame
from tests.rpc.raw_client import (
    START,
    TestServer,
    message,
    open_call,
    request_block,
    run_with_server,
    unary_call,
)
from tests.rpc.test_soak import resident_kib

RECORDED = [
    unary_call(1),
    open_call(3, "/t.T/Stream") + message(3, b"a", end=False) + message(3, b"b"),
    frame(1, 0, 5, request_block()[:40]) + frame(9, 4, 5, request_block()[40:]) + message(5, b"x"),
    frame(6, 0, 0, b"x" * 8) + frame(4, 1, 0) + frame(8, 0, 0, b"\0\0\0\1"),
    open_call(7) + frame(3, 0, 7, b"\0\0\0\x08"),
    open_call(9, grpc_timeout="1m", grpc_encoding="gzip") + frame(0, 1, 9, b"\1\0\0\0\2hi"),
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change, drop, repeat or insert bytes."""
    mutated = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        position = rng.randrange(len(mutated))
        match rng.randrange(4):
            case 0:
                mutated[position] = rng.randrange(256)
            case 1:
                del mutated[position : position + rng.randrange(1, 20)]
            case 2:
                mutated[position:position] = mutated[position : position + rng.randrange(1, 60)]
            case 3:
                mutated[position:position] = rng.randbytes(rng.randrange(1, 10))
        if not mutated:
            break
    return bytes(mutated)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bytes_disturb_nobody_else(seed: int) -> None:
    rng = random.Random(seed)

    async def test(server: TestServer) -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: problems.append(context)
        )
        honest = await server.connect()
        for number in range(150):
            data = b"".join(rng.sample(RECORDED, 3))
            client = await server.connect(b"" if rng.random() < 0.1 else START)
            await client.send(mutate(data, rng))
            await honest.send(unary_call(2 * number + 1, b"%d" % number))
            response, _ = await honest.response(2 * number + 1)
            assert response[5:] == b"%d" % number
            await client.close()
        assert not problems

    run_with_server(test)


ATTACKS = {
    "rapid reset": lambda n: frame(1, 4, n, request_block()) + frame(3, 0, n, b"\0\0\0\x08"),
    "empty streams": lambda n: frame(1, 4, n, request_block("/t.T/Stream")),
    "HPACK references": lambda n: frame(
        1, 4, n, b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968 + b"\xbe" * 7
    ),
    "unfinished requests": lambda n: (
        frame(1, 4, n, request_block()) + frame(0, 0, n, b"\0\0\xff\xff\xff" + b"x" * 16_000)
    ),
}


@pytest.mark.unmeasured
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_cost_little_memory(attack: str) -> None:
    """On ten connections: Envoy takes 63 to 126 MB for the like."""

    async def test(server: TestServer) -> None:
        before = resident_kib()
        for _ in range(10):
            client = await server.connect()
            for start in range(1, 10_001, 500):
                if client.is_closing():
                    break
                await client.send(
                    b"".join(ATTACKS[attack](n) for n in range(start, start + 500, 2))
                )
            await asyncio.sleep(0)
        gc.collect()
        assert resident_kib() - before < 100_000
        honest = await server.connect()
        await honest.send(unary_call(1))
        assert (await honest.response(1))[0][5:] == b"hi"

    run_with_server(test)
