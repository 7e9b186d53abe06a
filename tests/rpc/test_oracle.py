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

MAX_MESSAGE_SIZE = 64 << 20
Metadata = tuple[tuple[str, str | bytes], ...]


@contextlib.contextmanager
def run_oracle_server(port: int = 0, max_streams: int = 20_000, *files: str) -> Iterator[str]:
    args = [sys.executable, "-m", "tests.rpc.oracle_server", str(port), str(max_streams), *files]
    with subprocess.Popen(args, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server_addr() -> Iterator[str]:
    with run_oracle_server() as address:
        yield address


class OurClient:
    """Our client."""

    def __init__(self, addr: str) -> None:
        self.channel = Channel(addr, max_message_size=MAX_MESSAGE_SIZE, frequent_keepalive=False)

    async def unary(
        self, method: str, data: bytes, *, timeout: float = 20, metadata: Metadata = ()
    ) -> dict[str, Any]:
        ended = asyncio.Event()
        header_block = self.channel.header_block(f"/t.T/{method}", metadata)
        call = self.channel.start_unary(header_block, data, timeout, lambda _: ended.set())
        try:
            await ended.wait()
        finally:
            call.cancel()
        error = call.error
        return {
            "status": (error.status if error else Status.OK).name,
            "details": error.details if error else "",
            "data": call.response,
            "initial": custom_metadata(
                call.initial_headers.metadata if call.initial_headers else ()
            ),
            "trailing": custom_metadata(call.trailers.metadata if call.trailers else ()),
        }

    async def stream(self, method: str, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for response in stream_responses(self.channel.stream(f"/t.T/{method}"), requests):
            yield response

    async def close(self) -> None:
        await self.channel.close()


class GrpcAioClient:
    """grpc.aio."""

    def __init__(self, addr: str) -> None:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
            ("grpc.max_send_message_length", MAX_MESSAGE_SIZE),
        ]
        self.channel = aio.insecure_channel(addr, options=options)

    async def unary(
        self, method: str, data: bytes, *, timeout: float = 20, metadata: Metadata = ()
    ) -> dict[str, Any]:
        call = self.channel.unary_unary(f"/t.T/{method}")(data, timeout=timeout, metadata=metadata)
        try:
            response = await call
        except aio.AioRpcError as error:
            return {
                "status": error.code().name,
                "details": error.details(),
                "data": None,
                "initial": custom_metadata(tuple(error.initial_metadata())),
                "trailing": custom_metadata(tuple(error.trailing_metadata())),
            }
        return {
            "status": "OK",
            "details": "",
            "data": response,
            "initial": custom_metadata(tuple(await call.initial_metadata())),
            "trailing": custom_metadata(tuple(await call.trailing_metadata())),
        }

    async def stream(self, method: str, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for response in self.channel.stream_stream(f"/t.T/{method}")(requests):
            yield response

    async def close(self) -> None:
        await self.channel.close()


def custom_metadata(metadata: Any) -> list[tuple[str, Any]]:
    return sorted((key, value) for key, value in metadata if key.startswith("x-"))


async def iterate(*requests: bytes) -> AsyncIterator[bytes]:
    for request in requests:
        yield request


def run_with_both_clients(server_addr: str, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    """Tell a story with either client; return the one result that both must have."""

    async def run_scenario(client: Any) -> Any:
        try:
            async with asyncio.timeout(60):
                return await scenario(client)
        finally:
            await client.close()

    async def main() -> list[Any]:
        return [
            await run_scenario(client_class(server_addr))
            for client_class in (OurClient, GrpcAioClient)
        ]

    our_result, grpc_aio_result = asyncio.run(main())
    assert our_result == grpc_aio_result
    return our_result


SIZES = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20, 12 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_any_size(server_addr: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    result = run_with_both_clients(server_addr, lambda client: client.unary("Echo", data[:size]))
    assert (result["status"], result["data"]) == ("OK", data[:size])


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK], ids=lambda s: s.name)
@pytest.mark.parametrize("details", ["", "no wäy, 中 %41 \n"], ids=["bare", "details"])
def test_every_status(server_addr: str, status: Status, details: str) -> None:
    """`abort` without data sends trailers alone."""
    data = bytes([status]) + details.encode()
    result = run_with_both_clients(server_addr, lambda client: client.unary("Fail", data))
    assert (result["status"], result["details"]) == (status.name, details)
    assert result["trailing"] == [("x-why", "so"), ("x-why-bin", b"\0\xff")]


def test_metadata_goes_both_ways(server_addr: str) -> None:
    metadata = (("x-a", "1"), ("x-a", "2"), ("x-data-bin", bytes(range(256))), ("x-empty", ""))
    result = run_with_both_clients(
        server_addr, lambda client: client.unary("Meta", b"d", metadata=metadata)
    )
    assert result["initial"] == sorted(metadata)
    assert result["trailing"] == sorted(metadata)


def test_an_unknown_method(server_addr: str) -> None:
    result = run_with_both_clients(server_addr, lambda client: client.unary("Nothing", b""))
    assert result["status"] == "UNIMPLEMENTED"


async def fetch_counts(client: Any) -> dict[str, int]:
    response = await client.unary("Tell", b"", timeout=60)
    assert response["status"] == "OK", (type(client).__name__, response)
    counts: dict[str, int] = json.loads(response["data"])
    return counts


async def wait_for_count(client: Any, counter: str, minimum: int) -> None:
    while (await fetch_counts(client)).get(counter, 0) < minimum:
        pass


def test_deadlines(server_addr: str) -> None:
    async def scenario(client: Any) -> list[str]:
        await client.unary("HoldOn", b"")
        missed = await client.unary("Hold", b"x", timeout=0.2)
        await wait_for_count(client, "cancelled", 1)
        await client.unary("LetGo", b"")
        return [missed["status"], (await client.unary("Hold", b"x", timeout=5))["status"]]

    assert run_with_both_clients(server_addr, scenario) == ["DEADLINE_EXCEEDED", "OK"]


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_cancel(server_addr: str, when: str) -> None:
    async def scenario(client: Any) -> tuple[str, int]:
        await client.unary("HoldOn", b"")
        task = asyncio.ensure_future(client.unary("Hold", b"x"))
        if when != "before":
            await wait_for_count(client, "held", 1)
        if when == "after":
            await client.unary("LetGo", b"")
            await task
        task.cancel()
        try:
            outcome = (await task)["status"]
        except asyncio.CancelledError:
            outcome = "cancelled"
        if when == "during":
            await wait_for_count(client, "cancelled", 1)
        return outcome, (await fetch_counts(client)).get("cancelled", 0)

    expected = {"before": ("cancelled", 0), "during": ("cancelled", 1), "after": ("OK", 0)}
    assert run_with_both_clients(server_addr, scenario) == expected[when]


@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_response_stream(server_addr: str, count: int) -> None:
    async def scenario(client: Any) -> list[bytes]:
        return [response async for response in client.stream("Count", iterate(b"%d 10" % count))]

    assert run_with_both_clients(server_addr, scenario) == [b"m" * 10] * count


def test_large_responses_in_a_stream(server_addr: str) -> None:
    async def scenario(client: Any) -> list[int]:
        return [len(response) async for response in client.stream("Count", iterate(b"5 3000000"))]

    assert run_with_both_clients(server_addr, scenario) == [3_000_000] * 5


def test_ping_pong_and_half_close(server_addr: str) -> None:
    async def scenario(client: Any) -> list[bytes]:
        outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def requests() -> AsyncIterator[bytes]:
            while (request := await outgoing.get()) is not None:
                yield request

        outgoing.put_nowait(b"0")
        responses = []
        async for response in client.stream("Chat", requests()):
            responses.append(response)
            if response != b"bye":
                outgoing.put_nowait(b"%d" % len(responses) if len(responses) < 100 else None)
        return responses

    assert run_with_both_clients(server_addr, scenario) == [
        *(b"%d!" % n for n in range(100)),
        b"bye",
    ]


def test_slow_client_applies_backpressure(server_addr: str) -> None:
    async def scenario(client: Any) -> tuple[bool, int]:
        await client.unary("HoldOn", b"")
        responses = client.stream("Count", iterate(b"2000 65536"))
        first = await anext(responses)
        previous = -1
        while (current := (await fetch_counts(client)).get("sent", 0)) != previous:
            previous = current
            await asyncio.to_thread(partial(all, range(100_000)))
        was_held_back = current < 2000
        return was_held_back, len(first) + sum([len(response) async for response in responses])

    assert run_with_both_clients(server_addr, scenario) == (True, 2000 * 65536)


def test_slow_server_applies_backpressure(server_addr: str) -> None:
    async def scenario(client: Any) -> tuple[bool, list[bytes]]:
        await client.unary("HoldOn", b"")
        sent_count, stalled = 0, asyncio.Event()

        async def requests() -> AsyncIterator[bytes]:
            nonlocal sent_count
            for _ in range(500):
                sent_count += 1
                yield b"r" * 65536

        async def wait_for_stall() -> None:
            previous = -1
            while sent_count != previous:
                previous = sent_count
                for _ in range(20):
                    await fetch_counts(client)
            stalled.set()

        watch_task = asyncio.ensure_future(wait_for_stall())
        responses = client.stream("Swallow", requests())
        first_response_task = asyncio.ensure_future(anext(responses))
        await stalled.wait()
        was_held_back = sent_count < 500
        await client.unary("LetGo", b"")
        first = await first_response_task
        await watch_task
        return was_held_back, [first, *[response async for response in responses]]

    assert run_with_both_clients(server_addr, scenario) == (True, [str(500 * 65536).encode()])


@pytest.mark.unmeasured
def test_thousands_of_calls_in_flight(server_addr: str) -> None:
    async def scenario(client: Any) -> tuple[int, int]:
        await client.unary("HoldOn", b"")
        calls = [
            asyncio.ensure_future(client.unary("Hold", b"%d" % n, timeout=60)) for n in range(3000)
        ]
        await wait_for_count(client, "held", 3000)
        await client.unary("LetGo", b"")
        responses = await asyncio.gather(*calls)
        return len(responses), sum(
            response["data"] == b"%d" % n for n, response in enumerate(responses)
        )

    assert run_with_both_clients(server_addr, scenario) == (3000, 3000)


def test_one_stream_at_a_time() -> None:
    """The server now and then refuses one, as it has not yet counted the end of the one before.

    Such a call did not run, and its caller may send it again.
    """

    async def main(addr: str) -> list[bytes]:
        channel = Channel(addr, frequent_keepalive=False)

        async def call(number: int) -> bytes:
            while True:
                try:
                    return await channel.unary("/t.T/Echo", b"%d" % number, timeout=20)
                except RpcError as error:
                    assert not error.may_have_run

        responses = await asyncio.gather(*(call(number) for number in range(50)))
        await channel.close()
        return responses

    with run_oracle_server(0, 1) as addr:
        assert asyncio.run(main(addr)) == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("client_class", [OurClient, GrpcAioClient])
def test_reconnect_after_a_server_restart(client_class: Any) -> None:
    async def main() -> None:
        with run_oracle_server() as addr:
            client = client_class(addr)
            await client.unary("HoldOn", b"")
            held_call = asyncio.ensure_future(client.unary("Hold", b"x"))
            await wait_for_count(client, "held", 1)
        assert (await held_call)["status"] == "UNAVAILABLE"
        with run_oracle_server(int(addr.rpartition(":")[2])):
            while (response := await client.unary("Echo", b"back"))["status"] != "OK":
                assert response["status"] == "UNAVAILABLE"
            assert response["data"] == b"back"
            await client.close()

    asyncio.run(main())


def create_certificate(folder: Path) -> tuple[str, str]:
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    args = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    args += ["-keyout", key, "-out", cert, "-subj", "/CN=127.0.0.1"]
    args += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(args, check=True, capture_output=True)
    return cert, key


def test_tls(tmp_path: Path) -> None:
    cert, key = create_certificate(tmp_path)

    async def main(addr: str) -> None:
        channel = Channel(addr, tls=ssl.create_default_context(cafile=cert))
        for size in (1, 1 << 20):
            assert len(await channel.unary("/t.T/Echo", b"x" * size, timeout=10)) == size
        await channel.close()
        untrusting_channel = Channel(addr, tls=ssl.create_default_context())
        with pytest.raises(RpcError, match="certificate") as caught:
            await untrusting_channel.unary("/t.T/Echo", b"x", timeout=10)
        assert not caught.value.may_have_run
        await untrusting_channel.close()

    with run_oracle_server(0, 100, cert, key) as addr:
        asyncio.run(main(addr))


def test_gzip_from_the_server(server_addr: str) -> None:
    result = run_with_both_clients(server_addr, lambda client: client.unary("Zip", b"z" * 100_000))
    assert result["data"] == b"z" * 100_000
