"""The parts of a streamed response: events with envelopes, plain events, or lines of JSON. Pure.

Sources: WHATWG HTML, "Server-sent events"; the NDJSON specification (ndjson.org).
"""

from typing import Final, Protocol

from gateway.request.record import RequestRecord
from gateway.request.response import problem
from gateway.request.resumption import END_ID
from gateway.streaming import messages
from schemas.model.errors import AseError
from schemas.model.session import FrameStatus

_NEWLINES_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
_KEEP_ALIVE_COMMENT: Final = b": still here\n\n"


class Framing(Protocol):
    """How results, the end and an error are written."""

    content_type: str

    def result(self, record: RequestRecord, payload: bytes, status: int, number: int) -> bytes:
        """Return a result; `payload` is a JSON object, `number` counts results from 1."""

    def end(self, record: RequestRecord, status: int) -> bytes:
        """Return what follows the last result; `status` is that of its frame."""

    def error(self, record: RequestRecord, error: AseError) -> bytes:
        """Return an error that ends the response."""

    def keep_alive(self) -> bytes:
        """Return what is written while there is no result."""


class EnvelopeEvents:
    """Server-sent events whose data are envelopes."""

    content_type = "text/event-stream"

    def result(self, record: RequestRecord, payload: bytes, status: int, number: int) -> bytes:
        """Return an event `result`; that of the last result has the status of a middle one."""
        status = int(FrameStatus.CONTINUE) if status >= FrameStatus.END else status
        message = messages.encode_result_envelope(record.sid, "", payload, status)
        return _event(b"result", message, b"%d" % number)

    def end(self, record: RequestRecord, status: int) -> bytes:
        """Return the event `end`, an envelope without a payload."""
        message = messages.encode_result_envelope(record.sid, "", b"{}", status)
        return _event(b"end", message, _end_id(record))

    def error(self, record: RequestRecord, error: AseError) -> bytes:
        """Return an event `error`, an envelope with the code."""
        return _event(b"error", messages.encode_error_envelope(record.sid, "", error))

    def keep_alive(self) -> bytes:
        """Return a comment."""
        return _KEEP_ALIVE_COMMENT


class PlainEvents:
    """Server-sent events whose data are the plain members, or problem details (RFC 9457)."""

    content_type = "text/event-stream"

    def result(self, _record: RequestRecord, payload: bytes, _status: int, number: int) -> bytes:
        """Return an event `result`."""
        return _event(b"result", payload, b"%d" % number)

    def end(self, record: RequestRecord, _status: int) -> bytes:
        """Return the event `end`, an empty object."""
        return _event(b"end", b"{}", _end_id(record))

    def error(self, record: RequestRecord, error: AseError) -> bytes:
        """Return an event `error`."""
        return _event(b"error", problem(error, record))

    def keep_alive(self) -> bytes:
        """Return a comment."""
        return _KEEP_ALIVE_COMMENT


class PlainLines:
    """A line of JSON per result; an error is a line with the one member `error`, a problem."""

    content_type = "application/x-ndjson"

    def result(self, _record: RequestRecord, payload: bytes, _status: int, _number: int) -> bytes:
        """Return a line."""
        return payload.translate(_NEWLINES_TO_SPACES) + b"\n"

    def end(self, _record: RequestRecord, _status: int) -> bytes:
        """Return nothing: the end of the response is the end."""
        return b""

    def error(self, record: RequestRecord, error: AseError) -> bytes:
        """Return a line that ends the response."""
        return b'{"error":%b}\n' % problem(error, record)

    def keep_alive(self) -> bytes:
        """Return an empty line, which readers skip."""
        return b"\n"


def _end_id(record: RequestRecord) -> bytes:
    """Return the id of the last event; only an EventSource, which sends GET, asks by it."""
    return END_ID if record.method == "GET" else b""


def _event(name: bytes, data: bytes, event_id: bytes = b"") -> bytes:
    """Return an event."""
    if b"\n" in data or b"\r" in data:  # white space in embedded JSON
        data = data.translate(_NEWLINES_TO_SPACES)
    if event_id:
        return b"event: %b\nid: %b\ndata: %b\n\n" % (name, event_id, data)
    return b"event: %b\ndata: %b\n\n" % (name, data)
