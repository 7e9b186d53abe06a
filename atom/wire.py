"""Protobuf's wire format for the kinds of fields in a frame: strings, bytes, maps. Pure.

Most parts of a frame are known when its service is loaded. Joining encoded parts costs a fraction
of building message objects for each request. Source: protobuf "Encoding".
"""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from schemas.model.text import as_text
from schemas.wire import LoaderOutput

NO_UNITS: Final[Mapping[str, int]] = {}


def varint(number: int) -> bytes:
    """Encode a non-negative integer as a varint."""
    if number < 128:
        return _LAST_BYTES[number]
    if number < 16384:
        return _CONTINUED_BYTES[number & 127] + _LAST_BYTES[number >> 7]
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_LAST_BYTES: Final = [bytes((number,)) for number in range(128)]
_CONTINUED_BYTES: Final = [bytes((number | 128,)) for number in range(128)]


def tag(field: int) -> bytes:
    """Return the tag of a length-delimited field: a string, bytes, a message or a map entry."""
    return varint(field << 3 | 2)


def length_delimited(field_tag: bytes, value: bytes) -> bytes:
    """Encode a length-delimited field."""
    return field_tag + varint(len(value)) + value


def map_entry(field_tag: bytes, key: bytes, value: bytes) -> bytes:
    """Encode an entry of a `map<string, string>` field. `field_tag` is the tag of the map."""
    message = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(value)) + value
    return field_tag + varint(len(message)) + message


def map_entries(field_tag: bytes, members: dict[str, Any], excluded: dict[str, Any]) -> bytes:
    """Encode the members of an object that are not in `excluded`, as entries of a map field.

    `field_tag` is the tag of the map.
    """
    entries = []
    for name, value in members.items():
        if name not in excluded:
            text = value if type(value) is str else as_text(value)
            entries.append(map_entry(field_tag, name.encode(), text.encode()))
    return b"".join(entries)


def payload_head(payload_tag: bytes, meta: bytes, attributes: bytes, data_size: int) -> bytes:
    """Encode a payload but for the bytes of its data, which follow.

    Its meta is the bytes of `meta` and `attributes`. `payload_tag` is the tag of payloads.
    """
    meta_size = varint(len(meta) + len(attributes))
    head = b"\x0a" + meta_size + meta + attributes + b"\x12" + varint(data_size)
    return payload_tag + varint(len(head) + data_size) + head


def read_status(frame: bytes) -> int:
    """Return the status of a serialized LoaderOutput; 0 if the bytes are malformed."""
    offset, end, status = 0, len(frame), 0
    try:
        while offset < end:
            field_tag = frame[offset]
            if field_tag == _STATUS_TAG:
                status, offset = _read_varint(frame, offset + 1)
            elif field_tag & 7 == 2:
                size, offset = _read_varint(frame, offset + 1)
                offset += size
            else:
                _, offset = _read_varint(frame, offset + 1)
    except IndexError:
        return 0
    return status


def read_payloads(frame: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return (serialized meta, data) of each payload of a serialized LoaderOutput.

    Return None if the frame has other fields than a service id, a status, payloads and units, or if
    a payload is not a meta followed by data. The caller then parses it with the protobuf library.
    """
    payloads: list[tuple[bytes, bytes]] = []
    offset, end = 0, len(frame)
    try:
        while offset < end:
            field_tag = frame[offset]
            if field_tag == _STATUS_TAG and frame[offset + 1] < 128:
                offset += 2
                continue
            if field_tag not in (_SERVICE_ID_TAG, _PAYLOAD_TAG, _UNITS_TAG):
                return None
            size, offset = _read_varint(frame, offset + 1)
            payload_end = offset + size
            if field_tag == _PAYLOAD_TAG:
                if payload_end > end or frame[offset] != _META_TAG:
                    return None
                size, meta_start = _read_varint(frame, offset + 1)
                offset = meta_start + size
                if frame[offset] != _DATA_TAG:
                    return None
                size, data_start = _read_varint(frame, offset + 1)
                if data_start + size != payload_end:
                    return None
                payloads.append((frame[meta_start:offset], frame[data_start:payload_end]))
            offset = payload_end
    except IndexError:
        return None
    return payloads if offset == end else None


def read_units(frame: bytes) -> Mapping[str, int]:
    """Return the units of a serialized LoaderOutput, by name; empty if the bytes are malformed."""
    offset, end = 0, len(frame)
    try:
        while offset < end:
            field_tag = frame[offset]
            if field_tag == _UNITS_TAG:
                return dict(LoaderOutput.FromString(frame).units)
            size, offset = _read_varint(frame, offset + 1)
            if field_tag & 7 == 2:
                offset += size
    except (IndexError, DecodeError):
        pass
    return NO_UNITS


def _read_varint(frame: bytes, offset: int) -> tuple[int, int]:
    """Return a varint and the offset after it. Raises IndexError for more than four bytes."""
    byte = frame[offset]
    if byte < 128:
        return byte, offset + 1
    value, shift = byte & 127, 7
    while True:
        offset += 1
        byte = frame[offset]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset + 1
        shift += 7
        if shift > 21:
            raise IndexError


# Tags of LoaderOutput and Payload. Their field numbers never change (`docs/wire.md`).
_SERVICE_ID_TAG: Final = 0x0A
_STATUS_TAG: Final = 0x20
_PAYLOAD_TAG: Final = 0x2A
_META_TAG: Final = 0x0A
_DATA_TAG: Final = 0x12
_UNITS_TAG: Final = 0x7A
