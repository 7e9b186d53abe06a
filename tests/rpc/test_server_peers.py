"""Our server against clients that nobody here wrote: grpcio, grpclib, grpc-js, proxies."""

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpclib
import pytest
from grpc import aio
from grpclib.client import Channel as GrpclibChannel
from grpclib.client import StreamStreamMethod, UnaryUnaryMethod

from rpc.client import Channel
from rpc.server import CallContext, Server
from rpc.status import RpcError, Status
from tests.harness import ROOT, free_port
from tests.rpc.test_peers import HTTP2, PROXIES, run_process

NODE_MODULES = ROOT / ".npm-tools/node_modules"  # `.ci/run` installs it where there is npm
SIZES = (0, 1, 16_384, 65_537, 3 << 20)


class ServerThread:
    """Our server, in a loop of its own thread."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        assert self._ready.wait(10)

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        server = Server(
            unary={"/t.T/Echo": self.echo, "/t.T/Fail": self.fail, "/t.T/Hold": self.hold},
            stream={"/t.T/Stream": self.stream},
        )
        self.port = await server.start("127.0.0.1", 0)
        self._ready.set()
        await self._stop.wait()
        await server.stop(0)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def echo(self, data: bytes, call: CallContext) -> bytes:
        call.trailers.append(("x-seen", call.metadata.get("x-name", "")))
        return data

    async def fail(self, data: bytes, _: CallContext) -> bytes:
        raise RpcError(Status(data[0]), "not here: ü %")

    async def hold(self, data: bytes, _: CallContext) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return data

    async def stream(self, requests: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request


@pytest.fixture(scope="module")
def server() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.stop()


def call_by_grpcio(server: ServerThread, _: Path) -> None:
    async def main() -> None:
        options = [("grpc.max_receive_message_length", -1)]
        async with aio.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
            echo = channel.unary_unary("/t.T/Echo")
            for size in SIZES:
                assert await echo(b"p" * size, timeout=20) == b"p" * size
            for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
                assert await echo(b"p" * 9999, compression=compression) == b"p" * 9999
            call = echo(b"", metadata=(("x-name", "me"), ("x-bin", b"\xff")))
            await call
            assert dict(await call.trailing_metadata())["x-seen"] == "me"
            calls = [echo(b"%d" % n, timeout=20) for n in range(3000)]
            assert await asyncio.gather(*calls) == [b"%d" % n for n in range(3000)]
            for status in Status:
                if status is Status.OK:
                    continue
                with pytest.raises(grpc.RpcError) as caught:
                    await channel.unary_unary("/t.T/Fail")(bytes([status]))
                assert caught.value.code().value[0] == status
                assert caught.value.details() == "not here: ü %"
            stream = channel.stream_stream("/t.T/Stream")(iter([b"a" * 70_000] * 50))
            assert [len(part) async for part in stream] == [70_000] * 50
            server.cancelled.clear()
            with pytest.raises(grpc.RpcError) as caught:
                await channel.unary_unary("/t.T/Hold")(b"", timeout=0.1)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await asyncio.to_thread(server.cancelled.wait, 10)

    asyncio.run(main())


def call_by_grpclib(server: ServerThread, _: Path) -> None:
    class Bytes:
        """A codec of bytes."""

        __content_subtype__ = "proto"

        def encode(self, message: Any, _: Any) -> bytes:
            return bytes(message)

        def decode(self, data: bytes, _: Any) -> Any:
            return data

    async def main() -> None:
        channel = GrpclibChannel("127.0.0.1", server.port, codec=Bytes())  # type: ignore[arg-type]
        try:
            echo: Any = UnaryUnaryMethod(channel, "/t.T/Echo", bytes, bytes)
            for size in SIZES[:4]:
                assert await echo(b"p" * size, timeout=20) == b"p" * size
            calls = [echo(b"%d" % n, timeout=20) for n in range(300)]
            assert await asyncio.gather(*calls) == [b"%d" % n for n in range(300)]
            fail: Any = UnaryUnaryMethod(channel, "/t.T/Fail", bytes, bytes)
            with pytest.raises(grpclib.GRPCError) as caught:
                await fail(b"\x05", timeout=20)
            assert caught.value.status is grpclib.const.Status.NOT_FOUND
            assert caught.value.message == "not here: ü %"
            method: Any = StreamStreamMethod(channel, "/t.T/Stream", bytes, bytes)
            assert await method([b"a" * 70_000] * 50, timeout=20) == [b"a" * 70_000] * 50
            hold: Any = UnaryUnaryMethod(channel, "/t.T/Hold", bytes, bytes)
            server.cancelled.clear()
            # The client's timer, or the server's answer at the same deadline.
            with pytest.raises((asyncio.TimeoutError, grpclib.GRPCError)) as caught:
                await hold(b"", timeout=0.1)
            if isinstance(caught.value, grpclib.GRPCError):
                assert caught.value.status is grpclib.const.Status.DEADLINE_EXCEEDED
            assert await asyncio.to_thread(server.cancelled.wait, 10)
        finally:
            channel.close()

    asyncio.run(main())


NODE_SCRIPT = """
const grpc = require("@grpc/grpc-js");
const bytes = { requestStream: false, responseStream: false, requestSerialize: (b) => b,
  requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b };
