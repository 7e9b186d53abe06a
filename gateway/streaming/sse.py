"""A session of one request whose results are server-sent events.

`result` with its number, then `end` with the status, or `error` once it has begun; before that an
error is an HTTP answer as any other. Source: WHATWG HTML, "Server-sent events".
"""

from collections.abc import Callable
from typing import Any, Final

from config.options import SessionOptions
from gateway.request.event_stream import EventStreamRequest, Sink
from gateway.request.interfaces import Dependencies
from gateway.streaming import messages
from gateway.streaming.envelopes import EnvelopeReader
from gateway.streaming.session import Session
from gateway.telemetry.session_metrics import SessionMetrics
from schemas.model.errors import CLIENT_GONE, AseError
from schemas.model.session import FrameStatus, SessionEvent

_HTTP_OK: Final = 200
_HEADERS_TEMPLATE: Final = (
    "content-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
    "x-ase-request-id: %s\r\nx-ase-instance: %s\r\nx-ase-attempts: %d\r\n"
)
_NEWLINES_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
_KEEP_ALIVE_COMMENT: Final = b": still here\n\n"


class EventStream:
    """The events of one request. `later(s, call)` calls after so many seconds."""

    def __init__(
        self,
        request: EventStreamRequest,
        sink: Sink,
        *,
        dependencies: Dependencies,
        session_metrics: SessionMetrics,
        options: SessionOptions,
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

    # What the session says (gateway.streaming.session.Client).

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
