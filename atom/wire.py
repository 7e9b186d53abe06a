"""Protobuf's wire format for the few kinds of fields a frame has: strings, bytes, maps. Pure.

A frame is written once per request, from parts of which most are known when a service is loaded;
put together by hand it costs a fraction of building messages. Source: protobuf "Encoding".
"""

from typing import Final


def varint(number: int) -> bytes:
    """Return a number that is not negative as a varint."""
    if number < 128:
        return _SMALL[number]
    if number < 16384:
        return _MORE[number & 127] + _SMALL[number >> 7]
    coded = bytearray()
    while number > 127:
        coded.append(number & 127 | 128)
        number >>= 7
    coded.append(number)
    return bytes(coded)


_SMALL: Final = [bytes((number,)) for number in range(128)]
_MORE: Final = [bytes((number | 128,)) for number in range(128)]


def tag(field: int) -> bytes:
    """Return the tag of a field that has a length: a string, bytes, a message, a map's entry."""
    return varint(field << 3 | 2)


def sized(key: bytes, value: bytes) -> bytes:
    """Return a field with its length; `key` is its tag."""
    return key + varint(len(value)) + value


def entry(key: bytes, name: bytes, value: bytes) -> bytes:
    """Return an entry of a map of strings; `key` is the map's tag."""
    told = b"\x0a" + varint(len(name)) + name + b"\x12" + varint(len(value)) + value
    return key + varint(len(told)) + told


def status(frame: bytes) -> int:
    """Return the status of a serialised LoaderOutput; 0 for bytes that are none."""
    at, end, told = 0, len(frame), 0
    try:
        while at < end:
            key = frame[at]
            if key == _STATUS:
                told, at = _length(frame, at + 1)
            elif key & 7 == 2:
                size, at = _length(frame, at + 1)
                at += size
            else:
                _, at = _length(frame, at + 1)
    except IndexError:
        return 0
    return told


def payloads(frame: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return (meta, data) of each payload of a serialised LoaderOutput, both as they stand there.

    None for a frame with anything but a service id, a status and payloads in their plain order:
    the protobuf library is to read that one.
    """
    found: list[tuple[bytes, bytes]] = []
    at, end = 0, len(frame)
    try:
        while at < end:
            key = frame[at]
            if key == _STATUS and frame[at + 1] < 128:
                at += 2
                continue
            if key not in (_OUTPUT_ID, _OUTPUT_PAYLOAD):
                return None
            size, at = _length(frame, at + 1)
            after = at + size
            if key == _OUTPUT_PAYLOAD:
                if after > end or frame[at] != _META:
                    return None
                size, begin = _length(frame, at + 1)
                at = begin + size
                if frame[at] != _DATA:
                    return None
                size, start = _length(frame, at + 1)
                if start + size != after:
                    return None
                found.append((frame[begin:at], frame[start:after]))
            at = after
    except IndexError:
        return None
    return found if at == end else None


def _length(frame: bytes, at: int) -> tuple[int, int]:
    """Return a varint of at most four bytes, and where it ends."""
    byte = frame[at]
    if byte < 128:
        return byte, at + 1
    size, shift = byte & 127, 7
    while True:
        at += 1
        byte = frame[at]
        size |= (byte & 127) << shift
        if byte < 128:
            return size, at + 1
        shift += 7
        if shift > 21:
            raise IndexError


# The tags of LoaderOutput and Payload; their numbers never change (reference "ase-wire" 3.2).
_OUTPUT_ID: Final = 0x0A
_STATUS: Final = 0x20
_OUTPUT_PAYLOAD: Final = 0x2A
_META: Final = 0x0A
_DATA: Final = 0x12