const Client = grpc.makeGenericClientConstructor({
  echo: { ...bytes, path: "/t.T/Echo" }, fail: { ...bytes, path: "/t.T/Fail" },
  hold: { ...bytes, path: "/t.T/Hold" },
  stream: { ...bytes, path: "/t.T/Stream", requestStream: true, responseStream: true } }, "T");
const client = new Client(process.argv[2], grpc.credentials.createInsecure());
const call = (name, data, options = {}) => new Promise((resolve) =>
  client[name](data, new grpc.Metadata(), options, (error, reply) => resolve(
    error ? `${error.code} ${error.details}` : reply.length)));
const stream = () => new Promise((resolve) => {
  const call = client.stream();
  let size = 0;
  call.on("data", (part) => { size += part.length; });
  call.on("status", (status) => resolve(`${status.code} ${size}`));
  for (let n = 0; n < 50; n++) call.write(Buffer.alloc(70000));
  call.end();
});
(async () => {
  const sizes = [];
  for (const size of [0, 1, 16384, 65537, 3145728])
    sizes.push(await call("echo", Buffer.alloc(size)));
  const many = await Promise.all([...Array(1000).keys()].map((n) => call("echo", Buffer.alloc(n))));
  const failed = await call("fail", Buffer.from([5]));
  const late = await call("hold", Buffer.alloc(0), { deadline: Date.now() + 100 });
  console.log(JSON.stringify([sizes, many.every((size, n) => size === n), failed, late.slice(0, 1),
    await stream()]));
  client.close();
})();
"""


def call_by_grpc_js(server: ServerThread, folder: Path) -> None:
    (folder / "node_modules").symlink_to(NODE_MODULES)
    (folder / "calls.js").write_text(NODE_SCRIPT)
    server.cancelled.clear()
    result = subprocess.run(
        ["node", "calls.js", f"127.0.0.1:{server.port}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    expected = [list(SIZES), True, "5 not here: ü %", "4", "0 3500000"]
    assert json.loads(result.stdout) == expected
    assert server.cancelled.wait(10)


CLIENTS: list[Callable[[ServerThread, Path], None]] = [call_by_grpcio, call_by_grpclib]
if (NODE_MODULES / "@grpc/grpc-js").is_dir():
    CLIENTS.append(call_by_grpc_js)


@pytest.mark.parametrize("make_calls", CLIENTS)
def test_calls_from_a_client(
    server: ServerThread, make_calls: Callable[[ServerThread, Path], None], tmp_path: Path
) -> None:
    make_calls(server, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("nginx", marks=pytest.mark.peer("nginx")),
        pytest.param("haproxy", marks=pytest.mark.peer("haproxy")),
        pytest.param("envoy", marks=pytest.mark.peer(PROXIES["envoy"][1][0])),
    ],
)
def test_calls_from_a_proxy(server: ServerThread, name: str, tmp_path: Path) -> None:
    template, args = PROXIES[name]

    async def main(addr: str) -> None:
        channel = Channel(addr, connect_timeout=20.0)
        for size in SIZES[:4]:
            assert await channel.unary("/t.T/Echo", b"p" * size, timeout=20) == b"p" * size
        calls = [channel.unary("/t.T/Echo", b"%d" % n, timeout=20) for n in range(500)]
        assert await asyncio.gather(*calls) == [b"%d" % n for n in range(500)]
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t.T/Fail", b"\x05", timeout=20)
        assert caught.value.status is Status.NOT_FOUND
        await channel.close()

    port = free_port()
    path = tmp_path / f"{name}.yaml"
    values = {"port": port, "backend": server.port, "folder": tmp_path} | HTTP2
    path.write_text(template.format(**values))
    with run_process([*args, str(path)], port) as addr:
        asyncio.run(main(addr))
