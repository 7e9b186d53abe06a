"""A gRPC client: calls to one server, over one HTTP/2 connection that is made anew when it ends.

The protocol is in `connection` and `calls`, the socket in `wire`; here are connecting, waiting and
deadlines.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from random import Random, SystemRandom
from typing import Final

from rpc.backoff import Backoff
from rpc.calls import Call, StreamCall, UnaryCall
from rpc.deadlines import due
from rpc.keepalive import OFTEN, SELDOM
from rpc.metadata import Metadata, request_block, timeout_field
from rpc.status import RpcError, Status
from rpc.streaming import Stream
from rpc.wire import Wire

MESSAGE_LIMIT: Final = 16 * 1024 * 1024
_HEADS: Final = 256  # request heads kept ready
_TIMEOUTS: Final = 4096  # and fields of timeouts, by milliseconds
_PARTING_S: Final = 0.5


class Channel:
    """Calls to the server at `addr` (host:port). It connects when first called, and again after.

    `connect_timeout` in seconds. `pings` asks a silent peer for signs of life as often as our own
    servers allow; others are asked seldom. `tls` makes the connection one of TLS (its ALPN is set
    to HTTP/2). `limit` is the most bytes of a message, either way. `rng` spreads attempts to
    connect. To be made where a loop runs.
    """

    def __init__(
        self,
        addr: str,
        *,
        connect_timeout: float = 1.0,
        pings: bool = True,
        tls: ssl.SSLContext | None = None,
        limit: int = MESSAGE_LIMIT,
        rng: Random | None = None,
    ) -> None:
        self._addr = addr
        self._connect_timeout = connect_timeout
        self._manner = OFTEN if pings else SELDOM
        self._tls = tls
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(rng or SystemRandom())
        self._left_alone = 0.0  # until when no attempt to connect is made
        self._why = ""
        self._wire: Wire | None = None
        self._wires: set[Wire] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: dict[Call, None] = {}
        self._due = inf  # when deadlines are looked at
        self._timer: asyncio.TimerHandle | None = None
        self._timeouts: dict[int, bytes] = {}
        self._heads: dict[tuple[str, Metadata], bytes] = {}
        self._closed = False

    def head(self, method: str, metadata: Metadata = ()) -> bytes:
        """Return the head of calls, which `begin` takes.

        `method` is a full path, `/package.Service/Method`. Raises ValueError for metadata that gRPC
        does not allow.
        """
        key = (method, metadata)
        head = self._heads.get(key)
        if head is None:
            head = request_block(self._addr, "https" if self._tls else "http", method, metadata)
            if len(self._heads) >= _HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[key] = head
        return head

    def begin(
        self, head: bytes, request: bytes, timeout: float, done: Callable[[UnaryCall], None]
    ) -> UnaryCall:
        """Begin a call with one request; `done` is called at its end, never before this returns.

        `timeout` is in seconds and travels to the peer as its deadline; the call's `cancel` ends it
        sooner.
        """
        deadline = self._loop.time() + timeout
        call = UnaryCall(head, self._limit, deadline, self._over, done, request)
        if len(request) > self._limit:
            words = f"a request of {len(request)} bytes is larger than {self._limit}"
            self._fail_soon(call, Status.RESOURCE_EXHAUSTED, words)
        else:
            self._start(call)
        return call

    async def unary(
        self, method: str, request: bytes, *, timeout: float, metadata: Metadata = ()
    ) -> bytes:
        """Send one request and return its one answer.

        Parameters as for `head` and `begin`. Cancelling the task cancels the call at the peer.
        Raises RpcError; its `sent` is False when the peer looked at nothing of it.
        """
        over: asyncio.Future[None] = self._loop.create_future()

        def done(_: UnaryCall) -> None:
            if not over.done():
                over.set_result(None)

        call = self.begin(self.head(method, metadata), request, timeout, done)
        try:
            await over
        finally:
            call.cancel()
        if call.error is not None:
            raise call.error
        assert call.message is not None  # noqa: S101 (a call without an error has one)
        return call.message

    def open(self, method: str, *, timeout: float | None = None, metadata: Metadata = ()) -> Stream:
        """Begin a call with a stream of messages either way; `timeout` None sets no deadline."""
        call = self._stream(self.head(method, metadata), timeout)
        stream = Stream(call, self.flush, self._limit)
        self._start(call)
        return stream

    def converse(self, head: bytes, timeout: float, wake: Callable[[], None]) -> StreamCall:
        """Begin a call with a stream of messages either way, for one who is woken by each change.

        What it sends or pops goes out with `flush`. `wake` may be called before this returns.
        """
        call = self._stream(head, timeout)
        call.wake = wake
        self._start(call)
        return call

    def _stream(self, head: bytes, timeout: float | None) -> StreamCall:
        deadline = None if timeout is None else self._loop.time() + timeout
        return StreamCall(head, self._limit, deadline, self._over, _nothing)

    async def close(self, grace: float = 0.0) -> None:
        """Take no more calls; those under way get `grace` seconds, then end with CANCELLED."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._fail_waiting(Status.CANCELLED, "the connection was closed")
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(wire.emptied() for wire in self._wires))
        await asyncio.gather(*(wire.leave(_PARTING_S) for wire in list(self._wires)))
        if self._timer is not None:
            self._timer.cancel()

    # The way of a call: onto the wire at once, or among those that wait for one.

    def _start(self, call: Call) -> None:
        if call.ended:  # cancelled, before it could go out for the second time
            return
        if self._closed:
            self._fail_soon(call, Status.UNAVAILABLE, "the connection was closed")
            return
        if call.deadline is not None and call.deadline < self._due:
            self._look_at(call.deadline)
        wire = self._wire
        if wire is not None and not self._waiting and wire.connection.may_open():
            self._go(call, wire)
        elif wire is None and self._connecting is None and self._loop.time() < self._left_alone:
            self._fail_soon(call, Status.UNAVAILABLE, self._why)
        else:
            self._waiting[call] = None
            self._want_wire()

    def _go(self, call: Call, wire: Wire) -> None:
        block = call.block
        if call.deadline is not None:
            left = int((call.deadline - self._loop.time()) * 1000.0) + 1  # never less than is left
            block += self._timeouts.get(left) or self._timeout(left)
        wire.go(call, block)

    def _timeout(self, milliseconds: int) -> bytes:
        if len(self._timeouts) >= _TIMEOUTS:
            self._timeouts.clear()
        field = self._timeouts[milliseconds] = timeout_field(milliseconds)
        return field

    def _over(self, call: Call) -> None:
        """Take in that a call has ended; one that the peer never looked at goes out again."""
        if self._waiting or self._closed or self._wire is None or len(self._wires) > 1:
            self._waiting.pop(call, None)
            self._loop.call_soon(self._tidy)
        if call.error is not None:
            self.flush()  # the peer may have to hear that we gave the call up
        if call.refused and not self._closed and isinstance(call, UnaryCall):
            call.renew()
            self._loop.call_soon(self._start, call)
            return
        try:
            call.done(call)
        except Exception as error:  # noqa: BLE001 (it must not end the connection of all others)
            words = "what a call's end was told to failed"
            self._loop.call_exception_handler({"message": words, "exception": error})

    def _tidy(self) -> None:
        """Use what the end of a call has freed, though the peer may say nothing more."""
        for wire in list(self._wires):
            wire.tidy()
            self._changed(wire)

    def _fail_soon(self, call: Call, status: Status, words: str) -> None:
        self._loop.call_soon(partial(call.fail, status, words, sent=False))

    def _fail_waiting(self, status: Status, words: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call.fail(status, words, sent=False)

    def flush(self) -> None:
        """Send what calls have to say, before the loop waits again."""
        for wire in self._wires:
            if wire.connection.outbound.frames:
                wire.flush_soon()

    # Deadlines: one timer for all calls.

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        self._timer = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._timer, self._due = None, inf
        out = [call for wire in self._wires for call in wire.calls()]
        expired, upcoming = due([*self._waiting, *out], self._loop.time())
        if upcoming < inf:
            self._look_at(upcoming)
        for call in expired:
            call.fail(Status.DEADLINE_EXCEEDED, "deadline exceeded", sent=call.id != 0)

    # The wire: made when it is wanted, left when it ends.

    def _want_wire(self) -> None:
        if self._wire is None and self._connecting is None and not self._closed:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        wire = Wire(self._manner, self._changed)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._dial(wire)
                await wire.settled
        except BaseException as error:
            self._connecting = None
            wire.close(Status.UNAVAILABLE, "connection failed")
            if not isinstance(error, OSError | TimeoutError | RpcError | ValueError):
                raise
            told = "timed out" if isinstance(error, TimeoutError) else f"failed: {error}"
            self._leave_alone(f"connection to {self._addr} {told}")
        else:
            self._connecting = None
            self._wire = wire
            self._wires.add(wire)
            self._changed(wire)

    def _leave_alone(self, why: str) -> None:
        """Make no attempt to connect for a while: the last one brought nothing."""
        self._why = why
        self._left_alone = self._loop.time() + self._backoff.failed()
        self._fail_waiting(Status.UNAVAILABLE, why)

    async def _dial(self, wire: Wire) -> None:
        host, _, port = self._addr.rpartition(":")
        host = host.strip("[]")
        await self._loop.create_connection(lambda: wire, host, int(port), ssl=self._tls)
        if self._tls is not None and not wire.speaks_http2():
            raise RpcError(Status.UNAVAILABLE, "the peer does not offer HTTP/2", sent=False)

    def _changed(self, wire: Wire) -> None:
        """Use the room that a wire has now, or leave it when it has none any more."""
        if not wire.open:
            self._wires.discard(wire)
        if wire is not self._wire:
            return
        connection = wire.connection
        if wire.open and not connection.away and not connection.outbound.spent():
            while self._waiting and connection.may_open():
                call = next(iter(self._waiting))
                del self._waiting[call]
                self._go(call, wire)
            return
        self._wire = None
        if connection.useful or connection.outbound.streams:
            self._backoff.worked()
        elif not self._closed:  # it was of no use: the next might not be, either
            self._leave_alone(connection.away or f"connection to {self._addr} ended at once")
        if self._waiting:
            self._want_wire()


def _nothing(_: Call) -> None:
    """Do nothing at the end of a call: whoever iterates over it sees it."""
