"""A session of one request whose results are server-sent events.

`result` with its number, then `end` with the status, or `error` once it has begun; before that an
error is an HTTP answer as any other. Source: WHATWG HTML, "Server-sent events".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from config.options import SessionOptions
from gateway import messages
from gateway.contracts import Contract
from gateway.frames import EnvelopeReader
from gateway.parts import Dependencies
from gateway.record import RequestRecord
from gateway.session import Session
from gateway.sessions import SessionMetrics
from schemas.errors import CLIENT_GONE, AseError
from schemas.service import Service, member_schema
from schemas.session import FrameStatus, SessionEvent

_MEDIA_TYPE: Final = "text/event-stream"
_HTTP_OK: Final = 200
_HEADERS_TEMPLATE: Final = (
    "content-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
    "x-ase-request-id: %s\r\nx-ase-instance: %s\r\nx-ase-attempts: %d\r\n"
)
_NEWLINES_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
_KEEP_ALIVE_COMMENT: Final = b": still here\n\n"


def accepts_event_stream(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request's head asks for events."""
    return _MEDIA_TYPE in headers.get(b"accept", b"").decode("latin-1").lower()


def pop_stream_flag(envelope: dict[str, Any], service: Service) -> bool:
    """Return whether an envelope asks for events by `header.stream`, which is taken out of it.

    Where the service's own schema has a `header.stream`, it is the service's.
    """
    header = envelope.get("header")
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

    def send_error(self, error: AseError) -> None:
        """Answer with an error; nothing was written before."""

    def start_response(self, head: bytes) -> None:
        """Write the head of the answer."""

    def write(self, data: bytes) -> None:
        """Write a part of its body."""

    def end(self) -> None:
        """End its body."""


class EventStreamRequest:
    """A request for events, read: of which contract, the envelope, what the gateway adds to it."""

    __slots__ = ("affinity_key", "ascii_only", "contract", "envelope", "gateway_headers", "record")

    def __init__(
        self,
        contract: Contract,
        envelope: dict[str, Any],
        gateway_headers: dict[str, str],
        affinity_key: str,
        ascii_only: bool,
        record: RequestRecord,
    ) -> None:
        self.contract = contract
        self.envelope = envelope
        self.gateway_headers = gateway_headers
        self.affinity_key = affinity_key
        self.ascii_only = ascii_only
        self.record = record


class EventStream:
    """The events of one request. `later(s, call)` calls after so many seconds."""

    def __init__(
        self,
        request: EventStreamRequest,
        dependencies: Dependencies,
        session_metrics: SessionMetrics,
        options: SessionOptions,
        sink: Sink,
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.headers_sent = False
        self._request = request
        self._session_metrics = session_metrics
        self._options = options
        self._sink = sink
        self._call_later = call_later
        self._last_event_id = 0
        service = request.contract.service
        self._session = Session(
            request.contract,
            request.record,
            dependencies,
            self,
            EnvelopeReader(request.contract, request.gateway_headers, options, single_frame=True),
            call_later,
            read_timeout=options.lifetime,
            lifetime=service.deadline or options.lifetime,
            max_queued_frames=options.queue,
        )
        self._timer = call_later(options.keep_alive, self._send_keep_alive)

    def start(self) -> None:
        """Begin: the request is its only frame."""
        request = self._request
        self._session_metrics.session_started(self._session)
        self._session.receive_envelope(request.envelope, request.ascii_only, request.affinity_key)

    def cancel(self) -> None:
        """Take in that the client is gone."""
        self._session.handle_event(SessionEvent.CLIENT_GONE)

    def fail(self, error: AseError) -> None:
        """End with an error."""
        if error.spec is CLIENT_GONE:
            self.cancel()
        else:
            self._session.fail(error)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._session.transfer()

    # What the session says (gateway.session.Client).

    def writable(self) -> bool:
        """Return whether the client reads."""
        return self._sink.writable()

    def send_result(self, session: Session, payload: bytes, status: int) -> None:
        """Write a result, or the end, or both."""
        sid = session.record.sid
        is_last = status >= FrameStatus.END
        if payload != b"{}":
            message = messages.encode_result(
                sid, "", payload, FrameStatus.CONTINUE if is_last else status
            )
            if b"\n" in message or b"\r" in message:  # of embedded JSON, where they are white space
                message = message.translate(_NEWLINES_TO_SPACES)
            self._last_event_id += 1
            self._write(b"event: result\nid: %d\ndata: %b\n\n" % (self._last_event_id, message))
        if is_last:
            message = messages.encode_result(sid, "", b"{}", status)
            self._write(b"event: end\ndata: %b\n\n" % message)

    def send_error(self, session: Session, error: AseError) -> None:
        """Write an error, or answer with it."""
        if self.headers_sent:
            message = messages.encode_error(session.record.sid, "", error)
            self._write(b"event: error\ndata: %b\n\n" % message)

    def on_closed(self, session: Session, event: SessionEvent) -> None:
        """End the answer."""
        self._timer.cancel()
        self._session_metrics.session_ended(session, event, _HTTP_OK, write_log=self.headers_sent)
        if self.headers_sent:
            self._sink.end()
        else:
            self._sink.send_error(session.error or AseError(CLIENT_GONE))

    def pause_reading(self, session: Session) -> None:
        """Do nothing: there is no other frame."""

    def resume_reading(self, session: Session) -> None:
        """Do nothing."""

    def _write(self, data: bytes) -> None:
        if not self.headers_sent:
            self.headers_sent = True
            record = self._session.record
            head = _HEADERS_TEMPLATE % (record.sid, record.instance, record.attempts)
            self._sink.start_response(head.encode())
        self._sink.write(data)

    def _send_keep_alive(self) -> None:
        """Let the client, and proxies before us, see that it goes on."""
        self._timer = self._call_later(self._options.keep_alive, self._send_keep_alive)
        if self._sink.writable():
            self._write(_KEEP_ALIVE_COMMENT)
