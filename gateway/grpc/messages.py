"""The messages of `ase.v1.Gateway`: values of members from a request, outputs to a response. Pure.

`InferRequest` and `SessionRequest` have the same fields, and so have their responses: one function
reads both, one writes both.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from atom.decode import DecodedOutput
from gateway.plain.envelope import Blob, JsonText, PlainRequestError
from gateway.request.response import HttpError
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.media_types import media_type_of
from schemas.model.service import DataType
from schemas.wire import GatewayValue, InferRequest, InferResponse

# Smaller messages are not scanned: they have not enough fields to be slow.
_UNSCANNED_BYTES: Final = 1 << 16
_MEMBERS_FIELD: Final = 2
_UNDECODABLE: Final = "the message cannot be decoded"
_DEPTH: Final = 3  # a message, the entry of a member, its value


@dataclass(frozen=True, slots=True)
class MembersMessage:
    """A request: the id of its service, which may be empty, and its members."""

    service: str
    members: dict[str, GatewayValue]


def read_message(data: bytes, max_size: int, max_fields: int) -> MembersMessage:
    """Read an `InferRequest` or a `SessionRequest`.

    Raises HttpError 413 if it is larger than `max_size` bytes; AseError 10163 if it cannot be
    decoded, or has more than `max_fields` fields.
    """
    if len(data) > max_size:
        raise HttpError(413, f"the message is larger than {max_size} bytes")
    if len(data) > _UNSCANNED_BYTES:
        _check_field_count(data, max_fields)
    try:
        request = InferRequest.FromString(data)
    except DecodeError:
        raise AseError(BAD_REQUEST, _UNDECODABLE) from None
    return MembersMessage(request.service, dict(request.members))


def to_values(members: Mapping[str, GatewayValue]) -> dict[str, Any]:
    """Return the values of members by name, for an `EnvelopeBuilder`.

    Raises PlainRequestError for a value that JSON cannot have.
    """
    return {name: _to_value(name, value) for name, value in members.items()}


def encode_outputs(outputs: Sequence[DecodedOutput]) -> bytes:
    """Return outputs as an `InferResponse` or a `SessionResponse`.

    Text is a text, JSON is JSON, anything else bytes with their media type. So is text that does
    not have the encoding that the loader names.
    """
    response = InferResponse()
    for output in outputs:
        value = response.members[output.name]
        if output.is_json:
            value.json = output.data.decode()
        elif output.data_type is DataType.TEXT:
            _set_text(value, output)
        else:
            value.data = output.data
            value.media_type = media_type_of(output.data_type, output.encoding)
    return response.SerializeToString()


def _to_value(name: str, value: GatewayValue) -> Any:
    match value.WhichOneof("kind"):
        case "text":
            if "\0" in value.text:
                raise PlainRequestError(name, "has a NUL")
            return value.text
        case "data":
            return Blob(value.data, value.media_type)
        case "integer":
            return value.integer
        case "number":
            if not math.isfinite(value.number):
                raise PlainRequestError(name, "must be a finite number")
            return value.number
        case "boolean":
            return value.boolean
        case "json":
            return JsonText(value.json)
    return None


def _set_text(value: GatewayValue, output: DecodedOutput) -> None:
    try:
        value.text = output.data.decode(output.codec)
    except UnicodeError:
        value.data = output.data
        value.media_type = f"text/plain; charset={output.codec}"


def _check_field_count(data: bytes, limit: int) -> None:
    """Raise AseError 10163 if a message has more than `limit` fields.

    A message of two-byte fields would take the event loop for a second. A malformed one is not
    read to its end: the decoder refuses it.
    """
    count = 0
    levels = [_fields(data, 0, len(data))]
    while levels:
        field = next(levels[-1], None)
        if field is None:
            levels.pop()
            continue
        count += 1
        if count > limit:
            raise AseError(BAD_REQUEST, f"the message has more than {limit} fields")
        number, start, end = field
        if number == _MEMBERS_FIELD and len(levels) < _DEPTH:
            levels.append(_fields(data, start, end))


def _fields(data: bytes, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field, and where its content starts and ends.

    A field that is not length-delimited has no content. Source: protobuf "Encoding".
    """
    while offset < end:
        tag, offset = _read_varint(data, offset, end)
        start = offset
        match tag & 7:
            case 0:
                _, offset = _read_varint(data, offset, end)
                start = offset
            case 1:
                start = offset = offset + 8
            case 2:
                size, start = _read_varint(data, offset, end)
                offset = start + size
            case 5:
                start = offset = offset + 4
            case _:  # a group, whose end the scan would have to find, or no type at all
                raise AseError(BAD_REQUEST, _UNDECODABLE)
        if offset > end:
            return
        yield tag >> 3, start, offset


def _read_varint(data: bytes, offset: int, end: int) -> tuple[int, int]:
    """Return a varint and the offset after it; beyond `end` if it is malformed."""
    number = shift = 0
    while offset < end and shift < 70:
        byte = data[offset]
        offset += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, offset
        shift += 7
    return 0, end + 1
