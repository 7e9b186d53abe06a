"""The messages of a WebSocket: envelopes as text, or as `ase.binary.v1`. Pure.

A binary message is the length of a head, four bytes, big-endian; the head, an envelope whose one
payload without data is the tail's; and the tail, raw bytes.
"""

import json
from typing import Any, Final

import jiter
import pybase64

from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.service import DataType, Service

BINARY_SUBPROTOCOL: Final = "ase.binary.v1"
_LENGTH_PREFIX_BYTES: Final = 4
_DATA_KEYS: Final = frozenset(kind.key for kind in DataType)
_RESULT_TEMPLATE: Final = b'{"header":{"code":0,"message":"success","sid":"%b","status":%d%b}%b}'


def encode_result(sid: str, cid: str, payload: bytes, status: int) -> bytes:
    """Return a result; `payload` is a JSON object, {} is left out."""
    cid_member = b',"cid":' + json.dumps(cid).encode() if cid else b""
    payload_member = b"" if payload == b"{}" else b',"payload":' + payload
    return _RESULT_TEMPLATE % (sid.encode(), status, cid_member, payload_member)


def encode_error(sid: str, cid: str, error: AseError) -> bytes:
    """Return an error."""
    header = {"code": error.spec.code, "message": str(error)[:2048], "sid": sid, "status": 0}
    return json.dumps({"header": header | ({"cid": cid} if cid else {})}).encode()


def is_utf8(message: bytes) -> bool:
    """Return whether a message is UTF-8."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_binary(message: bytes) -> tuple[bytes, bytes]:
    """Return head and tail of a binary message. Raises AseError 10163."""
    head_size = int.from_bytes(message[:_LENGTH_PREFIX_BYTES], "big")
    if len(message) < _LENGTH_PREFIX_BYTES + head_size or not head_size:
        raise AseError(BAD_REQUEST, "a binary message is a length (4 bytes), a head, and a tail")
    return message[_LENGTH_PREFIX_BYTES : _LENGTH_PREFIX_BYTES + head_size], message[
        _LENGTH_PREFIX_BYTES + head_size :
    ]


def attach_tail(envelope: dict[str, Any], tail: bytes, service: Service) -> None:
    """Put a tail where its head wants it: into the one payload that has no data.

    Raises AseError 10163 when there is none, or more than one.
    """
    payload = envelope.get("payload")
    streams = payload if isinstance(payload, dict) else {}
    input_types = service.inputs
    missing_data = [
        name
        for name, stream in streams.items()
        if isinstance(stream, dict) and name in input_types and input_types[name].key not in stream
    ]
    if len(missing_data) == 1:
        name = missing_data[0]
        streams[name][input_types[name].key] = pybase64.b64encode(tail).decode()
    elif tail or missing_data:
        message = "of a binary message one payload is without data: the tail is its own"
        raise AseError(BAD_REQUEST, message)


def to_binary(message: bytes) -> bytes:
    """Return an envelope as a binary message, the data of its first base64 payload as its tail."""
    envelope = jiter.from_json(message)
    tail = b""
    for stream in envelope.get("payload", {}).values():
        key = next((key for key in _DATA_KEYS & stream.keys() if isinstance(stream[key], str)), "")
        if key and stream.get("format") != "json":  # which may be a text, as it is
            tail = pybase64.b64decode(stream.pop(key))
            break
    head = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
    return len(head).to_bytes(_LENGTH_PREFIX_BYTES, "big") + head + tail
