"""The HTTP/1.1 door: uvicorn's protocol, with what no ASGI application can do.

Limits on what comes, by size and by time; one reading of every head; pipelined requests answered in
order, one at a time; and the once-lane. Whatever is refused here gets the envelope of every other
refusal.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway import head
from gateway.answers import Answer, HttpError
from gateway.asgi import asgi_scope
from gateway.clocks import Patience, Reading, Wait
from gateway.door import REFUSAL, Door
from gateway.lane import OnceCycle, asked_service
from gateway.turns import Turns

# A client may take its time at the start of a body; then it is held to the least rate.
_GRACE_S = 5.0
# How long a client that sends on, after it was refused, may take to read why.
_LINGER_S = 1.0
_LINGER_BYTES = 1 << 20


class DoorProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *, door: Door, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._door = door
        self._limits = door.limits
        self._refusal: HttpError | None = None
        self.url = b""
        self._in_head = self._in_message = self._deaf = False
        self._fed = self._untold = self._body_bytes = self._blank = self._chunk = 0
        self._receiving: Any = None
        self._turns = Turns(self.loop, self._may_run)
        self._began = 0.0
        self._patience = Patience(self.loop, self._late)

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head; one connection too many is told so."""
        super().connection_made(transport)
        self._reading = Reading(transport, self._limits.stalled)
        if len(self.connections) > self._limits.connections:
            self._deaf = True
            self._send_refusal(HttpError(503, "too many connections"))
        else:
            self._patience.wait(Wait.HEAD, self._limits.head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks; tell the request that runs."""
        self.connections.discard(self)
        self._patience.stop()
        self._reading.stop()
        self._deaf = True
        running = self._turns.drop()
        if isinstance(running, OnceCycle):
            running.gone()
        elif isinstance(running, RequestResponseCycle):
            running.disconnected = True
            running.message_event.set()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does: it refers to us

    def shutdown(self) -> None:
        """Leave: at once where nothing runs, else with the answer."""
        if not self._turns:
            self.transport.close()
        elif self._turns.running is not None:
            self._turns.running.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Parse, and see afterwards what is awaited now.

        The parser tells of a header, a chunk or a trailer when it is whole; until then it keeps
        the bytes, and joining them costs ever more. So what it has not told is bounded.
        """
        if self._deaf:
            self._hear_out(data)
            return
        if not self._in_message:
            data = self._begin_line(data)
        self._chunk = size = len(data)
        self._fed += size
        self._untold += size
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._broken()
        if not self._deaf:
            self._look()

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as pause:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                # It is served in this protocol; the parser thinks that another one begins.
                data = data[pause.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _begin_line(self, data: bytes) -> bytes:
        """Look at what the parser would pass over: blank lines, and more than one space."""
        if data[:1] in b"\r\n" and data:
            rest = data.lstrip(b"\r\n")
            self._blank += len(data) - len(rest)
            if self._blank > 2:
                self._refusal = HttpError(400, "blank lines before a request")
                self._broken()
            return rest
        end = data.find(b"\r\n")
        if data.find(b"  ", 0, end) >= 0 and end >= 0:
            self._refusal = HttpError(400, "one space, and one only, must part a request line")
            self._broken()
            return b""
        return data

    def _look(self) -> None:
        """Give a time to what is missing."""
        limits = self._limits
        if self._in_head:
            if max(self._untold, self._fed) > limits.header_bytes + limits.target:
                self._refusal = HttpError(
                    431, f"headers are larger than {limits.header_bytes} bytes"
                )
                self._broken()
            elif self._patience.awaited is not Wait.HEAD:
                self._patience.wait(Wait.HEAD, limits.head)
        elif self._in_message:
            if self._untold > limits.header_bytes + limits.target:
                self._refusal = HttpError(400, "a chunk's head or a trailer is too large")
                self._broken()
            elif self._receiving is self._turns.running and self._patience.awaited is Wait.NOTHING:
                self._began = self.loop.time()
                self._patience.wait(Wait.BODY, min(_GRACE_S, limits.body_time))

    # The parser.

    def on_message_begin(self) -> None:
        """Begin to count; what follows the last request of a connection is not read."""
        if self._deaf:
            raise HttpError(400, "nothing may follow")
        self._fed = self._chunk  # of which a part may belong to the request before
        self._untold = self._body_bytes = self._blank = 0
        self._in_head = self._in_message = True
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        """Hold the target to its limit."""
        self.url += url
        if len(self.url) > self._limits.target:
            self._break(
                HttpError(414, f"request target is longer than {self._limits.target} bytes")
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is dropped, since it must not join them."""
        self._untold = 0
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Read the head, in the one way there is, and give the request its turn."""
        self._in_head = False
        parser = self.parser
        version = parser.get_http_version()
        try:
            told = self._checked(version)
            if self.url == b"*" and parser.get_method() == b"OPTIONS":
                path, query = "*", b""
            else:
                path, query = head.canonical(self.url)
            head.check_upgrade(told, offered=parser.should_upgrade())
        except HttpError as error:
            self._break(error)
        method = parser.get_method()
        keep_alive = version != "1.0" and parser.should_keep_alive()
        lane = self._door.lane
        service = asked_service(method, path) if lane is not None else ""
        if lane is not None and service:
            once = OnceCycle(
                lane, self, cast("set[Any]", self.tasks), service, path, told,
                client=self.client[0] if self.client else "", keep_alive=keep_alive,
            )  # fmt: skip
            self._receiving = once
            self._take_turn(once, once.start)
            return
        self.scope = asgi_scope(
            method, path, query, version=version, raw_path=self.url.partition(b"?")[0],
            headers=self.headers, client=self.client, server=self.server,
            scheme=self.scheme or "http", state=self.app_state.copy(),
        )  # fmt: skip
        if parser.should_upgrade() and self._should_upgrade():
            return  # to a WebSocket, when the parser stops
        self._receiving = cycle = self.cycle = self._asgi_cycle(told, keep_alive)
        self._take_turn(cycle, partial(self._start_asgi_task, cycle, self.app))

    def on_chunk_header(self) -> None:
        """Note that the parser told of something."""
        self._untold = 0

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, up to the limit."""
        self._untold = 0
        self._body_bytes += len(body)
        receiving = self._receiving
        if self._body_bytes > self._limits.body:
            self._refuse_body(
                HttpError(413, f"request body is larger than {self._limits.body} bytes")
            )
        elif isinstance(receiving, OnceCycle):
            receiving.take(body)
        elif receiving is not None and not receiving.response_complete:
            receiving.body += body
            if len(receiving.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            receiving.message_event.set()

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._in_message = False
        receiving, self._receiving = self._receiving, None
        self._deaf = receiving is not None and not receiving.keep_alive
        self._patience.rest()
        if isinstance(receiving, OnceCycle):
            receiving.end_body()
        elif isinstance(receiving, RequestResponseCycle) and not receiving.response_complete:
            receiving.more_body = False
            receiving.message_event.set()

    def _checked(self, version: str) -> dict[bytes, bytes]:
        limits, headers = self._limits, self.headers
        if len(headers) > limits.headers:
            raise HttpError(431, f"more than {limits.headers} headers")
        if self._fed > limits.header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in headers)
            if size > limits.header_bytes:
                raise HttpError(431, f"headers are larger than {limits.header_bytes} bytes")
        return head.check(headers, version)

    def _asgi_cycle(self, told: dict[bytes, bytes], keep_alive: bool) -> RequestResponseCycle:
        return RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=b"expect" in told,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    # Turns: one request at a time, in the order they came.

    def _may_run(self) -> bool:
        return not self.flow.write_paused and not self.transport.is_closing()

    def _take_turn(self, cycle: Any, start: Callable[[], None]) -> None:
        if self._turns.take(cycle, start):
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        """Give the next request its turn; wait for one, or for the rest of this one."""
        self.server_state.total_requests += 1
        self._turns.over()
        if self.transport.is_closing():
            return
        if self._turns.waiting:
            self.flow.resume_reading()
        elif not self._in_message:
            self._patience.wait(Wait.IDLE, self._limits.idle)
        elif self._receiving is not None and b"expect" in dict(self.headers):
            self.transport.close()  # whether its body comes now, nobody can know
        else:
            self.flow.resume_reading()
            self._patience.wait(Wait.REST, self._limits.head)

    def send_continue(self) -> None:
        """Ask for a body that the client holds back."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the loop."""
        self.loop.call_soon(call)

    def send_answer(self, cycle: OnceCycle, answer: Answer) -> None:
        """Write an answer of the lane."""
        if self.transport.is_closing() or self._turns.running is not cycle:
            return
        if self._write(answer, last=not cycle.keep_alive or self._door.draining()):
            self._leave()
        else:
            self.on_response_complete()

    def _write(self, answer: Answer, *, last: bool) -> bool:
        """Write an answer; return whether it says that it is the connection's last."""
        said = b"\r\nconnection: close\r\n" in answer.head
        close = b"connection: close\r\n" if last and not said else b""
        defaults = b"".join(b"%b: %b\r\n" % told for told in self.server_state.default_headers)
        parts = (STATUS_LINE[answer.status], defaults, answer.head, close, b"\r\n", answer.body)
        self.transport.write(b"".join(parts))
        return last or said

    # Refusals, and the end.

    def _break(self, error: HttpError) -> NoReturn:
        """Stop the parser; `_broken` is next."""
        self._refusal = error
        raise error

    def _broken(self) -> None:
        """Refuse what cannot be read on, in its turn; nothing after it is listened to."""
        if self._deaf:
            return
        error = self._refusal or HttpError(400, "not a valid HTTP/1.1 request")
        receiving = self._receiving
        if receiving is None:
            self._deaf = True
            self._take_turn(error, partial(self._send_refusal, error))
        elif receiving.response_complete:
            self.transport.close()
        else:
            self._refuse_body(error)

    def _refuse_body(self, error: HttpError) -> None:
        """Let the request whose body comes in end with an error; both lanes word it."""
        self._deaf = True
        self._patience.rest()
        receiving = self._receiving
        if isinstance(receiving, OnceCycle):
            receiving.refuse(error)
        elif receiving is not None:
            receiving.scope[REFUSAL] = error
            receiving.more_body = False
            receiving.message_event.set()

    def _send_refusal(self, error: HttpError) -> None:
        answer = self._door.refuse(error, self.client[0] if self.client else "", self.url)
        self._write(answer, last=True)
        self._leave()

    def _leave(self) -> None:
        """Close after the last answer; a client that still sends gets the time to read it."""
        self._turns.drop()
        if self._in_message:
            self._deaf = True
            self.flow.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._patience.wait(Wait.REST, _LINGER_S)
        else:
            self.transport.close()

    def _hear_out(self, data: bytes) -> None:
        """Let pass what a refused client still sends, for a while."""
        self._fed += len(data)
        if self._fed > _LINGER_BYTES and self._patience.awaited is Wait.REST:
            self.transport.abort()

    # Clocks.

    def _late(self, awaited: Wait) -> None:
        limits = self._limits
        if awaited is Wait.HEAD:
            self._refusal = HttpError(408, f"headers took more than {limits.head:g} s")
            self._broken()
        elif awaited is Wait.BODY:
            self._body_late(self.loop.time() - self._began)
        else:
            self.transport.close()

    def _body_late(self, elapsed: float) -> None:
        limits = self._limits
        if elapsed >= limits.body_time:
            self._refuse_body(HttpError(408, f"request body took more than {limits.body_time:g} s"))
        elif self._body_bytes < limits.rate * (elapsed - _GRACE_S):
            words = f"request body came at less than {limits.rate} bytes a second"
            self._refuse_body(HttpError(408, words))
        else:
            self._patience.wait(Wait.BODY, min(1.0, limits.body_time - elapsed))

    def pause_writing(self) -> None:
        """Watch a client that does not keep up with what is written to it."""
        super().pause_writing()
        self._reading.begin()

    def resume_writing(self) -> None:
        """Go on with the requests that waited for the client to read."""
        super().resume_writing()
        self._turns.go_on()
