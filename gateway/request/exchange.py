"""How a request is read and answered: by envelopes, or plain."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from config.options import GatewayOptions
from gateway.access.identity import Identity
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse
from gateway.services.catalog import Contract
from schemas.model.errors import AseError


class StreamForm(Enum):
    """The form of a stream of results: server-sent events, or lines of JSON.

    The data of ENVELOPE_EVENTS are envelopes, those of the others plain members.
    """

    ENVELOPE_EVENTS = "envelope events"
    PLAIN_EVENTS = "plain events"
    PLAIN_LINES = "plain lines"


class ParsedBody:
    """A body as an envelope, with the app id of its caller.

    `ascii_only`: no text of the envelope has a character beyond ASCII. `has_line_breaks`: one may
    have a line break. `json_text` is the body if it is JSON, else empty.
    """

    __slots__ = ("app_id", "ascii_only", "envelope", "has_line_breaks", "json_text")

    def __init__(
        self,
        envelope: dict[str, Any],
        app_id: str,
        ascii_only: bool,
        has_line_breaks: bool,
        json_text: bytes,
    ) -> None:
        self.envelope = envelope
        self.app_id = app_id
        self.ascii_only = ascii_only
        self.has_line_breaks = has_line_breaks
        self.json_text = json_text


class Exchange(Protocol):
    """The form of one request and its answer. `headers` have lower-case names."""

    def check_head(self, contract: Contract, headers: Mapping[bytes, bytes]) -> None:
        """Reject a head whose body or answer has no form that there is. Raises HttpError."""

    def peek_app_id(
        self,
        headers: Mapping[bytes, bytes],
        body_start: bytes,
        identity: Identity,
        options: GatewayOptions,
    ) -> str:
        """Return the app id before the body is parsed; "" if it is not found."""

    def parse(
        self,
        contract: Contract,
        raw_body: bytes,
        headers: Mapping[bytes, bytes],
        identity: Identity,
        options: GatewayOptions,
    ) -> ParsedBody:
        """Parse a body that the caller `identity` sent. Raises AseError."""

    def wants_events(
        self,
        contract: Contract,
        envelope: dict[str, Any],
        headers: Mapping[bytes, bytes],
        only_streams: bool,
    ) -> bool:
        """Return whether the answer is a stream of results.

        `only_streams`: the service has no other answer; the client may refuse it nevertheless.
        """

    def accepts_events(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the client takes events from a service that has no other answer."""

    def decode(self, contract: Contract, frame: bytes) -> Any:
        """Return the outputs of a loader's frame, for `finish`. Raises AseError."""

    def decode_result(self, contract: Contract, frame: bytes) -> tuple[bytes, int]:
        """Return a result of a session as a JSON object, and its status. Raises AseError."""

    def answer_form(self) -> str:
        """Return the name of the form of the answer, in which equal outputs are equal bytes."""

    def stream_form(self) -> StreamForm:
        """Return the form of a stream of results."""

    def finish(self, outputs: Any, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return the response of a success."""

    def fail(self, error: AseError, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return the response of an error."""

    def explain(self, contract: Contract, error: AseError) -> AseError:
        """Return an error of the envelope in the terms of the request's own form."""
