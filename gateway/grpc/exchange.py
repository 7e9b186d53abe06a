"""The request and the answer of a gRPC call, as an `Exchange`. Pure."""

from collections.abc import Mapping
from typing import Any

from config.options import GatewayOptions
from gateway.access.identity import Identity
from gateway.grpc import messages
from gateway.grpc.messages import MembersMessage
from gateway.plain import exchange as plain_exchange
from gateway.plain.envelope import PlainRequestError
from gateway.request.exchange import ParsedBody, StreamForm
from gateway.request.record import RequestRecord
from gateway.request.response import HttpResponse, note_error
from gateway.services.catalog import Contract
from schemas.model.errors import AseError


class CallExchange:
    """One `Infer` call: see `Exchange`. Its members are read before its steps start.

    `error` is what the call ended with, None after a success. The body of the answer is a
    serialised `InferResponse`, its head is empty.
    """

    def __init__(self, message: MembersMessage) -> None:
        self._members = message.members
        self.error: AseError | None = None

    def check_head(self, contract: Contract, headers: Mapping[bytes, bytes]) -> None:
        """Do nothing: a call has one form."""

    def peek_app_id(
        self,
        headers: Mapping[bytes, bytes],
        _body_start: bytes,
        identity: Identity,
        options: GatewayOptions,
    ) -> str:
        """Return the app id, which is in the metadata; "" if there is none."""
        return plain_exchange.named_app_id(headers, identity, options)

    def parse(
        self,
        contract: Contract,
        _raw_body: bytes,
        headers: Mapping[bytes, bytes],
        identity: Identity,
        options: GatewayOptions,
    ) -> ParsedBody:
        """Convert the members to an envelope. Raises AseError 10163, 10313."""
        app_id = plain_exchange.require_app_id(headers, identity, options)
        envelope = build_envelope(contract, self._members, app_id, options)
        return ParsedBody(envelope, app_id, False, False, b"")

    def wants_events(
        self,
        _contract: Contract,
        _envelope: dict[str, Any],
        _headers: Mapping[bytes, bytes],
        _only_streams: bool,
    ) -> bool:
        """Return False: a stream of results is the answer to `Session`."""
        return False

    def accepts_events(self, _headers: Mapping[bytes, bytes]) -> bool:
        """Return False: see `wants_events`."""
        return False

    def decode(self, contract: Contract, frame: bytes) -> Any:
        """Return the outputs. Raises AseError."""
        return contract.decoder.decode_outputs(frame)

    def decode_result(self, contract: Contract, frame: bytes) -> tuple[bytes, int]:
        """Return a result of a session as a `SessionResponse`, and its status. Raises AseError."""
        return decode_result(contract, frame)

    def answer_form(self) -> str:
        """Return that of messages."""
        return "grpc"

    def stream_form(self) -> StreamForm:
        """Return a form that is never asked for: see `wants_events`."""
        return StreamForm.PLAIN_EVENTS

    def finish(self, outputs: Any, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and return the outputs."""
        record.finish(200, 0, now)
        return HttpResponse(record.status, b"", messages.encode_outputs(outputs))

    def fail(self, error: AseError, record: RequestRecord, now: float) -> HttpResponse:
        """Finish the record and keep the error."""
        note_error(error, record, now)
        self.error = error
        return HttpResponse(record.status, b"", b"")

    def explain(self, contract: Contract, error: AseError) -> AseError:
        """Return an error of the envelope in terms of the members."""
        return plain_exchange.explain(contract, error)


def build_envelope(
    contract: Contract, members: Mapping[str, Any], app_id: str, options: GatewayOptions
) -> dict[str, Any]:
    """Return the envelope of the members of a message. Raises AseError 10163."""
    try:
        values = messages.to_values(members)
        return contract.plain.builder.build(values, app_id, options)
    except PlainRequestError as error:
        raise plain_exchange.member_error(error) from None


def decode_result(contract: Contract, frame: bytes) -> tuple[bytes, int]:
    """Return a result of a session as a `SessionResponse`, and its status. Raises AseError."""
    outputs, status = contract.decoder.decode_result_outputs(frame)
    return messages.encode_outputs(outputs), status
