"""The HTTP/1.1 door: uvicorn's protocol, with the limits that no ASGI application can set.

A request that breaks HTTP, or is too large or too slow in its head, is answered here with the
same envelope as every other refusal, and its connection ends.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.answers import Answer, HttpError

# Requests that may wait on a connection behind the one that runs, before we read no further.
_PIPELINED = 8


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What the head of a request may take: bytes, headers, seconds.

    `stalled` is how many seconds a client may read nothing of what is written to it.
    """

    target: int
    header_bytes: int
    headers: int
    seconds: float
    stalled: float


Refuse = Callable[[HttpError, str], Answer]


class DoorProtocol(HttpToolsProtocol):
    """One connection. `refuse` makes the answer to a bad head, given the error and the client."""

    def __init__(self, *, limits: HeadLimits, refuse: Refuse, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._limits = limits
        self._refuse = refuse
        self._refusal: HttpError | None = None
        self._header_bytes = 0
        self._untold = 0
        self._in_head = True
        self._in_message = False
        self._cycles: list[RequestResponseCycle] = []
        self._unread = 0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock; tell every request that was not answered, not only the last."""
        self._head_came()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        super().connection_lost(exc)
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Start the clock for a following head with its first byte, then parse.

        The parser tells of a header, a chunk or a trailer when it is whole; until then it keeps
        the bytes, and joining them costs ever more. So what it has not told is bounded.
        """
        if self._answered() and not self._in_message and self._head_timer is None:
            self._expect_head()
        self._untold += len(data)
        super().data_received(data)
        limit = self._limits.header_bytes + self._limits.target
        if self._untold > limit and not self.transport.is_closing():
            self._refusal = HttpError(431, f"a header or chunk line is larger than {limit} bytes")
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._header_bytes, self._untold = 0, 0
        self._in_head = self._in_message = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Hold the target to its limit."""
        super().on_url(url)
        if len(self.url) > self._limits.target:
            self._break(
                HttpError(414, f"request target is longer than {self._limits.target} bytes")
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Hold the headers to their limits; drop trailers, which must not join them."""
        self._untold = 0
        if not self._in_head:
            return
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._limits.header_bytes:
            limit = self._limits.header_bytes
            self._break(HttpError(431, f"headers are larger than {limit} bytes"))
        if len(self.headers) > self._limits.headers:
            self._break(HttpError(431, f"more than {self._limits.headers} headers"))

    def on_headers_complete(self) -> None:
        """Stop the clock; whose the request is must be told exactly once."""
        self._head_came()
        self._in_head = False
        hosts = sum(1 for name, _ in self.headers if name == b"host")
        if hosts != 1 and self.parser.get_http_version() != "1.0":
            self._break(HttpError(400, "exactly one Host header is needed"))
        names = {name for name, _ in self.headers}
        if self.parser.should_upgrade() and names & {b"content-length", b"transfer-encoding"}:
            # The parser would take the body for the other protocol, or for the next request.
            self._break(HttpError(400, "Upgrade is not served for a request with a body"))
        super().on_headers_complete()
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        self._cycles.append(self.cycle)
        if 0 < len(self.pipeline) < _PIPELINED:
            self.flow.resume_reading()  # a client that goes away is only seen by reading on

    def on_chunk_header(self) -> None:
        """Note that the parser told of something."""
        self._untold = 0

    def on_body(self, body: bytes) -> None:
        """Note that the parser told of something."""
        self._untold = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is whole; whatever waited for the rest of it need not."""
        self._in_message = False
        self._head_came()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give the rest of a request that was answered early as much time as a head has."""
        super().on_response_complete()
        if self._in_message and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._limits.seconds, self.transport.close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's signature)
        """Answer a broken head with the envelope, and close."""
        self._head_came()
        current = self.cycle if self._in_message and not self._in_head else None
        waiting = [cycle for cycle in self._cycles if not cycle.response_complete]
        if any(cycle is not current or cycle.response_started for cycle in waiting):
            self.transport.close()  # an answer here would be taken for that of an earlier request
            return
        for cycle in waiting:
            cycle.disconnected = True
            cycle.message_event.set()
        error = self._refusal or HttpError(400, "not a valid HTTP/1.1 request")
        answer = self._refuse(error, self.client[0] if self.client else "")
        lines = [STATUS_LINE[answer.status]]
        lines += [b"%s: %s\r\n" % header for header in answer.headers]
        lines.append(b"content-length: %d\r\n\r\n" % len(answer.body))
        self.transport.write(b"".join([*lines, answer.body]))
        self.transport.close()

    def pause_writing(self) -> None:
        """Watch a client that does not keep up with what is written to it."""
        super().pause_writing()
        if self._stall_timer is None:
            self._unread = self.transport.get_write_buffer_size()
            self._stall_timer = self.loop.call_later(self._limits.stalled, self._look_at_writes)

    def _look_at_writes(self) -> None:
        """Cut a client that has read nothing since the last look; go on while there is a rest."""
        self._stall_timer = None
        unread = self.transport.get_write_buffer_size()
        if unread and unread >= self._unread:
            self.transport.abort()
        elif unread:
            self._unread = unread
            self._stall_timer = self.loop.call_later(self._limits.stalled, self._look_at_writes)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a request that offers another protocol is served in this one."""

    def _break(self, error: HttpError) -> None:
        """Stop the parser; uvicorn then asks for the refusal."""
        self._refusal = error
        raise error

    def _answered(self) -> bool:
        """Return whether a request was answered and no other has begun."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first, whatever it says
        return cycle is not None and cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.seconds, self._head_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        self._refusal = HttpError(408, f"headers took more than {self._limits.seconds:g} s")
        if not self.transport.is_closing():
            self.send_400_response("")
