"""One connection on its socket: bytes between a transport and the protocol, and its timers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from rpc.calls import Call
from rpc.connection import Connection
from rpc.frames import ErrorCode, ProtocolError
from rpc.headers import NO_TABLE, Blocks
from rpc.keepalive import Keepalive, Manner, Verdict
from rpc.metadata import Head, read_head
from rpc.status import RpcError, Status

# Bytes the transport may hold before we hold the rest back ourselves, uncopied.
_HIGH_WATER: Final = 1 << 18
_DROWNED: Final = 1 << 25
_DOUBT_S: Final = 0.05


class Wire(asyncio.Protocol):
    """A client's connection. `changed` is called when more calls may be opened, or no more at all.

    `settled` is done when the peer's settings came, and fails when the connection ends before.
    """

    def __init__(self, manner: Manner, changed: Callable[["Wire"], None]) -> None:
        self.connection = Connection()
        self.open = True
        self._loop = asyncio.get_running_loop()
        self.settled: asyncio.Future[None] = self._loop.create_future()
        self._changed = changed
        self._blocks: Blocks[Head] = Blocks(read_head)
        self._keepalive = Keepalive(manner)
        self._transport: asyncio.Transport | None = None
        self._heard = 0.0
        self._prologue = NO_TABLE
        self._flushing = False
        self._doubted = False
        self._looking: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's derives from nothing
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.connection.greet()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take in what came; calls end on the way."""
        self._heard = self._loop.time()
        connection = self.connection
        try:
            connection.receive(data)
        except ProtocolError as error:
            connection.close(error.code, error.reason)
            self._flush()
            self.close(Status.UNAVAILABLE, f"the peer broke HTTP/2: {error}")
            return
        if connection.settled and not self.settled.done():
            self.settled.set_result(None)
        self._changed(self)
        if connection.outbound.frames:
            self.flush_soon()
            self._bound()
        self.tidy()

    def connection_lost(self, exc: Exception | None) -> None:
        """End every call."""
        self._gone.set()
        words = f"the connection was lost: {exc}" if exc else "the peer closed the connection"
        self.close(Status.UNAVAILABLE, words)

    def pause_writing(self) -> None:
        """Hold data back: the peer, or the way to it, takes no more."""
        self.connection.outbound.blocked = True

    def resume_writing(self) -> None:
        """Go on."""
        self.connection.outbound.unblock()
        self.flush_soon()

    def go(self, call: Call, block: bytes) -> None:
        """Send a call; `block` is its whole header block."""
        if self._prologue:
            block, self._prologue = self._prologue + block, b""
        call.start(self.connection, self._blocks, block)
        self.flush_soon()
        if self._looking is None:
            self._keepalive.begin(self._loop.time())
            self._look_later()

    def calls(self) -> list[Call]:
        """Return the calls under way."""
        return [
            call for call in self.connection.outbound.streams.values() if isinstance(call, Call)
        ]

    def flush_soon(self) -> None:
        """Write what there is to write at the end of this turn of the loop, in one piece."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    async def emptied(self) -> None:
        """Wait until no call is under way."""
        if self.open and self.connection.outbound.streams:
            self._emptied = self._emptied or self._loop.create_future()
            await asyncio.shield(self._emptied)

    def close(self, status: Status, words: str) -> None:
        """Close the connection; calls under way end with that status."""
        if not self.open:
            return
        self.open = False
        if self._looking is not None:
            self._looking.cancel()
        if not self.settled.done():
            self.settled.set_exception(RpcError(status, words, sent=False))
            self.settled.exception()  # nobody may be waiting for it any more
        for call in self.calls():
            self.connection.outbound.drop(call)
            call.fail(status, words)
        if self._transport is not None:
            self._flush()
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # the peer takes nothing: it is not waited for
            else:
                self._transport.close()
        self.tidy()
        self._changed(self)

    def tidy(self) -> None:
        """When no call is under way any more: say so, and close what takes no other."""
        outbound = self.connection.outbound
        if outbound.streams:
            return
        if self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)
        self._emptied = None
        if self.open and (self.connection.away or outbound.spent()):
            self.close(Status.UNAVAILABLE, self.connection.away or "all stream numbers are used")

    def _bound(self) -> None:
        """Give up a peer that makes us answer, and does not read what we answer."""
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() > _DROWNED:
            transport.abort()
            self.close(Status.UNAVAILABLE, "the peer does not read")

    def _flush(self) -> None:
        self._flushing = False
        outbound = self.connection.outbound
        out = outbound.take()
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))
            outbound.go_on()
            if outbound.frames:
                self.flush_soon()

    def _look_later(self) -> None:
        self._looking = self._loop.call_later(self._keepalive.period, self._look)

    def _look(self) -> None:
        """See whether the peer is alive, as long as there is a call that would want to know."""
        self._looking = None
        connection = self.connection
        if not connection.outbound.streams:
            return
        verdict = self._keepalive.look(self._loop.time(), self._heard, connection.useful)
        if verdict is Verdict.DEAD and not self._doubted:
            # It may be we who were frozen: what the peer said meanwhile is heard first.
            self._doubted = True
            self._looking = self._loop.call_later(_DOUBT_S, self._look)
            return
        self._doubted = False
        if verdict is Verdict.DEAD:
            if self._transport is not None:
                self._transport.abort()
            self.close(Status.UNAVAILABLE, "the peer gives no sign of life")
            return
        if verdict is Verdict.PING:
            connection.ping(b"aliveyet")
            self._flush()
        self._look_later()

    def speaks_http2(self) -> bool:
        """Return whether TLS has settled on HTTP/2."""
        shaken = self._transport.get_extra_info("ssl_object") if self._transport else None
        return shaken is not None and shaken.selected_alpn_protocol() == "h2"

    async def leave(self, seconds: float) -> None:
        """Tell the peer that we leave, and do; TLS may take some seconds to part."""
        self.connection.close(ErrorCode.NO_ERROR)
        self.close(Status.CANCELLED, "the connection was closed")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        if self._transport is not None:
            self._transport.abort()
