"""The sessions of one WebSocket: one, or with `stream_mode=multiplex` several, told by `cid`."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from config.options import SessionOptions
from gateway.context import GatewayContext
from gateway.request import checks, json_body
from gateway.request.resolve import resolve_contract
from gateway.services.catalog import Contract
from gateway.streaming import close_codes, messages
from gateway.streaming.envelopes import EnvelopeReader
from gateway.streaming.session import Session
from gateway.telemetry.session_metrics import SessionMetrics
from schemas.model.errors import BAD_REQUEST, INTERNAL, SESSION_READ_TIMEOUT, AseError
from schemas.model.session import SessionEvent, SessionState, frame_event

_MAX_CID_LENGTH: Final = 64
_MAX_CLOSED_CIDS: Final = 64
_MESSAGE_OVERHEAD_BYTES: Final = 128  # bytes that a message takes beside its own


class WebSocketTransport(Protocol):
    """The WebSocket itself."""

    def writable(self) -> bool:
        """Return whether the client keeps up with what is written to it."""

    def send(self, message: bytes, *, binary: bool) -> None:
        """Send a message."""

    def close(self, code: int, reason: str) -> None:
        """Close it; nothing is sent or taken any more."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Read on."""


@dataclass(frozen=True, slots=True)
class WebSocketHandshake:
    """What the handshake says; `contract` is of the service at its path."""

    contract: Contract
    path: str
    client_ip: str
    headers: Mapping[bytes, bytes]
    multiplex: bool
    binary: bool


