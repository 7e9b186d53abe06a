"""The once-lane: once-routes served from the connection, without an ASGI cycle.

It drives the same steps as the Starlette route, and its answers are the same bytes.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from config.options import SessionOptions
from gateway.access import AccessLog
from gateway.answers import Answer
from gateway.closing import cut
from gateway.course import Course
from gateway.events import Events, Sink, Told
from gateway.heads import Heads, Key
from gateway.metrics import Metrics
from gateway.once import serve_once
from gateway.parts import Parts
from gateway.record import Record
from gateway.sessions import Sessions
from schemas.errors import CLIENT_GONE, AseError

PREFIX: Final = "/v1/private/"


class Asked:
    """What the head of a once-request says; `headers` have lower-case names.

    `expects`: the client holds its body back until it is asked for.
    """

    __slots__ = ("expects", "headers", "keep_alive", "path", "service")

    def __init__(
        self,
        service: str,
        path: str,
        headers: Mapping[bytes, bytes],
        keep_alive: bool,
        expects: bool,
    ) -> None:
        self.service = service
        self.path = path
        self.headers = headers
        self.keep_alive = keep_alive
        self.expects = expects

    def repeats(self) -> bool:
        """Return whether another request on the connection may say the same, but for its length."""
        framed = b"content-length" in self.headers and b"transfer-encoding" not in self.headers
        return framed and self.keep_alive and not self.expects

    def only(self, names: Collection[bytes]) -> "Asked":
        """Return the same with the headers of those names alone."""
        headers = {name: self.headers[name] for name in names if name in self.headers}
        return Asked(self.service, self.path, headers, self.keep_alive, self.expects)


class Lane:
    """What all requests of a gateway share; `heads` are those of once-requests that came again."""

    __slots__ = ("_options", "_read", "heads", "log", "metrics", "parts", "sessions")

    def __init__(
        self,
        parts: Parts,
        metrics: Metrics,
        log: AccessLog,
        sessions: Sessions,
        options: SessionOptions,
    ) -> None:
        self._options = options
        self.parts = parts
        self.sessions = sessions
        self.metrics = metrics
        self.log = log
        consumer = parts.options.consumer_header
        self.heads: Heads[Asked] = Heads(consumer)
        # What the steps read of a head, but for the length, which is judged where it comes again.
        self._read = (b"content-type", b"content-encoding", b"accept", consumer.lower().encode())

    def learn(self, key: Key, asked: Asked) -> None:
        """Remember what a head says."""
        if asked.repeats():
            self.heads.learn(key, asked.only(self._read))

    def events(self, asked: Told, sink: Sink) -> Events:
        """Return the events that answer a request."""
        later = asyncio.get_running_loop().call_later
        return Events(asked, self.parts, self.sessions, self._options, sink, later)

    def record(self, method: str, path: str, client: str) -> Record:
        """Return the record of a request that is accepted now."""
        return Record(self.parts.new_id(), self.parts.clock(), method, path, client)

    def note(self, record: Record) -> None:
        """Count and log a request that was answered."""
        self.metrics.answered(record)
        self.log.write(record)


def asked_service(method: bytes, path: str) -> str:
    """Return the service that a once-request asks; "" for any other request."""
    if method == b"POST" and path.startswith(PREFIX):
        service = path[len(PREFIX) :]
        return "" if "/" in service else service
    return ""


class Door(Protocol):
    """The connection that a request came on."""

    def send_continue(self) -> None:
        """Ask the client for the body it holds back."""

    def send_answer(self, cycle: "OnceCycle", answer: Answer) -> None:
        """Write the answer; the next request may have its turn."""

    def may_write(self) -> bool:
        """Return whether the client keeps up."""

    def send_head(self, cycle: "OnceCycle", head: bytes) -> None:
        """Write the head of an answer that comes in parts."""

    def send_part(self, data: bytes) -> None:
        """Write a part."""

    def send_end(self, cycle: "OnceCycle") -> None:
        """Write its end; the next request may have its turn."""


class OnceCycle(Course):
    """One request of the lane and its answer. `running` holds those that the drain waits for."""

    __slots__ = (
        "_asked", "_client", "_door", "_lane", "_pieces", "_record", "_running", "_whole",
        "keep_alive", "refusal", "response_complete",
    )  # fmt: skip

    def __init__(
        self, lane: Lane, door: Door, running: set["OnceCycle"], asked: Asked, client: str
    ) -> None:
        super().__init__(lane.events)
        self.response_complete = self._whole = False
        self.refusal: AseError | None = None
        self._lane = lane
        self._door = door
        self._running = running
        self._asked = asked
        self._client = client
        self._pieces: list[bytes] = []
        self.keep_alive = asked.keep_alive

    def start(self) -> None:
        """Begin: its turn has come."""
        lane, asked, parts = self._lane, self._asked, self._lane.parts
        self._record = record = lane.record("POST", asked.path, self._client)
        lane.metrics.inflight += 1
        self._running.add(self)
        self.begin(serve_once(asked.service, asked.headers, record, parts), parts)
        if self.refusal is not None:
            self.fail(self.refusal)
        elif self._whole:
            self.end_body()
        elif asked.expects and not self.finished:
            self._door.send_continue()

    def take(self, data: bytes) -> None:
        """Take in a piece of the body."""
        if not self.finished:
            self._pieces.append(data)

    def end_body(self) -> None:
        """Take in that the body is whole."""
        self._whole = True
        if self in self._running:
            pieces, self._pieces = self._pieces, []
            self.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def refuse(self, error: AseError) -> None:
        """Take in that the rest of the body cannot be had; said when it is the request's turn."""
        if self in self._running:
            self.fail(error)
        else:
            self.refusal = error

    def gone(self) -> None:
        """Take in that the client went away."""
        self.fail(AseError(CLIENT_GONE))

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 (as of a task, which the drain cancels)
        """End now: the drain's time is over."""
        asyncio.get_running_loop().call_soon(self._cut)

    def _cut(self) -> None:
        self.fail(cut())

    def answered(self, answer: Answer) -> None:
        """Send the answer, and note the request."""
        self._done()
        self._lane.note(self._record)
        self._door.send_answer(self, answer)

    def _done(self) -> None:
        self._running.discard(self)
        self._lane.metrics.inflight -= 1
        self.response_complete = True

    # An answer in parts (gateway.events.Sink).

    def sink(self) -> Sink:
        """Return itself: what is written goes out by the connection."""
        return self

    def writable(self) -> bool:
        """Return whether the client keeps up."""
        return self._door.may_write()

    def resumed(self) -> None:
        """Take in that the client reads again."""
        if self.events is not None:
            self.events.resumed()

    def begin_events(self, head: bytes) -> None:
        """Write the head."""
        self._door.send_head(self, head)

    def write(self, data: bytes) -> None:
        """Write a part."""
        self._door.send_part(data)

    def end(self) -> None:
        """Write the end."""
        self.told()
        self._done()
        self._door.send_end(self)
