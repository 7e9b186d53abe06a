"""Protobuf's wire format for the few kinds of fields a frame has: strings, bytes, maps. Pure.

A frame is written once per request, from parts of which most are known when a service is loaded;
put together by hand it costs a fraction of building messages. Source: protobuf "Encoding".
"""

from typing import Final


def varint(number: int) -> bytes:
    """Return a number that is not negative as a varint."""
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
    """Return the tag of a field that has a length: a string, bytes, a message, a map's entry."""
    return varint(field << 3 | 2)


def length_delimited(field_tag: bytes, value: bytes) -> bytes:
    """Return a field with its length; `key` is its tag."""
    return field_tag + varint(len(value)) + value


def map_entry(field_tag: bytes, key: bytes, value: bytes) -> bytes:
    """Return an entry of a map of strings; `key` is the map's tag."""
    message = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(value)) + value
    return field_tag + varint(len(message)) + message


def read_status(frame: bytes) -> int:
    """Return the status of a serialised LoaderOutput; 0 for bytes that are none."""
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
    """Return (meta, data) of each payload of a serialised LoaderOutput, both as they stand there.

    None for a frame with anything but a service id, a status and payloads in their plain order:
    the protobuf library is to read that one.
    """
    payloads: list[tuple[bytes, bytes]] = []
    offset, end = 0, len(frame)
    try:
        while offset < end:
            field_tag = frame[offset]
            if field_tag == _STATUS_TAG and frame[offset + 1] < 128:
                offset += 2
                continue
            if field_tag not in (_SERVICE_ID_TAG, _PAYLOAD_TAG):
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


def _read_varint(frame: bytes, offset: int) -> tuple[int, int]:
    """Return a varint of at most four bytes, and where it ends."""
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


# The tags of LoaderOutput and Payload; their numbers never change (reference "ase-wire" 3.2).
_SERVICE_ID_TAG: Final = 0x0A
_STATUS_TAG: Final = 0x20
_PAYLOAD_TAG: Final = 0x2A
_META_TAG: Final = 0x0A
_DATA_TAG: Final = 0x12
