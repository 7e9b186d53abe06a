"""A session of one request whose results are server-sent events.

`result` with its number, then `end` with the status, or `error` once it has begun; before that an
error is an HTTP answer as any other. Source: WHATWG HTML, "Server-sent events".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from config.options import SessionOptions
from gateway import messages
from gateway.contracts import Contract
from gateway.frames import Frames
from gateway.parts import Parts
from gateway.record import Record
from gateway.session import Session
from gateway.sessions import Sessions
from schemas.errors import CLIENT_GONE, AseError
from schemas.service import Service, member_schema
from schemas.session import FrameStatus, SessionEvent

_TYPE: Final = "text/event-stream"
_OK: Final = 200
_HEAD: Final = (
    "content-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
    "x-ase-request-id: %s\r\nx-ase-instance: %s\r\nx-ase-attempts: %d\r\n"
)
_ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")
_COMMENT: Final = b": still here\n\n"


def wanted(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request's head asks for events."""
    return _TYPE in headers.get(b"accept", b"").decode("latin-1").lower()


def take_flag(told: dict[str, Any], service: Service) -> bool:
    """Return whether an envelope asks for events by `header.stream`, which is taken out of it.

    Where the service's own schema has a `header.stream`, it is the service's.
    """
    header = told.get("header")
    if isinstance(header, dict) and type(header.get("stream")) is bool:
        if member_schema(service.input, "header", "stream") is not None:
            return False
        flag: bool = header.pop("stream")
        return flag
    return False


class Sink(Protocol):
    """Where the events go: an HTTP answer."""

    def writable(self) -> bool:
        """Return whether the client keeps up; `Events.resumed` is called when it does again."""

    def refused(self, error: AseError) -> None:
        """Answer with an error; nothing was written before."""

    def begin_events(self, head: bytes) -> None:
        """Write the head of the answer."""

    def write(self, data: bytes) -> None:
        """Write a part of its body."""

    def end(self) -> None:
        """End its body."""


class Told:
    """A request for events, read: of which contract, the envelope, what the gateway adds to it."""

    __slots__ = ("ascii_only", "contract", "facts", "key", "record", "told")

    def __init__(
        self,
        contract: Contract,
        told: dict[str, Any],
        facts: dict[str, str],
        key: str,
        ascii_only: bool,
        record: Record,
    ) -> None:
        self.contract = contract
        self.told = told
        self.facts = facts
        self.key = key
        self.ascii_only = ascii_only
        self.record = record


class Events:
    """The events of one request. `later(s, call)` calls after so many seconds."""

    def __init__(
        self,
        asked: Told,
        parts: Parts,
        sessions: Sessions,
        options: SessionOptions,
        sink: Sink,
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.begun = False
        self._asked = asked
        self._sessions = sessions
        self._options = options
        self._sink = sink
        self._later = later
        self._number = 0
        service = asked.contract.service
        self._session = Session(
            asked.contract,
            asked.record,
            parts,
            self,
            Frames(asked.contract, asked.facts, options, only=True),
            later,
            silence=options.lifetime,
            lifetime=service.deadline or options.lifetime,
            queue=options.queue,
        )
        self._timer = later(options.keep_alive, self._still)

    def start(self) -> None:
        """Begin: the request is its only frame."""
        asked = self._asked
        self._sessions.began(self._session)
        self._session.take(asked.told, asked.ascii_only, asked.key)

    def cancel(self) -> None:
        """Take in that the client is gone."""
        self._session.happen(SessionEvent.CLIENT_GONE)

    def fail(self, error: AseError) -> None:
        """End with an error."""
        if error.spec is CLIENT_GONE:
            self.cancel()
        else:
            self._session.fail(error)

    def resumed(self) -> None:
        """Go on: the client reads again."""
        self._session.pump()

    # What the session says (gateway.session.Client).

    def ready(self) -> bool:
        """Return whether the client reads."""
        return self._sink.writable()

    def tell(self, session: Session, payload: bytes, status: int) -> None:
        """Write a result, or the end, or both."""
        sid = session.record.sid
        last = status >= FrameStatus.END
        if payload != b"{}":
            told = messages.result(sid, "", payload, FrameStatus.CONTINUE if last else status)
            if b"\n" in told or b"\r" in told:  # of embedded JSON, where they are white space
                told = told.translate(_ONE_LINE)
            self._number += 1
            self._write(b"event: result\nid: %d\ndata: %b\n\n" % (self._number, told))
        if last:
            told = messages.result(sid, "", b"{}", status)
            self._write(b"event: end\ndata: %b\n\n" % told)

    def failed(self, session: Session, error: AseError) -> None:
        """Write an error, or answer with it."""
        if self.begun:
            told = messages.failure(session.record.sid, "", error)
            self._write(b"event: error\ndata: %b\n\n" % told)

    def over(self, session: Session, event: SessionEvent) -> None:
        """End the answer."""
        self._timer.cancel()
        self._sessions.ended(session, event, _OK, log=self.begun)
        if self.begun:
            self._sink.end()
        else:
            self._sink.refused(session.error or AseError(CLIENT_GONE))

    def hold(self, session: Session) -> None:
        """Do nothing: there is no other frame."""

    def room(self, session: Session) -> None:
        """Do nothing."""

    def _write(self, data: bytes) -> None:
        if not self.begun:
            self.begun = True
            record = self._session.record
            head = _HEAD % (record.sid, record.instance, record.attempts)
            self._sink.begin_events(head.encode())
        self._sink.write(data)

    def _still(self) -> None:
        """Let the client, and proxies before us, see that it goes on."""
        self._timer = self._later(self._options.keep_alive, self._still)
        if self._sink.writable():
            self._write(_COMMENT)
