"""Requests and answers as envelopes, the form of the original. Pure."""

from collections.abc import Mapping
from typing import Any

from config.options import GatewayOptions
from gateway.access.identity import Identity
from gateway.request import checks, json_body
from gateway.request.exchange import ParsedBody, StreamForm
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse, finish_with_error, finish_with_success
from gateway.services.catalog import Contract
from schemas.model.errors import AseError


class EnvelopeExchange:
    """The envelope: see `Exchange`. It has no state; all requests share one."""

    def check_head(self, _contract: Contract, headers: Mapping[bytes, bytes]) -> None:
        """Reject a body that is not JSON. Raises HttpError 415."""
        checks.check_content_headers(headers)

    def peek_app_id(
        self,
        _headers: Mapping[bytes, bytes],
        body_start: bytes,
        identity: Identity,
        _options: GatewayOptions,
    ) -> str:
        """Return that of the caller, or what looks like it in the start of the body."""
        return checks.peek_app_id(body_start, identity)

    def parse(
        self,
        contract: Contract,
        raw_body: bytes,
        _headers: Mapping[bytes, bytes],
        identity: Identity,
        options: GatewayOptions,
    ) -> ParsedBody:
        """Parse an envelope; add the status of a single frame if the schema lets it be left out.

        Raises AseError 10163, 10313.
        """
        envelope = json_body.parse(
            raw_body, options.max_depth, options.max_nodes, options.max_names
        )
        app_id = checks.check_app_id(envelope, identity)
        header: dict[str, Any] = envelope["header"]  # an object: `check_app_id` found the app id
        for name, value in contract.default_status.items():
            header.setdefault(name, value)
        ascii_only, has_line_breaks = json_body.text_traits(raw_body)
        return ParsedBody(envelope, app_id, ascii_only, has_line_breaks, raw_body)

    def wants_events(
        self,
        contract: Contract,
        envelope: dict[str, Any],
        headers: Mapping[bytes, bytes],
        only_streams: bool,
    ) -> bool:
        """Return whether `header.stream`, which is removed, or the Accept header asks for them."""
        stream_flag = checks.pop_stream_flag(envelope, contract.service)
        if stream_flag is None:
            stream_flag = only_streams
        return stream_flag or checks.accepts_event_stream(headers)

    def accepts_events(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the client takes any media type."""
        return checks.accepts_anything(headers)

    def decode(self, contract: Contract, frame: bytes) -> Any:
        """Return the payload of the response as JSON. Raises AseError."""
        return contract.decoder.decode(frame)

    def decode_result(self, contract: Contract, frame: bytes) -> tuple[bytes, int]:
        """Return a result as the payload of an envelope, and its status. Raises AseError."""
        return contract.decoder.decode_result(frame)

    def answer_form(self) -> str:
        """Return that of envelopes."""
        return "envelope"

    def stream_form(self) -> StreamForm:
        """Return that of envelopes."""
        return StreamForm.ENVELOPE_EVENTS

    def finish(self, outputs: Any, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return an envelope."""
        return finish_with_success(outputs, record, now)

    def fail(self, error: AseError, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return an envelope with the code."""
        return finish_with_error(error, record, now)

    def explain(self, _contract: Contract, error: AseError) -> AseError:
        """Return the error itself."""
        return error
