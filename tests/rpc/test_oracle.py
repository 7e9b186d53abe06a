"""One table of calls through our client and grpc.aio, to one grpcio server: same results."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.status import RpcError, Status
from tests.harness import ROOT

BIG = 64 << 20
Told = tuple[tuple[str, str | bytes], ...]


@contextlib.contextmanager
def server(port: int = 0, streams: int = 20_000, *files: str) -> Iterator[str]:
    words = [sys.executable, "-m", "tests.rpc.oracle_server", str(port), str(streams), *files]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def addr() -> Iterator[str]:
    with server() as running:
        yield running


class Ours:
    """Our client."""

    def __init__(self, addr: str) -> None:
        self.channel = Channel(addr, max_message_size=BIG)

    async def unary(
        self, method: str, data: bytes, *, timeout: float = 20, metadata: Told = ()
    ) -> dict[str, Any]:
        over = asyncio.Event()
        head = self.channel.header_block(f"/t.T/{method}", metadata)
        call = self.channel.start_unary(head, data, timeout, lambda _: over.set())
        try:
            await over.wait()
        finally:
            call.cancel()
        error = call.error
        return {
            "status": (error.status if error else Status.OK).name,
            "details": error.details if error else "",
            "data": call.response,
            "initial": told(call.initial_headers.metadata if call.initial_headers else ()),
            "trailing": told(call.trailers.metadata if call.trailers else ()),
        }

    async def stream(self, method: str, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for answer in stream_responses(self.channel.stream(f"/t.T/{method}"), requests):
            yield answer

    async def close(self) -> None:
        await self.channel.close()


class Theirs:
    """grpc.aio."""

    def __init__(self, addr: str) -> None:
        options = [("grpc.max_receive_message_length", BIG), ("grpc.max_send_message_length", BIG)]
        self.channel = aio.insecure_channel(addr, options=options)

    async def unary(
        self, method: str, data: bytes, *, timeout: float = 20, metadata: Told = ()
    ) -> dict[str, Any]:
        call = self.channel.unary_unary(f"/t.T/{method}")(data, timeout=timeout, metadata=metadata)
        try:
            answer = await call
        except aio.AioRpcError as error:
            return {
                "status": error.code().name,
                "details": error.details(),
                "data": None,
                "initial": told(tuple(error.initial_metadata())),
                "trailing": told(tuple(error.trailing_metadata())),
            }
        return {
            "status": "OK",
            "details": "",
            "data": answer,
            "initial": told(tuple(await call.initial_metadata())),
            "trailing": told(tuple(await call.trailing_metadata())),
        }

    async def stream(self, method: str, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for answer in self.channel.stream_stream(f"/t.T/{method}")(requests):
            yield answer

    async def close(self) -> None:
        await self.channel.close()


def told(metadata: Any) -> list[tuple[str, Any]]:
    return sorted((key, value) for key, value in metadata if key.startswith("x-"))


async def some(*requests: bytes) -> AsyncIterator[bytes]:
    for request in requests:
        yield request


def both(addr: str, story: Callable[[Any], Awaitable[Any]]) -> Any:
    """Tell a story with either client; return the one result that both must have."""

    async def told_by(client: Any) -> Any:
        try:
            async with asyncio.timeout(60):
                return await story(client)
        finally:
            await client.close()

    async def main() -> list[Any]:
        return [await told_by(kind(addr)) for kind in (Ours, Theirs)]

    ours, theirs = asyncio.run(main())
    assert ours == theirs
    return ours


SIZES = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20, 12 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_any_size_both_ways(addr: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    result = both(addr, lambda client: client.unary("Echo", data[:size]))
    assert (result["status"], result["data"]) == ("OK", data[:size])


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK], ids=lambda s: s.name)
@pytest.mark.parametrize("details", ["", "no wäy, 中 %41 \n"], ids=["bare", "details"])
def test_every_status(addr: str, status: Status, details: str) -> None:
    """`abort` without data sends trailers alone."""
    data = bytes([status]) + details.encode()
    result = both(addr, lambda client: client.unary("Fail", data))
    assert (result["status"], result["details"]) == (status.name, details)
    assert result["trailing"] == [("x-why", "so"), ("x-why-bin", b"\0\xff")]


def test_metadata_goes_both_ways(addr: str) -> None:
    sent = (("x-a", "1"), ("x-a", "2"), ("x-data-bin", bytes(range(256))), ("x-empty", ""))
    result = both(addr, lambda client: client.unary("Meta", b"d", metadata=sent))
    assert result["initial"] == sorted(sent)
    assert result["trailing"] == sorted(sent)


def test_an_unknown_method(addr: str) -> None:
    result = both(addr, lambda client: client.unary("Nothing", b""))
    assert result["status"] == "UNIMPLEMENTED"


async def counts(client: Any) -> dict[str, int]:
    told: dict[str, int] = json.loads((await client.unary("Tell", b"", timeout=60))["data"])
    return told


async def until(client: Any, name: str, number: int) -> None:
    while (await counts(client)).get(name, 0) < number:
        pass


def test_a_deadline_missed_and_one_met(addr: str) -> None:
    async def story(client: Any) -> list[str]:
        await client.unary("HoldOn", b"")
        missed = await client.unary("Hold", b"x", timeout=0.2)
        await until(client, "cancelled", 1)
        await client.unary("LetGo", b"")
        return [missed["status"], (await client.unary("Hold", b"x", timeout=5))["status"]]

    assert both(addr, story) == ["DEADLINE_EXCEEDED", "OK"]


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_cancel(addr: str, when: str) -> None:
    async def story(client: Any) -> tuple[str, int]:
        await client.unary("HoldOn", b"")
        task = asyncio.ensure_future(client.unary("Hold", b"x"))
        if when != "before":
            await until(client, "held", 1)
        if when == "after":
            await client.unary("LetGo", b"")
            await task
        task.cancel()
        try:
            ended = (await task)["status"]
        except asyncio.CancelledError:
            ended = "cancelled"
        if when == "during":
            await until(client, "cancelled", 1)
        return ended, (await counts(client)).get("cancelled", 0)

    expected = {"before": ("cancelled", 0), "during": ("cancelled", 1), "after": ("OK", 0)}
    assert both(addr, story) == expected[when]


@pytest.mark.parametrize("number", [0, 1, 10_000])
def test_a_stream_of_answers(addr: str, number: int) -> None:
    async def story(client: Any) -> list[bytes]:
        return [answer async for answer in client.stream("Count", some(b"%d 10" % number))]

    assert both(addr, story) == [b"m" * 10] * number


def test_large_answers_in_a_stream(addr: str) -> None:
    async def story(client: Any) -> list[int]:
        return [len(a) async for a in client.stream("Count", some(b"5 3000000"))]

    assert both(addr, story) == [3_000_000] * 5


def test_ping_pong_and_half_close(addr: str) -> None:
    async def story(client: Any) -> list[bytes]:
        turns: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def requests() -> AsyncIterator[bytes]:
            while (request := await turns.get()) is not None:
                yield request

        turns.put_nowait(b"0")
        got = []
        async for answer in client.stream("Chat", requests()):
            got.append(answer)
            if answer != b"bye":
                turns.put_nowait(b"%d" % len(got) if len(got) < 100 else None)
        return got

    assert both(addr, story) == [*(b"%d!" % n for n in range(100)), b"bye"]


def test_a_client_that_reads_slowly_holds_the_server_back(addr: str) -> None:
    async def story(client: Any) -> tuple[bool, int]:
        await client.unary("HoldOn", b"")
        answers = client.stream("Count", some(b"2000 65536"))
        first = await anext(answers)
        before = -1
        while (now := (await counts(client)).get("sent", 0)) != before:
            before = now
            await asyncio.to_thread(partial(all, range(100_000)))
        held = now < 2000
        return held, len(first) + sum([len(answer) async for answer in answers])

    assert both(addr, story) == (True, 2000 * 65536)


def test_a_server_that_reads_slowly_holds_the_client_back(addr: str) -> None:
    async def story(client: Any) -> tuple[bool, list[bytes]]:
        await client.unary("HoldOn", b"")
        asked, stuck = 0, asyncio.Event()

        async def requests() -> AsyncIterator[bytes]:
            nonlocal asked
            for _ in range(500):
                asked += 1
                yield b"r" * 65536

        async def watch() -> None:
            before = -1
            while asked != before:
                before = asked
                for _ in range(20):
                    await counts(client)
            stuck.set()

        watching = asyncio.ensure_future(watch())
        answers = client.stream("Swallow", requests())
        waiting = asyncio.ensure_future(anext(answers))
        await stuck.wait()
        held = asked < 500
        await client.unary("LetGo", b"")
        first = await waiting
        await watching
        return held, [first, *[answer async for answer in answers]]

    assert both(addr, story) == (True, [str(500 * 65536).encode()])


def test_ten_thousand_calls_in_flight(addr: str) -> None:
    async def story(client: Any) -> tuple[int, int]:
        await client.unary("HoldOn", b"")
        calls = [
            asyncio.ensure_future(client.unary("Hold", b"%d" % n, timeout=60))
            for n in range(10_000)
        ]
        await until(client, "held", 10_000)
        await client.unary("LetGo", b"")
        answers = await asyncio.gather(*calls)
        return len(answers), sum(a["data"] == b"%d" % n for n, a in enumerate(answers))

    assert both(addr, story) == (10_000, 10_000)


def test_one_stream_at_a_time() -> None:
    """Ours alone: of so many, grpc.aio itself now and then fails one with UNAVAILABLE."""

    async def main(addr: str) -> list[str]:
        client = Ours(addr)
        calls = [client.unary("Echo", b"%d" % n) for n in range(50)]
        answers = await asyncio.gather(*calls)
        await client.close()
        return [answer["status"] for answer in answers]

    with server(0, 1) as addr:
        assert asyncio.run(main(addr)) == ["OK"] * 50


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_a_server_that_is_started_again_is_found_again(kind: Any) -> None:
    async def main() -> None:
        with server() as addr:
            client = kind(addr)
            await client.unary("HoldOn", b"")
            held = asyncio.ensure_future(client.unary("Hold", b"x"))
            await until(client, "held", 1)
        assert (await held)["status"] == "UNAVAILABLE"
        with server(int(addr.rpartition(":")[2])):
            while (answer := await client.unary("Echo", b"back"))["status"] != "OK":
                assert answer["status"] == "UNAVAILABLE"
            assert answer["data"] == b"back"
            await client.close()

    asyncio.run(main())


def certificate(folder: Path) -> tuple[str, str]:
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-keyout", key, "-out", cert, "-subj", "/CN=127.0.0.1"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    return cert, key


def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)

    async def main(addr: str) -> None:
        channel = Channel(addr, tls=ssl.create_default_context(cafile=cert))
        for size in (1, 1 << 20):
            assert len(await channel.unary("/t.T/Echo", b"x" * size, timeout=10)) == size
        await channel.close()
        stranger = Channel(addr, tls=ssl.create_default_context())
        with pytest.raises(RpcError, match="certificate") as caught:
            await stranger.unary("/t.T/Echo", b"x", timeout=10)
        assert not caught.value.may_have_run
        await stranger.close()

    with server(0, 100, cert, key) as addr:
        asyncio.run(main(addr))


def test_gzip_from_the_server(addr: str) -> None:
    result = both(addr, lambda client: client.unary("Zip", b"z" * 100_000))
    assert result["data"] == b"z" * 100_000
