"""Messages of a WebSocket without envelopes, subprotocol `ase.json.v1`. Pure.

A text message is an object of plain members, or `{}` for the end of the inputs. A binary message is
the data of the one binary input. Results are objects of outputs; an error is the one member
`error`, a problem (RFC 9457), before the connection closes.
"""

from collections.abc import Mapping
from typing import Any

from config.options import GatewayOptions
from gateway.access.identity import Identity
from gateway.plain.envelope import Blob, PlainRequestError
from gateway.plain.exchange import member_error, require_app_id
from gateway.request import json_body
from gateway.request.record import RequestRecord
from gateway.request.response import problem
from gateway.services.catalog import Contract
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.session import FrameStatus


def to_envelope(
    contract: Contract,
    message: bytes,
    binary: bool,
    headers: Mapping[bytes, bytes],
    identity: Identity,
    options: GatewayOptions,
    *,
    is_first: bool,
) -> dict[str, Any]:
    """Return the envelope of a message, with the status of its frame. Raises AseError."""
    app_id = require_app_id(headers, identity, options)
    values: dict[str, Any] = {}
    try:
        if binary:
            inputs = [member for member in contract.plain.api.inputs() if member.is_binary]
            if len(inputs) != 1:
                raise AseError(BAD_REQUEST, "a binary message needs one input that is binary")
            values[inputs[0].name] = Blob(message)
        else:
            values = json_body.parse(
                message, options.max_depth, options.max_nodes, options.max_names
            )
        envelope = contract.plain.builder.build(values, app_id, options)
    except PlainRequestError as error:
        raise member_error(error) from None
    set_status(contract, envelope, is_first=is_first, is_last=not binary and not values)
    return envelope


def error_message(record: RequestRecord, error: AseError) -> bytes:
    """Return the message of an error."""
    return b'{"error":%b}' % problem(error, record)


def set_status(
    contract: Contract, envelope: dict[str, Any], *, is_first: bool, is_last: bool
) -> None:
    """Set the status of a frame; a later one inherits the parameters and the rest of the header."""
    if not contract.service.streaming:
        return  # its one frame has the status already
    status = FrameStatus.CONTINUE
    if is_first:
        status = FrameStatus.ONCE if is_last else FrameStatus.BEGIN
    elif is_last:
        status = FrameStatus.END
    if is_first:
        envelope["header"]["status"] = int(status)
    else:
        envelope["header"] = {"status": int(status)}
    for stream in envelope["payload"].values():
        stream.pop("status", None)
    if not envelope["payload"]:
        del envelope["payload"]
