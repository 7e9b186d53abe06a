"""WebSocket messages: envelopes as text, or in the subprotocol `ase.binary.v1`. Pure.

A binary message consists of the length of its head (4 bytes, big-endian), the head and a tail. The
head is an envelope, in which one payload may lack its data. The tail is the raw data of that
payload.
"""

import json
from typing import Any, Final

import jiter
import pybase64

from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.service import DataType, Service

BINARY_SUBPROTOCOL: Final = "ase.binary.v1"
# Messages without envelopes: `docs/calling.md`.
PLAIN_SUBPROTOCOL: Final = "ase.json.v1"
_LENGTH_PREFIX_BYTES: Final = 4
_DATA_KEYS: Final = frozenset(kind.key for kind in DataType)
_RESULT_TEMPLATE: Final = b'{"header":{"code":0,"message":"success","sid":"%b","status":%d%b}%b}'


def encode_result_envelope(sid: str, cid: str, payload: bytes, status: int) -> bytes:
    """Return a result message, an envelope in JSON with code 0.

    `payload` is a serialized JSON object; `{}` is omitted. An empty `cid` is omitted. `status` is
    the `header.status`.
    """
    cid_member = b',"cid":' + json.dumps(cid).encode() if cid else b""
    payload_member = b"" if payload == b"{}" else b',"payload":' + payload
    return _RESULT_TEMPLATE % (sid.encode(), status, cid_member, payload_member)


def encode_error_envelope(sid: str, cid: str, error: AseError) -> bytes:
    """Return an error message, an envelope in JSON with status 0.

    The error's message is cut to 2048 characters. An empty `cid` is omitted.
    """
    header = {"code": error.spec.code, "message": str(error)[:2048], "sid": sid, "status": 0}
    return json.dumps({"header": header | ({"cid": cid} if cid else {})}).encode()


def is_utf8(message: bytes) -> bool:
    """Return whether a message is valid UTF-8."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_binary(message: bytes) -> tuple[bytes, bytes]:
    """Return the head and the tail of a binary message.

    Raises AseError 10163 if the head is empty, or longer than the rest of the message.
    """
    head_size = int.from_bytes(message[:_LENGTH_PREFIX_BYTES], "big")
    if len(message) < _LENGTH_PREFIX_BYTES + head_size or not head_size:
        raise AseError(BAD_REQUEST, "a binary message is a length (4 bytes), a head, and a tail")
    return message[_LENGTH_PREFIX_BYTES : _LENGTH_PREFIX_BYTES + head_size], message[
        _LENGTH_PREFIX_BYTES + head_size :
    ]


def attach_tail(envelope: dict[str, Any], tail: bytes, service: Service) -> None:
    """Insert `tail`, in base64, as the data of the one payload of `envelope` that has none.

    Only payloads that `service` declares count. Raises AseError 10163 if several of them have no
    data, or if all have data and `tail` is not empty.
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
    """Return an envelope as a binary message whose tail is the data of the first base64 payload.

    The data of further payloads stay in the head, in base64.
    """
    envelope = jiter.from_json(message)
    tail = b""
    for stream in envelope.get("payload", {}).values():
        key = next((key for key in _DATA_KEYS & stream.keys() if isinstance(stream[key], str)), "")
        if key and stream.get("format") != "json":  # embedded json may be a plain string
            tail = pybase64.b64decode(stream.pop(key))
            break
    head = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
    return len(head).to_bytes(_LENGTH_PREFIX_BYTES, "big") + head + tail
