"""The HTTP/1.1 door: uvicorn's protocol, with what no ASGI application can do.

Limits on what comes, by size and by time; one reading of every head; a pipeline answered in order,
one at a time; the once-lane. A refusal has the envelope that every other has.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway import head
from gateway.answers import HttpError
from gateway.asgi import asgi_scope
from gateway.clocks import Patience, Reading, Wait
from gateway.cycles import asgi_cycle
from gateway.door import GRACE_S, REFUSAL, Door, slow
from gateway.exchange import Exchange
from gateway.lane import OnceCycle
from gateway.turns import Turns
from schemas.errors import AseError

# How long a client that sends on, after it was refused, may take to read why.
_LINGER_S = 1.0
_LINGER_BYTES = 1 << 20

_LARGE = "headers are larger than %d bytes"


class DoorProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *, door: Door, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._door = door
        self._limits = door.limits
        self._refusal: HttpError | None = None
        self.url = b""
        self._in_head = self._in_message = self._deaf = self._leaving = False
        self._rewritten = b""
        self._header_bytes = self._untold = self._body_bytes = self._blank = self._heard_out = 0
        self._receiving: Any = None
        self._turns = Turns(self.loop, self._may_run, self._begun)
        self._began = 0.0
        self._patience = Patience(self.loop, self._late)

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head; one connection too many is told so."""
        super().connection_made(transport)
        self._reading = Reading(transport, self._limits.stalled)
        self._who = self.client[0] if self.client else ""
        self._exchange = Exchange(
            self._door,
            self.server_state,
            transport,
            self._turns,
            self._patience,
            self.tasks,
            self._who,
            self.on_response_complete,
            self._leave,
            self._may_run,
        )
        if len(self.connections) > self._limits.connections:
            self._deaf = True
            self._send_refusal(HttpError(503, "too many connections"))
        else:
            self._patience.wait(Wait.HEAD, self._limits.head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks; tell the request that runs."""
        self._stop()
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

    def eof_received(self) -> None:
        """Let the loop close a connection whose client sends no more, with what it is owed."""
        self._door.outbox.flush()

    def shutdown(self) -> None:
        """Leave: at once where nothing runs, else with the answer."""
        if not self._turns:
            self._close()
        elif self._turns.running is not None:
            self._turns.running.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Parse, and see afterwards what is awaited now.

        The parser tells of a header, a chunk or a trailer when it is whole; until then it keeps
        the bytes, and joining them costs ever more. So what it has not told is bounded.
        """
        if self._deaf:
            self._heard_out += len(data)
            if self._leaving and self._heard_out > _LINGER_BYTES:
                self.transport.abort()
            return
        try:
            if not self._in_message:
                if self._exchange.serve(data):
                    self._blank = 0
                    return
                data, self._blank = head.first_line(data, self._blank)
            self._untold += len(data)
            self._parse(data)
        except AseError as error:
            self._broken(error)
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
                    self._upgrade(data[pause.args[0] :])
                    return
                # It is served in this protocol. The parser thinks that another one begins here, and
                # would take the body for it: the request is read again, without its offer. A head
                # that asks for an upgrade even then is refused, since reading it again never ends.
                if not self._rewritten:
                    raise HttpError(400, "the request asks for a protocol that is not spoken")
                data = self._rewritten + data[pause.args[0] :]
                self._rewritten = b""
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _should_upgrade(self) -> bool:
        """Return whether a WebSocket is asked for, with nothing before it to be answered."""
        sockets = self._door.sockets
        if sockets is None or self._turns:
            return False
        return sockets.serves(self.parser.get_method(), self.url, self.headers)

    def _upgrade(self, rest: bytes) -> None:
        """Hand the connection over to a WebSocket; `rest` came behind the handshake."""
        self._door.outbox.flush()
        place = (self.transport, self._limits.stalled, self.server_state)
        assert self._door.sockets is not None  # noqa: S101 (`_should_upgrade` saw to it)
        self._door.sockets.open(self.scope, self.headers, self._who, rest, *place)
        self._stop()

    def _stop(self) -> None:
        self.connections.discard(self)
        self._patience.stop()
        self._reading.stop()
        self._deaf = True

    def _look(self) -> None:
        """Give a time to what is missing."""
        limits, awaited = self._limits, self._patience.awaited
        if self._in_head:
            if self._header_bytes + self._untold > limits.header_bytes + limits.target:
                self._broken(HttpError(431, _LARGE % limits.header_bytes))
            elif awaited is not Wait.HEAD:
                self._patience.wait(Wait.HEAD, limits.head)
        elif self._in_message:
            if self._untold > limits.header_bytes + limits.target:
                self._broken(HttpError(400, "a chunk's head or a trailer is too large"))
            elif self._receiving is self._turns.running and awaited is Wait.NOTHING:
                self._began = self.loop.time()
                self._patience.wait(Wait.BODY, min(GRACE_S, limits.body_time))

    def _begun(self) -> None:
        """Take in that a request which waited has its turn; its body may not be here yet."""
        if not self._turns.many:
            self.flow.resume_reading()
        if not self._deaf:
            self._look()

    # The parser.

    def on_message_begin(self) -> None:
        """Begin to count; what follows the last request of a connection is not read."""
        if self._deaf:
            raise HttpError(400, "nothing may follow")
        if self._turns.too_many:
            self._break(HttpError(400, "too many requests at once on one connection"))
        self._header_bytes = self._untold = self._body_bytes = self._blank = 0
        self._in_head = self._in_message = True
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        """Hold the target to its limit."""
        self.url += url
        if len(self.url) > self._limits.target:
            self._break(HttpError(414, f"target is longer than {self._limits.target} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is dropped, since it must not join them."""
        self._untold = 0
        if self._in_head:
            self.headers.append((name.lower(), value))
            self._header_bytes += len(name) + len(value) + 4
            if self._header_bytes > self._limits.header_bytes:
                self._break(HttpError(431, _LARGE % self._limits.header_bytes))

    def on_headers_complete(self) -> None:
        """Read the head, in the one way there is, and give the request its turn."""
        self._in_head = False
        self._patience.rest()
        parser = self.parser
        version = parser.get_http_version()
        try:
            told = head.check(self.headers, version, self._limits.headers)
            path, query = head.asked(parser.get_method(), self.url)
            head.check_upgrade(told, offered=parser.should_upgrade())
        except HttpError as error:
            self._break(error)
        method = parser.get_method()
        if parser.should_upgrade() and not self._should_upgrade():
            self._rewritten = head.without_offer(method, self.url, version, self.headers)
            return
        keep_alive = version != "1.0" and parser.should_keep_alive()
        expects = version != "1.0" and b"expect" in told
        once = self._exchange.once(method, path, told, keep_alive, expects)
        if once is not None:
            self._receiving = once
            self._take_turn(once, once.start)
            return
        self.scope = asgi_scope(
            method,
            path,
            query,
            version=version,
            raw_path=self.url.partition(b"?")[0],
            headers=self.headers,
            client=self.client,
            server=self.server,
            scheme=self.scheme or "http",
            state=self.app_state.copy(),
        )
        if parser.should_upgrade():  # to a WebSocket, when the parser stops
            return
        cycle = asgi_cycle(self, self._door.outbox, expects=expects, keep_alive=keep_alive)
        self._receiving = self.cycle = cycle
        self._take_turn(cycle, partial(self._start_asgi_task, cycle, self.app))

    def on_chunk_header(self) -> None:
        """Note that the parser told of something."""
        self._untold = 0

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, up to the limit."""
        self._untold = 0
        self._body_bytes += len(body)
        receiving = self._receiving
        if self._deaf or receiving is None or receiving.response_complete:
            return
        if self._body_bytes > self._limits.body:
            self._refuse_body(HttpError(413, f"body is larger than {self._limits.body} bytes"))
        elif isinstance(receiving, OnceCycle):
            receiving.take(body)
            if self._body_bytes > HIGH_WATER_LIMIT and receiving is not self._turns.running:
                self.flow.pause_reading()
        else:
            receiving.body += body
            if len(receiving.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            receiving.message_event.set()

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._in_message = bool(self._rewritten)  # then it will be, when it is read again
        if self._leaving:
            self._close()
        if self._deaf or self._in_message:
            return
        receiving, self._receiving = self._receiving, None
        self._deaf = receiving is not None and not receiving.keep_alive
        self._patience.rest()
        if receiving is None or receiving.response_complete:
            if not self._turns:
                self._patience.wait(Wait.IDLE, self._limits.idle)
        elif isinstance(receiving, OnceCycle):
            receiving.end_body()
        else:
            receiving.more_body = False
            receiving.message_event.set()

    # Turns: one request at a time, in the order they came.

    def _may_run(self) -> bool:
        return not self.flow.write_paused and not self.transport.is_closing()

    def _take_turn(self, cycle: Any, start: Callable[[], None]) -> None:
        self._turns.take(cycle, start)
        if self._turns.many:
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        """Give the next request its turn; wait for one, or for the rest of this one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._turns.drop()
            self._reading.begin()
            return
        self._turns.over()
        if self._turns:
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if not self._in_message:
            self._patience.wait(Wait.IDLE, self._limits.idle)
        elif self._receiving is None:
            self._patience.wait(Wait.HEAD, self._limits.head)
        elif b"expect" in dict(self.headers):
            self._close()  # whether its body comes now, nobody can know
        else:
            self._patience.wait(Wait.REST, self._limits.head)

    # Refusals, and the end.

    def _break(self, error: HttpError) -> NoReturn:
        """Stop the parser; `_broken` is next."""
        self._refusal = error
        raise error

    def _broken(self, refusal: AseError | None = None) -> None:
        """Refuse what cannot be read on, in its turn; nothing after it is listened to."""
        if self._deaf:
            return
        error = refusal or self._refusal or HttpError(400, "not a valid HTTP/1.1 request")
        receiving = self._receiving
        if receiving is None:
            self._deaf = True
            self._take_turn(error, partial(self._send_refusal, error))
        else:
            self._refuse_body(error)

    def _refuse_body(self, error: AseError) -> None:
        """Let the request whose body comes in end with an error; both lanes word it."""
        self._deaf = True
        self._patience.rest()
        receiving = self._receiving
        if receiving.response_complete:
            self._leave()
        elif isinstance(receiving, OnceCycle):
            receiving.refuse(error)
        else:
            receiving.keep_alive = False
            receiving.scope[REFUSAL] = error
            receiving.more_body = False
            receiving.message_event.set()

    def _send_refusal(self, error: AseError) -> None:
        answer = self._door.refuse(error, self._who, self.url)
        self._exchange.write(answer, True)
        self._leave()

    def _leave(self) -> None:
        """Close after the last answer; a client that still sends gets the time to read it."""
        self._turns.drop()
        self._deaf = True
        self._door.outbox.flush()
        if not self._in_message:
            self._close()
            return
        self._leaving = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._patience.wait(Wait.REST, _LINGER_S)

    def _close(self) -> None:
        self._door.outbox.flush()
        if self.transport.is_closing():
            return
        self.transport.close()
        self._reading.begin()  # what is written is not kept for ever for one who does not read

    # Clocks.

    def _late(self, awaited: Wait) -> None:
        limits = self._limits
        if self.flow.read_paused and not self._leaving:
            self._patience.wait(awaited, limits.head)  # it is we who do not listen
        elif awaited is Wait.HEAD:
            self._broken(HttpError(408, f"headers took more than {limits.head:g} s"))
        elif awaited is Wait.BODY:
            elapsed = self.loop.time() - self._began
            error = slow(limits, elapsed, self._body_bytes)
            if error is not None:
                self._refuse_body(error)
            else:
                self._patience.wait(Wait.BODY, min(1.0, limits.body_time - elapsed))
        else:
            self._close()

    def pause_writing(self) -> None:
        """Watch a client that does not keep up with what is written to it."""
        super().pause_writing()
        self._reading.begin()

    def resume_writing(self) -> None:
        """Go on with the requests that waited for the client to read."""
        super().resume_writing()
        self._reading.stop()
        self._turns.resumed()
