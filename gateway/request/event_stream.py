"""What the unary path hands over if a request is answered by server-sent events.

The stream itself is in `gateway/streaming/sse.py`.
"""

from collections.abc import Callable
from typing import Any, Protocol

from gateway.request.exchange import Exchange
from gateway.request.record import RequestRecord
from gateway.services.catalog import Contract
from schemas.model.errors import AseError


class EventStreamRequest:
    """A request that is answered by events: its contract, its envelope, the gateway's headers.

    `ascii_only`: no text of the envelope has a character beyond ASCII. `exchange` is the form of
    request and answer. The client has the first `received_results` already.
    """

    __slots__ = (
        "affinity_key", "ascii_only", "contract", "envelope", "exchange", "gateway_headers",
        "received_results", "record",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        envelope: dict[str, Any],
        gateway_headers: dict[str, str],
        affinity_key: str,
        ascii_only: bool,
        record: RequestRecord,
        exchange: Exchange,
        received_results: int = 0,
    ) -> None:
        self.received_results = received_results
        self.contract = contract
        self.envelope = envelope
        self.gateway_headers = gateway_headers
        self.affinity_key = affinity_key
        self.ascii_only = ascii_only
        self.record = record
        self.exchange = exchange


class Sink(Protocol):
    """The HTTP response that events are written to."""

    def writable(self) -> bool:
        """Return whether the client keeps up; if not, `resume_writing` follows when it does."""

    def send_error(self, error: AseError) -> None:
        """Answer with an error; nothing was written before."""

    def start_response(self, head: bytes) -> None:
        """Write the header lines of the response."""

    def write(self, data: bytes) -> None:
        """Write a part of the body, which is not empty."""

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