class SessionMultiplexer:
    """What passes on one socket. `later(s, call)` calls after so many seconds.

    A socket of one session holds its client back while the loader is behind, or while the client
    itself reads nothing: a few bytes are still read, so that pings and a close are seen. Of
    several, the session whose loader is behind ends; errors that nobody reads stop the reading.
    """

    def __init__(
        self,
        context: GatewayContext,
        session_metrics: SessionMetrics,
        options: SessionOptions,
        handshake: WebSocketHandshake,
        transport: WebSocketTransport,
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._context = context
        self._session_metrics = session_metrics
        self._options = options
        self._handshake = handshake
        self._transport = transport
        self._call_later = call_later
        self._sessions: dict[str, Session] = {}
        self._closed_cids: dict[str, None] = {}  # their clients were told, and may still send
        self._backlog: deque[tuple[bytes, bool]] = deque()
        self._backlog_bytes = 0  # bytes of it
        self._reading_paused = self._draining = self._closed = False
        first_frame_timeout = handshake.contract.service.read_timeout or options.read_timeout
        self._idle_timeout = options.idle if handshake.multiplex else first_frame_timeout
        self._timer = call_later(self._idle_timeout, self._on_idle_timeout)

    def receive_message(self, message: bytes, binary: bool, /) -> None:
        """Take a message of the client."""
        if self._closed:
            return
        if (
            self._reading_paused
            or self._backlog
            or not (self._handshake.multiplex or self._transport.writable())
        ):
            self._backlog.append((message, binary))
            self._backlog_bytes += len(message) + _MESSAGE_OVERHEAD_BYTES
            if self._backlog_bytes > self._options.max_frame:
                self._transport.pause_reading()
        else:
            self._handle_message(message, binary)

    def _handle_message(self, message: bytes, binary: bool, /) -> None:
        cid = ""
        try:
            if binary and not self._handshake.binary:
                self.close(
                    close_codes.UNSUPPORTED_DATA,
                    f"binary messages need {messages.BINARY_SUBPROTOCOL}",
                )
                return
            if not (binary or message.isascii() or messages.is_utf8(message)):
                self.close(close_codes.INVALID_PAYLOAD, "a text message is UTF-8")
                return
            cid = self._dispatch(message, binary)
        except AseError as error:
            self._reject(cid, error)
        except Exception as exception:  # noqa: BLE001 (it is told, with its traceback)
            self._context.dependencies.on_internal_error(self._handshake.path, exception)
            self._reject(cid, AseError(INTERNAL))

    def on_protocol_error(self, reason: str) -> None:
        """Take in that the client does not speak WebSocket as it should; it was told so."""
        self._fail_sessions(AseError(BAD_REQUEST, reason))

    def on_disconnect(self) -> None:
        """Take in that the client went away."""
        self._notify_sessions(SessionEvent.CLIENT_GONE)
        self._stop()

    def drain(self) -> None:
        """Leave, each session after its next result."""
        self._draining = True
        self._notify_sessions(SessionEvent.DRAIN)
        if not self._sessions:
            self.close(close_codes.GOING_AWAY, "the gateway stops")

    def abort(self) -> None:
        """Leave now."""
        self._draining = True
        self._notify_sessions(SessionEvent.DRAIN_TIMEOUT)
        self.close(close_codes.GOING_AWAY, "the gateway stops")

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        for session in list(self._sessions.values()):
            session.transfer()
        self._process_backlog()

    def close(self, code: int, reason: str) -> None:
        """Close the socket."""
        if not self._closed:
            self._stop()
            self._fail_sessions(AseError(BAD_REQUEST, reason))
            self._transport.close(code, reason)

    # What the sessions say (gateway.streaming.session.Client).

    def writable(self) -> bool:
        """Return whether the client reads."""
        return self._transport.writable()

    def send_result(self, session: Session, payload: bytes, status: int) -> None:
        """Send a result."""
        message = messages.encode_result(session.record.sid, session.cid, payload, status)
        binary = self._handshake.binary
        self._transport.send(messages.to_binary(message) if binary else message, binary=binary)

    def send_error(self, session: Session, error: AseError) -> None:
        """Send an error."""
        self._send_error_message(session.record.sid, session.cid, error)

    def on_closed(self, session: Session, event: SessionEvent) -> None:
        """Forget a session; a socket that was there for it alone closes."""
        if self._sessions.get(session.cid) is session:
            del self._sessions[session.cid]
            self._remember_closed(session.cid)
        self._session_metrics.session_ended(session, event)
        if self._closed:
            return
        if not self._handshake.multiplex:
            self.close(*close_codes.close_code_and_reason(event, session.error))
        elif not self._sessions:
            if self._draining:
                self.close(close_codes.GOING_AWAY, "the gateway stops")
            else:
                self._timer.cancel()
                self._timer = self._call_later(self._idle_timeout, self._on_idle_timeout)

    def pause_reading(self, session: Session) -> None:  # noqa: ARG002 (a socket of one session has that one)
        """Hold the client back, where it is alone on the socket."""
        self._reading_paused = not self._handshake.multiplex

    def resume_reading(self, session: Session) -> None:  # noqa: ARG002
        """Go on with what was held back."""
        if self._reading_paused:
            self._reading_paused = False
            self._process_backlog()

    def _process_backlog(self) -> None:
        """Take what had to wait, and read on."""
        while (
            self._backlog
            and not self._reading_paused
            and not self._closed
            and self._transport.writable()
        ):
            message, binary = self._backlog.popleft()
            self._backlog_bytes -= len(message) + _MESSAGE_OVERHEAD_BYTES
            self._handle_message(message, binary)
        if not self._backlog and not self._reading_paused and not self._closed:
            self._backlog_bytes = 0
            self._transport.resume_reading()

    # A message.

    def _dispatch(self, message: bytes, binary: bool, /) -> str:
        options = self._context.dependencies.options
        head, tail = messages.split_binary(message) if binary else (message, b"")
        envelope = json_body.parse(head, options.max_depth, options.max_nodes)
        header = envelope.get("header")
        cid = self._parse_cid(header)
        session = self._sessions.get(cid)
        try:
            if session is None:
                if cid in self._closed_cids and not _starts_session(header):
                    return cid
                session = self._start_session(cid, envelope, header)
            elif session.queue_full:
                session.fail_overflow()
                return cid
            elif isinstance(header, dict) and ("app_id" in header or "appid" in header):
                checks.check_app_id(envelope, self._handshake.headers, options.consumer_header)
            if session.contract.validator.max_values < options.max_nodes:
                json_body.check_node_count(head, session.contract.validator.max_values)
            if binary:
                messages.attach_tail(envelope, tail, session.contract.service)
        except AseError as error:
            if session is not None:
                session.fail(error)
            else:
                self._reject(cid, error)
            return cid
        affinity_path = session.contract.affinity_path
        affinity_key = (
            checks.affinity_key(envelope, affinity_path)
            if affinity_path and session.state is SessionState.NEW
            else ""
        )
        session.receive_envelope(envelope, json_body.is_ascii(head), affinity_key)
        return cid

    def _parse_cid(self, header: object) -> str:
        if not self._handshake.multiplex:
            return ""
        cid = header.get("cid") if isinstance(header, dict) else None
        if type(cid) is not str or not 0 < len(cid) <= _MAX_CID_LENGTH:
            rule = f"must be a text of 1 to {_MAX_CID_LENGTH} characters, the session's own"
            message = f"$.header.cid: {rule}"
            raise AseError(BAD_REQUEST, message)
        return cid

    def _start_session(self, cid: str, envelope: dict[str, Any], header: object) -> Session:
        """Return a new session for a first frame. Raises AseError."""
        context, options, handshake = self._context, self._options, self._handshake
        if handshake.multiplex:
            if not _starts_session(header):
                raise AseError(
                    BAD_REQUEST, "$.header.cid: no such session; it begins with status 0"
                )
            if len(self._sessions) >= options.most:
                raise AseError(BAD_REQUEST, f"more than {options.most} sessions on one socket")
            if self._draining:
                raise AseError(BAD_REQUEST, "the gateway stops; begin it elsewhere")
        self._closed_cids.pop(cid, None)
        dependencies = context.dependencies
        checks.check_app_id(envelope, handshake.headers, dependencies.options.consumer_header)
        record = context.new_record("GET", handshake.path, handshake.client_ip)
        record.service = handshake.contract.service.id
        # The socket may be older than the contract.
        current_config = (
            dependencies.catalog.find(handshake.contract.service.id) or handshake.contract
        )
        contract, gateway_headers = resolve_contract(
            current_config, envelope, record, dependencies.catalog
        )
        service = contract.service
        self._timer.cancel()
        session = self._sessions[cid] = Session(
            contract,
            record,
            dependencies,
            self,
            EnvelopeReader(contract, gateway_headers, options),
            self._call_later,
            read_timeout=service.read_timeout or options.read_timeout,
            lifetime=service.deadline or options.lifetime,
            max_queued_frames=options.queue,
            cid=cid,
        )
        self._session_metrics.session_started(session)
        return session

    # The end, and errors that are no session's.

    def _reject(self, cid: str, error: AseError) -> None:
        """Tell an error of a message that found no session; alone on the socket, it ends it."""
        session = self._sessions.get(cid)
        if session is not None:
            session.fail(error)
            return
        self._send_error_message(self._context.dependencies.new_id(), cid, error)
        self._remember_closed(cid)
        if not self._handshake.multiplex:
            self.close(close_codes.close_code(error), close_codes.truncate_reason(str(error)))

    def _remember_closed(self, cid: str) -> None:
        """Note a session that ended, or was refused: what was sent for it meanwhile is dropped."""
        self._closed_cids[cid] = None
        if len(self._closed_cids) > _MAX_CLOSED_CIDS:
            del self._closed_cids[next(iter(self._closed_cids))]

    def _send_error_message(self, sid: str, cid: str, error: AseError) -> None:
        message = messages.encode_error(sid, cid, error)
        binary = self._handshake.binary
        self._transport.send(messages.to_binary(message) if binary else message, binary=binary)
        if self._handshake.multiplex and not self._transport.writable():
            self._backlog_bytes += len(message) + _MESSAGE_OVERHEAD_BYTES
            if self._backlog_bytes > self._options.max_frame:
                self._transport.pause_reading()

    def _on_idle_timeout(self) -> None:
        """End a socket that has no session, and had none for too long."""
        if not self._sessions and not self._closed:
            self._reject("", AseError(SESSION_READ_TIMEOUT))
            self.close(close_codes.TIMED_OUT, SESSION_READ_TIMEOUT.message)

    def _notify_sessions(self, event: SessionEvent) -> None:
        for session in list(self._sessions.values()):
            session.handle_event(event)

    def _fail_sessions(self, error: AseError) -> None:
        for session in list(self._sessions.values()):
            session.fail(error)

    def _stop(self) -> None:
        self._closed = True
        self._timer.cancel()
        self._backlog.clear()


def _starts_session(header: object) -> bool:
    """Return whether a frame begins a session."""
    status = header.get("status") if isinstance(header, dict) else None
    return frame_event(status, first=True) in (SessionEvent.BEGIN, SessionEvent.ONCE)
