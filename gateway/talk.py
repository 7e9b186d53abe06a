"""The sessions of one WebSocket: one, or with `stream_mode=multiplex` several, told by `cid`."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from config.options import SessionOptions
from gateway import body, closing, identity, messages
from gateway.contracts import Contract
from gateway.frames import Frames
from gateway.lane import Lane
from gateway.once import served
from gateway.session import Session
from schemas.errors import BAD_REQUEST, INTERNAL, SESSION_READ_TIMEOUT, AseError
from schemas.session import SessionEvent, SessionState, frame_event

_CID: Final = 64
_REMEMBERED: Final = 64
_EACH: Final = 128  # bytes that a message takes beside its own


class Socket(Protocol):
    """The WebSocket itself."""

    def writable(self) -> bool:
        """Return whether the client keeps up with what is written to it."""

    def send(self, message: bytes, *, binary: bool) -> None:
        """Send a message."""

    def close(self, code: int, reason: str) -> None:
        """Close it; nothing is sent or taken any more."""

    def pause(self) -> None:
        """Read no more."""

    def resume(self) -> None:
        """Read on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the handshake says; `contract` is of the service at its path."""

    contract: Contract
    path: str
    client: str
    headers: Mapping[bytes, bytes]
    multiplex: bool
    binary: bool


class Talk:
    """What passes on one socket. `later(s, call)` calls after so many seconds.

    A socket of one session holds its client back while the loader is behind, or while the client
    itself reads nothing: a few bytes are still read, so that pings and a close are seen. Of
    several, the session whose loader is behind ends; errors that nobody reads stop the reading.
    """

    def __init__(
        self,
        lane: Lane,
        options: SessionOptions,
        asked: Asked,
        socket: Socket,
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._lane = lane
        self._options = options
        self._asked = asked
        self._socket = socket
        self._later = later
        self._sessions: dict[str, Session] = {}
        self._ended: dict[str, None] = {}  # their clients were told, and may still send
        self._backlog: deque[tuple[bytes, bool]] = deque()
        self._behind = 0  # bytes of it
        self._held = self._draining = self._over = False
        first = asked.contract.service.read_timeout or options.read_timeout
        self._idle = options.idle if asked.multiplex else first
        self._timer = later(self._idle, self._lonely)

    def message(self, message: bytes, binary: bool, /) -> None:
        """Take a message of the client."""
        if self._over:
            return
        if self._held or self._backlog or not (self._asked.multiplex or self._socket.writable()):
            self._backlog.append((message, binary))
            self._behind += len(message) + _EACH
            if self._behind > self._options.max_frame:
                self._socket.pause()
        else:
            self._hear(message, binary)

    def _hear(self, message: bytes, binary: bool, /) -> None:
        cid = ""
        try:
            if binary and not self._asked.binary:
                self.end(closing.UNSUPPORTED, f"binary messages need {messages.BINARY}")
                return
            if not (binary or message.isascii() or messages.is_text(message)):
                self.end(closing.NOT_UTF8, "a text message is UTF-8")
                return
            cid = self._take(message, binary)
        except AseError as error:
            self._refuse(cid, error)
        except Exception as fault:  # noqa: BLE001 (it is told, with its traceback)
            self._lane.parts.on_fault(self._asked.path, fault)
            self._refuse(cid, AseError(INTERNAL))

    def broken(self, reason: str) -> None:
        """Take in that the client does not speak WebSocket as it should; it was told so."""
        self._fail_all(AseError(BAD_REQUEST, reason))

    def gone(self) -> None:
        """Take in that the client went away."""
        self._all(SessionEvent.CLIENT_GONE)
        self._stop()

    def drain(self) -> None:
        """Leave, each session after its next result."""
        self._draining = True
        self._all(SessionEvent.DRAIN)
        if not self._sessions:
            self.end(closing.AWAY, "the gateway stops")

    def cut(self) -> None:
        """Leave now."""
        self._draining = True
        self._all(SessionEvent.DRAIN_TIMEOUT)
        self.end(closing.AWAY, "the gateway stops")

    def resumed(self) -> None:
        """Go on: the client reads again."""
        for session in list(self._sessions.values()):
            session.pump()
        self._catch_up()

    def end(self, code: int, reason: str) -> None:
        """Close the socket."""
        if not self._over:
            self._stop()
            self._fail_all(AseError(BAD_REQUEST, reason))
            self._socket.close(code, reason)

    # What the sessions say (gateway.session.Client).

    def ready(self) -> bool:
        """Return whether the client reads."""
        return self._socket.writable()

    def tell(self, session: Session, payload: bytes, status: int) -> None:
        """Send a result."""
        message = messages.result(session.record.sid, session.name, payload, status)
        binary = self._asked.binary
        self._socket.send(messages.binary(message) if binary else message, binary=binary)

    def failed(self, session: Session, error: AseError) -> None:
        """Send an error."""
        self._send_error(session.record.sid, session.name, error)

    def over(self, session: Session, event: SessionEvent) -> None:
        """Forget a session; a socket that was there for it alone closes."""
        if self._sessions.get(session.name) is session:
            del self._sessions[session.name]
            self._remember(session.name)
        self._lane.sessions.ended(session, event)
        if self._over:
            return
        if not self._asked.multiplex:
            self.end(*closing.close_of(event, session.error))
        elif not self._sessions:
            if self._draining:
                self.end(closing.AWAY, "the gateway stops")
            else:
                self._timer.cancel()
                self._timer = self._later(self._idle, self._lonely)

    def hold(self, session: Session) -> None:  # noqa: ARG002 (a socket of one session has that one)
        """Hold the client back, where it is alone on the socket."""
        self._held = not self._asked.multiplex

    def room(self, session: Session) -> None:  # noqa: ARG002
        """Go on with what was held back."""
        if self._held:
            self._held = False
            self._catch_up()

    def _catch_up(self) -> None:
        """Take what had to wait, and read on."""
        while self._backlog and not self._held and not self._over and self._socket.writable():
            message, binary = self._backlog.popleft()
            self._behind -= len(message) + _EACH
            self._hear(message, binary)
        if not self._backlog and not self._held and not self._over:
            self._behind = 0
            self._socket.resume()

    # A message.

    def _take(self, message: bytes, binary: bool, /) -> str:
        options = self._lane.parts.options
        head, tail = messages.split(message) if binary else (message, b"")
        told = body.parse(head, options.max_depth, options.max_nodes)
        header = told.get("header")
        cid = self._cid(header)
        session = self._sessions.get(cid)
        try:
            if session is None:
                if cid in self._ended and not _begins(header):
                    return cid
                session = self._begin(cid, told, header)
            elif session.full:
                session.overflow()
                return cid
            elif isinstance(header, dict) and ("app_id" in header or "appid" in header):
                identity.check_app_id(told, self._asked.headers, options.consumer_header)
            if session.contract.judge.max_values < options.max_nodes:
                body.count(head, session.contract.judge.max_values)
            if binary:
                messages.join(told, tail, session.contract.service)
        except AseError as error:
            if session is not None:
                session.fail(error)
            else:
                self._refuse(cid, error)
            return cid
        affinity = session.contract.affinity
        key = identity.key(told, affinity) if affinity and session.state is SessionState.NEW else ""
        session.take(told, body.is_ascii(head), key)
        return cid

    def _cid(self, header: object) -> str:
        if not self._asked.multiplex:
            return ""
        cid = header.get("cid") if isinstance(header, dict) else None
        if type(cid) is not str or not 0 < len(cid) <= _CID:
            words = f"$.header.cid: must be a text of 1 to {_CID} characters, the session's own"
            raise AseError(BAD_REQUEST, words)
        return cid

    def _begin(self, cid: str, told: dict[str, Any], header: object) -> Session:
        """Return a new session for a first frame. Raises AseError."""
        lane, options, asked = self._lane, self._options, self._asked
        if asked.multiplex:
            if not _begins(header):
                raise AseError(
                    BAD_REQUEST, "$.header.cid: no such session; it begins with status 0"
                )
            if len(self._sessions) >= options.most:
                raise AseError(BAD_REQUEST, f"more than {options.most} sessions on one socket")
            if self._draining:
                raise AseError(BAD_REQUEST, "the gateway stops; begin it elsewhere")
        self._ended.pop(cid, None)
        parts = lane.parts
        identity.check_app_id(told, asked.headers, parts.options.consumer_header)
        record = lane.record("GET", asked.path, asked.client)
        record.service = asked.contract.service.id
        # The socket may be older than the contract.
        found = parts.catalog.find(asked.contract.service.id) or asked.contract
        contract, facts = served(found, told, record, parts)
        service = contract.service
        self._timer.cancel()
        session = self._sessions[cid] = Session(
            contract,
            record,
            parts,
            self,
            Frames(contract, facts, options),
            self._later,
            silence=service.read_timeout or options.read_timeout,
            lifetime=service.deadline or options.lifetime,
            queue=options.queue,
            name=cid,
        )
        lane.sessions.began(session)
        return session

    # The end, and errors that are no session's.

    def _refuse(self, cid: str, error: AseError) -> None:
        """Tell an error of a message that found no session; alone on the socket, it ends it."""
        session = self._sessions.get(cid)
        if session is not None:
            session.fail(error)
            return
        self._send_error(self._lane.parts.new_id(), cid, error)
        self._remember(cid)
        if not self._asked.multiplex:
            self.end(closing.code_of(error), closing.reason(str(error)))

    def _remember(self, cid: str) -> None:
        """Note a session that ended, or was refused: what was sent for it meanwhile is dropped."""
        self._ended[cid] = None
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _send_error(self, sid: str, cid: str, error: AseError) -> None:
        message = messages.failure(sid, cid, error)
        binary = self._asked.binary
        self._socket.send(messages.binary(message) if binary else message, binary=binary)
        if self._asked.multiplex and not self._socket.writable():
            self._behind += len(message) + _EACH
            if self._behind > self._options.max_frame:
                self._socket.pause()

    def _lonely(self) -> None:
        """End a socket that has no session, and had none for too long."""
        if not self._sessions and not self._over:
            self._refuse("", AseError(SESSION_READ_TIMEOUT))
            self.end(closing.TIME_OUT, SESSION_READ_TIMEOUT.message)

    def _all(self, event: SessionEvent) -> None:
        for session in list(self._sessions.values()):
            session.happen(event)

    def _fail_all(self, error: AseError) -> None:
        for session in list(self._sessions.values()):
            session.fail(error)

    def _stop(self) -> None:
        self._over = True
        self._timer.cancel()
        self._backlog.clear()


def _begins(header: object) -> bool:
    """Return whether a frame begins a session."""
    status = header.get("status") if isinstance(header, dict) else None
    return frame_event(status, first=True) in (SessionEvent.BEGIN, SessionEvent.ONCE)
