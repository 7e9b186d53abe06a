"""When a unary request is answered by server-sent events, and what such an answer needs. Pure.

The unary path decides this; the stream itself is in `gateway/streaming/sse.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.request.record import RequestRecord
from gateway.services.catalog import Contract
from schemas.model.errors import AseError
from schemas.model.service import Service, member_schema

_MEDIA_TYPE: Final = "text/event-stream"


def accepts_event_stream(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the Accept header names server-sent events."""
    return _MEDIA_TYPE in headers.get(b"accept", b"").decode("latin-1").lower()


def pop_stream_flag(envelope: dict[str, Any], service: Service) -> bool:
    """Remove `header.stream` from an envelope and return its value; False without one.

    If the service's own schema declares `header.stream`, the member is the service's and stays.
    """
    header = envelope.get("header")
    if isinstance(header, dict) and type(header.get("stream")) is bool:
        if member_schema(service.input, "header", "stream") is not None:
            return False
        flag: bool = header.pop("stream")
        return flag
    return False


class EventStreamRequest:
    """A request that is answered by events: its contract, its envelope, the gateway's headers.

    `ascii_only`: no text of the envelope has a character beyond ASCII.
    """

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


class Sink(Protocol):
    """The HTTP response that events are written to."""

    def writable(self) -> bool:
        """Return whether the client keeps up; if not, `resume_writing` follows when it does."""

    def send_error(self, error: AseError) -> None:
        """Answer with an error; nothing was written before."""

    def start_response(self, head: bytes) -> None:
        """Write the header lines of the response."""

    def write(self, data: bytes) -> None:
        """Write a part of the body."""

    def end(self) -> None:
        """End the body."""


class EventStreamHandle(Protocol):
    """A response by events that is under way."""

    def start(self) -> None:
        """Start the session; the request is its only frame."""

    def fail(self, error: AseError) -> None:
        """End the stream with an error."""

    def resume_writing(self) -> None:
        """Continue: the client reads again."""


EventStreamFactory = Callable[[EventStreamRequest, Sink], EventStreamHandle]
