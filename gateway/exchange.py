"""What passes on one connection: once-requests in, in turn, and the answers out."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.answers import Answer, written
from gateway.clocks import Patience, Wait
from gateway.door import Door
from gateway.heads import Key
from gateway.lane import Asked, Lane, OnceCycle, asked_service
from gateway.turns import Turns

_SAID: Final = b"\r\nconnection: close\r\n"
_CLOSE: Final = b"connection: close\r\n"
_EVENTS: Final = b"HTTP/1.1 200 OK\r\n"


class Server(Protocol):
    """uvicorn's state of a server."""

    default_headers: list[tuple[bytes, bytes]]
    total_requests: int


class Exchange:
    """The lane's side of a connection.

    `over` is called after each answer, `leave` after the last one; `running` holds the requests
    that a drain waits for. `may_write`: the client keeps up.
    """

    __slots__ = (
        "_again", "_alone", "_call_soon", "_client", "_door", "_key", "_leave", "_may_write",
        "_over", "_patience", "_running", "_server", "_transport", "_turns",
    )  # fmt: skip

    def __init__(
        self,
        door: Door,
        server: Server,
        transport: asyncio.Transport,
        turns: Turns,
        patience: Patience,
        running: set[Any],
        client: str,
        over: Callable[[], None],
        leave: Callable[[], None],
        may_write: Callable[[], bool],
    ) -> None:
        self._may_write = may_write
        self._door = door
        self._server = server
        self._transport = transport
        self._turns = turns
        self._patience = patience
        self._running = running
        self._client = client
        self._over = over
        self._leave = leave
        self._call_soon = asyncio.get_running_loop().call_soon
        self._key: Key = b""
        self._again = self._alone = False

    def serve(self, data: bytes) -> bool:
        """Serve a read that is one whole once-request, its head known; return whether it was."""
        door, lane = self._door, self._door.lane
        self._again = self._alone = False
        if lane is None:
            return False
        read = lane.heads.find(data)
        if read is None:
            return False
        asked, limits = read.meaning, door.limits
        if asked is None:
            self._again, self._key = read.key == self._key, read.key
            return False
        if read.begin + read.size != len(data):
            return False
        if read.size > limits.body or read.begin > limits.header_bytes:
            return False
        once = self.cycle(lane, asked)
        if not self._turns.seize(once):
            return False
        self._alone = True
        self._patience.rest()
        once.start()
        once.take(data[read.begin :])
        once.end_body()
        return True

    def once(
        self,
        method: bytes,
        path: str,
        headers: Mapping[bytes, bytes],
        keep_alive: bool,
        expects: bool,
        /,
    ) -> OnceCycle | None:
        """Return the request that a head is, None when it is not the lane's."""
        lane = self._door.lane
        service = asked_service(method, path) if lane is not None else ""
        if lane is None or not service:
            self.learn(None)
            return None
        asked = Asked(service, path, headers, keep_alive, expects)
        self.learn(asked)
        return self.cycle(lane, asked)

    def cycle(self, lane: Lane, asked: Asked) -> OnceCycle:
        """Return a request that has come, and is to be started when its turn comes."""
        return OnceCycle(lane, self, self._running, asked, self._client)

    def learn(self, asked: Asked | None) -> None:
        """Take in what the parser made of a head; None: no once-request.

        Only the first head of a read is the one that `serve` saw. It is kept if it came before.
        """
        lane, again = self._door.lane, self._again
        self._again = False
        if again and lane is not None and asked is not None:
            lane.learn(self._key, asked)

    def send_continue(self) -> None:
        """Ask for a body that the client holds back."""
        self._door.outbox.flush()
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_answer(self, cycle: OnceCycle, answer: Answer) -> None:
        """Write an answer of the lane."""
        if self._turns.running is not cycle or self._transport.is_closing():
            return
        if self.write(answer, not cycle.keep_alive or self._door.draining()):
            self._leave()
        elif self._alone:  # nothing came behind it
            self._server.total_requests += 1
            self._turns.over()
            self._patience.wait(Wait.IDLE, self._door.limits.idle)
        else:
            self._over()

    # An answer in parts.

    def may_write(self) -> bool:
        """Return whether the client keeps up."""
        return self._may_write()

    def send_head(self, cycle: OnceCycle, head: bytes) -> None:
        """Write the head of an answer."""
        first = self._door.lines.of(self._server.default_headers)
        last = not cycle.keep_alive or self._door.draining()
        cycle.keep_alive = not last
        end = _CLOSE if last else b""
        self._door.outbox.flush()
        head = b"".join((_EVENTS, first, head, b"transfer-encoding: chunked\r\n", end, b"\r\n"))
        self._transport.write(head)

    def send_part(self, data: bytes) -> None:
        """Write a part."""
        if not self._transport.is_closing():
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def send_end(self, cycle: OnceCycle) -> None:
        """Write the end of an answer."""
        if self._turns.running is not cycle or self._transport.is_closing():
            return
        self._transport.write(b"0\r\n\r\n")
        if not cycle.keep_alive:
            self._leave()
        else:
            self._over()

    def write(self, answer: Answer, last: bool, /) -> bool:
        """Write an answer; return whether it says that it is the connection's last."""
        door, said = self._door, _SAID in answer.head
        first = door.lines.of(self._server.default_headers)
        data = written(answer, first, _CLOSE if last and not said else b"")
        door.outbox.put(self._transport, data, self._call_soon)
        return last or said
