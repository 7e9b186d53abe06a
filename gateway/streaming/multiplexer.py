"""The sessions of one WebSocket.

It has one session, or with `stream_mode=multiplex` several, which `header.cid` identifies.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from config.options import SessionOptions
from gateway.access.identity import Identity
from gateway.context import GatewayContext
from gateway.plain import exchange as plain_exchange
from gateway.plain import messages as plain_messages
from gateway.request import checks, json_body, tracing
from gateway.services.catalog import Contract
from gateway.streaming import close_codes, messages
from gateway.streaming.session import Session, create_session
from gateway.telemetry.session_metrics import SessionMetrics
from rpc.bounded_cache import BoundedCache
from rpc.timer import CallLater
from schemas.model.errors import BAD_REQUEST, INTERNAL, SESSION_READ_TIMEOUT, AseError
from schemas.model.session import SessionEvent, SessionState, frame_event

_MAX_CID_LENGTH: Final = 64
_MAX_CLOSED_CIDS: Final = 64
_MESSAGE_OVERHEAD_BYTES: Final = 128  # memory of a queued message besides its content, estimated


class WebSocketTransport(Protocol):
    """The WebSocket connection, as far as the multiplexer uses it."""

    def writable(self) -> bool:
        """Return whether the client keeps up with the messages sent to it."""

    def send(self, message: bytes, *, binary: bool) -> None:
        """Send a message; it is dropped if the connection is closing."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake with a close code and a reason (RFC 6455, 7.1.2).

        No message is sent after that. Messages that still arrive are delivered; the multiplexer
        ignores them.
        """

    def pause_reading(self) -> None:
        """Stop reading from the client."""

    def resume_reading(self) -> None:
        """Continue to read from the client."""


@dataclass(frozen=True, slots=True)
class WebSocketHandshake:
    """An accepted handshake.

    `contract` is the contract of the service at `path`, at the time of the handshake. `headers`
    have lower-case names, `identity` is the caller. `multiplex`: the WebSocket may have several
    sessions. `binary`: the subprotocol `ase.binary.v1` was selected. `plain`: messages have no
    envelope, by the path or the subprotocol `ase.json.v1`; there is one session then.
    """

    contract: Contract
    path: str
    client_ip: str
    headers: Mapping[bytes, bytes]
    identity: Identity
    multiplex: bool
    binary: bool
    plain: bool = False


class SessionMultiplexer:
    """Dispatches the messages of one WebSocket to its sessions, and sends their results.

    Without `multiplex` there is one session, with the cid "", and back-pressure on it reaches the
    client: while the session's queue is full, or the client does not read its results, messages
    wait in `_backlog`. The transport continues to read until the backlog exceeds `max_frame` bytes,
    so that pings and a close frame are still processed. With `multiplex`, back-pressure on one
    session would stall the others. So a session whose queue is full fails with the next frame
    (10301), and nothing waits in `_backlog`.

    `_sessions` are the open sessions by cid. `_closed_cids` are cids whose session ended or was
    rejected (a dict as an ordered set; the oldest of more than 64 is evicted). The client may have
    sent frames before it learned of the end; they are dropped until a first frame uses the cid
    again.

    `_backlog_bytes` is the size of the messages in `_backlog`. With `multiplex` it is the size of
    the error messages that were sent while the client did not read: beyond `max_frame` bytes
    reading stops, because each further message could cause another error. Both count 128 bytes of
    overhead per message.

    `_session_queue_full`: the queue of the one session is full; never set with `multiplex`.
    `_draining`: no session may start on a multiplexed WebSocket. `_closed`: the WebSocket is closed
    or lost, and messages are ignored. `_timer` runs while there is no session, for `_idle_timeout`
    seconds: `idle` with `multiplex`, otherwise the read timeout, for the first frame.
    `call_later(seconds, callback)` schedules a callback.
    """

    def __init__(
        self,
        context: GatewayContext,
        session_metrics: SessionMetrics,
        options: SessionOptions,
        handshake: WebSocketHandshake,
        transport: WebSocketTransport,
        call_later: CallLater,
    ) -> None:
        self._context = context
        self._session_metrics = session_metrics
        self._options = options
        self._handshake = handshake
        self._transport = transport
        self._call_later = call_later
        self._sessions: dict[str, Session] = {}
        self._closed_cids: BoundedCache[str, bool] = BoundedCache(_MAX_CLOSED_CIDS)
        self._backlog: deque[tuple[bytes, bool]] = deque()
        self._backlog_bytes = 0
        self._session_queue_full = self._draining = self._closed = False
        first_frame_timeout = handshake.contract.service.read_timeout or options.read_timeout
        self._idle_timeout = options.idle if handshake.multiplex else first_frame_timeout
        self._timer = call_later(self._idle_timeout, self._on_idle_timeout)

    def receive_message(self, message: bytes, binary: bool, /) -> None:
        """Dispatch a message of the client, or queue it while back-pressure applies."""
        if self._closed:
            return
        if (
            self._session_queue_full
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
        """Check the message type, dispatch the message, report errors."""
        cid = ""
        try:
            if binary and not (self._handshake.binary or self._handshake.plain):
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
        except Exception as exception:  # noqa: BLE001 (it is logged with its traceback)
            self._context.dependencies.on_internal_error(self._handshake.path, exception)
            self._reject(cid, AseError(INTERNAL))

    def on_protocol_error(self, reason: str) -> None:
        """Fail all sessions (10163) because the client violated the WebSocket protocol.

        The close frame with `reason` is already sent, so the client gets no error message.
        """
        self._fail_sessions(AseError(BAD_REQUEST, reason))

    def on_disconnect(self) -> None:
        """End all sessions: the connection is lost, or the client has closed it."""
        self._notify_sessions(SessionEvent.CLIENT_GONE)
        self._stop()

    def drain(self) -> None:
        """Start to drain: a session that is still open for frames ends after its next result.

        A session whose client has sent its last frame may complete. A WebSocket without sessions is
        closed now (1001); `on_closed` closes the others when their last session ends.
        """
        self._draining = True
        self._notify_sessions(SessionEvent.DRAIN)
        if not self._sessions:
            self.close(close_codes.GOING_AWAY, "the gateway stops")

    def abort(self) -> None:
        """End all sessions with an error (10102) and close the WebSocket (1001)."""
        self._draining = True
        self._notify_sessions(SessionEvent.DRAIN_TIMEOUT)
        self.close(close_codes.GOING_AWAY, "the gateway stops")

    def resume_writing(self) -> None:
        """Continue to send results: the client reads again."""
        for session in list(self._sessions.values()):
            session.transfer()
        self._process_backlog()

    def close(self, code: int, reason: str) -> None:
        """Fail the open sessions (10163) and close the WebSocket; ignored if it is closed.

        The error messages of the sessions precede the close frame.
        """
        if not self._closed:
            self._stop()
            self._fail_sessions(AseError(BAD_REQUEST, reason))
            self._transport.close(code, reason)

    # Called by the sessions.

    def writable(self) -> bool:
        """Return whether the client keeps up with the messages sent to it."""
        return self._transport.writable()

    def send_result(self, session: Session, payload: bytes, status: int) -> None:
        """Send a result of a session; without an envelope, an empty one is omitted."""
        if self._handshake.plain:
            if payload != b"{}":
                self._transport.send(payload, binary=False)
            return
        message = messages.encode_result_envelope(session.record.sid, session.cid, payload, status)
        binary = self._handshake.binary
        self._transport.send(messages.to_binary(message) if binary else message, binary=binary)

    def send_error(self, session: Session, error: AseError) -> None:
        """Send the error that ends a session."""
        if self._handshake.plain:
            error = plain_exchange.explain(session.contract, error)
            self._transport.send(plain_messages.error_message(session.record, error), binary=False)
            return
        self._send_error_message(session.record.sid, session.cid, error)

    def on_closed(self, session: Session, event: SessionEvent) -> None:
        """Remove a session that ended, and log it.

        Without `multiplex` the WebSocket is closed. With `multiplex` and no session left, it is
        closed if the gateway drains; otherwise the idle timer is started.
        """
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

    def pause_reading(self, session: Session) -> None:  # noqa: ARG002 (there is only one session)
        """Queue further messages of the client, unless the socket is multiplexed.

        The transport itself stops reading only when the backlog exceeds `max_frame` bytes.
        """
        self._session_queue_full = not self._handshake.multiplex

    def resume_reading(self, session: Session) -> None:  # noqa: ARG002
        """Release the back-pressure and process the queued messages."""
        if self._session_queue_full:
            self._session_queue_full = False
            self._process_backlog()

    def _process_backlog(self) -> None:
        """Process queued messages while no back-pressure applies; then resume reading."""
        while (
            self._backlog
            and not self._session_queue_full
            and not self._closed
            and self._transport.writable()
        ):
            message, binary = self._backlog.popleft()
            self._backlog_bytes -= len(message) + _MESSAGE_OVERHEAD_BYTES
            self._handle_message(message, binary)
        if not self._backlog and not self._session_queue_full and not self._closed:
            self._backlog_bytes = 0
            self._transport.resume_reading()

    # Incoming messages.

    def _dispatch(self, message: bytes, binary: bool, /) -> str:
        """Pass a message to its session and return the cid; a first frame starts the session.

        Raises AseError 10163 for a message without a valid binary head, envelope or cid. An
        AseError after that is handled here: it fails the session, or is reported for the cid if
        there is no session.
        """
        options = self._context.dependencies.options
        if self._handshake.plain:
            return self._dispatch_plain(message, binary)
        head, tail = messages.split_binary(message) if binary else (message, b"")
        envelope = json_body.parse(head, options.max_depth, options.max_nodes, options.max_names)
        header = envelope.get("header")
        cid = self._parse_cid(header)
        session = self._sessions.get(cid)
        try:
            if session is None:
                if cid in self._closed_cids.entries and not _starts_session(header):
                    return cid
                session = self._start_session(cid, envelope, header)
            elif session.queue_full:
                session.fail_overflow()
                return cid
            elif isinstance(header, dict) and ("app_id" in header or "appid" in header):
                checks.check_app_id(envelope, self._handshake.identity)
            if session.contract.validator.max_values < options.max_nodes:
                json_body.check_node_count(head, session.contract.validator.max_values)
            ascii_only, has_line_breaks = json_body.text_traits(head)
            if has_line_breaks:
                checks.join_base64_lines(envelope, session.contract.service)
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
        session.receive_envelope(envelope, ascii_only, affinity_key)
        return cid

    def _dispatch_plain(self, message: bytes, binary: bool, /) -> str:
        """Pass a message without an envelope to the one session; the first starts it.

        Raises AseError for a message that has no form that there is, if there is no session.
        """
        session = self._sessions.get("")
        contract = session.contract if session is not None else self._handshake.contract
        try:
            envelope = plain_messages.to_envelope(
                contract,
                message,
                binary,
                self._handshake.headers,
                self._handshake.identity,
                self._context.dependencies.options,
                is_first=session is None,
            )
            if session is None:
                session = self._start_session("", envelope, envelope["header"])
        except AseError as error:
            if session is None:
                raise
            session.fail(error)
            return ""
        session.receive_envelope(envelope, False, "")
        return ""

    def _parse_cid(self, header: object) -> str:
        """Return `header.cid`, "" without `multiplex`. Raises AseError 10163."""
        if not self._handshake.multiplex:
            return ""
        cid = header.get("cid") if isinstance(header, dict) else None
        if type(cid) is not str or not 0 < len(cid) <= _MAX_CID_LENGTH:
            rule = f"must be a text of 1 to {_MAX_CID_LENGTH} characters, the session's own"
            message = f"$.header.cid: {rule}"
            raise AseError(BAD_REQUEST, message)
        return cid

    def _start_session(self, cid: str, envelope: dict[str, Any], header: object) -> Session:
        """Create the session of a first frame.

        Raises AseError 10163 if a multiplexed frame is not a first one, if there are too many
        sessions or if the gateway drains; 10313 for the app id; 10404 if no sub service matches;
        10105 if the caller's credential is not valid any more; LimitExceededError.
        """
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
        self._closed_cids.entries.pop(cid, None)
        dependencies = context.dependencies
        identity = dependencies.authenticator.renew(handshake.identity)
        app_id = checks.check_app_id(envelope, identity)
        record = context.new_record("GET", handshake.path, handshake.client_ip)
        record.tracing = tracing.from_headers(handshake.headers)
        if dependencies.tracer is not None:
            record.begin_trace(dependencies.tracer)
        record.app_id, record.identity = app_id, identity
        record.service = handshake.contract.service.id
        # The contract may have changed since the handshake.
        current_contract = (
            dependencies.catalog.find(handshake.contract.service.id) or handshake.contract
        )
        contract, gateway_headers = checks.resolve_contract(
            current_contract, envelope, record, dependencies.catalog
        )
        limiter = dependencies.limiter
        record.admission = limiter.admit(record.identity, current_contract.service.id)
        checks.admit_sub_service(current_contract, contract, record, limiter)
        self._timer.cancel()
        session = self._sessions[cid] = create_session(
            contract,
            gateway_headers,
            record,
            dependencies,
            self,
            options,
            self._call_later,
            cid=cid,
            decode_result=partial(plain_exchange.decode_result, contract)
            if handshake.plain
            else None,
        )
        self._session_metrics.session_started(session)
        return session

    # The end, and errors without a session.

    def _reject(self, cid: str, error: AseError) -> None:
        """Report the error of a message: fail its session, or send the error if it has none.

        In the second case late frames for `cid` are dropped, and a WebSocket that is not
        multiplexed is closed.
        """
        session = self._sessions.get(cid)
        if session is not None:
            session.fail(error)
            return
        if self._handshake.plain:
            record = self._context.new_record("GET", self._handshake.path, "")
            error = plain_exchange.explain(self._handshake.contract, error)
            self._transport.send(plain_messages.error_message(record, error), binary=False)
        else:
            self._send_error_message(self._context.dependencies.new_id(), cid, error)
        self._remember_closed(cid)
        if not self._handshake.multiplex:
            self.close(close_codes.close_code(error), close_codes.truncate_reason(str(error)))

    def _remember_closed(self, cid: str) -> None:
        """Remember a cid whose session ended or was rejected, to drop late frames for it."""
        self._closed_cids.add(cid, True)

    def _send_error_message(self, sid: str, cid: str, error: AseError) -> None:
        """Send an error; stop reading if a multiplexed client leaves too many errors unread."""
        message = messages.encode_error_envelope(sid, cid, error)
        binary = self._handshake.binary
        self._transport.send(messages.to_binary(message) if binary else message, binary=binary)
        if self._handshake.multiplex and not self._transport.writable():
            self._backlog_bytes += len(message) + _MESSAGE_OVERHEAD_BYTES
            if self._backlog_bytes > self._options.max_frame:
                self._transport.pause_reading()

    def _on_idle_timeout(self) -> None:
        """Close a WebSocket that had no session for `_idle_timeout` seconds."""
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
    """Return whether the status of a frame is that of a first frame (0 or 3)."""
    status = header.get("status") if isinstance(header, dict) else None
    return frame_event(status, first=True) in (SessionEvent.BEGIN, SessionEvent.ONCE)
