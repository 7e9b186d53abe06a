"""The messages of a WebSocket: envelopes as text, or as `ase.binary.v1`. Pure.

A binary message is the length of a head, four bytes, big-endian; the head, an envelope whose one
payload without data is the tail's; and the tail, raw bytes.
"""

import json
from typing import Any, Final

import jiter
import pybase64

from schemas.errors import BAD_REQUEST, AseError
from schemas.service import DataType, Service

BINARY: Final = "ase.binary.v1"
_LENGTH: Final = 4
_KEYS: Final = frozenset(kind.key for kind in DataType)
_RESULT: Final = b'{"header":{"code":0,"message":"success","sid":"%b","status":%d%b}%b}'


def result(sid: str, cid: str, payload: bytes, status: int) -> bytes:
    """Return a result; `payload` is a JSON object, {} is left out."""
    told = b',"cid":' + json.dumps(cid).encode() if cid else b""
    tail = b"" if payload == b"{}" else b',"payload":' + payload
    return _RESULT % (sid.encode(), status, told, tail)


def failure(sid: str, cid: str, error: AseError) -> bytes:
    """Return an error."""
    header = {"code": error.spec.code, "message": str(error)[:2048], "sid": sid, "status": 0}
    return json.dumps({"header": header | ({"cid": cid} if cid else {})}).encode()


def is_text(message: bytes) -> bool:
    """Return whether a message is UTF-8."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def split(message: bytes) -> tuple[bytes, bytes]:
    """Return head and tail of a binary message. Raises AseError 10163."""
    size = int.from_bytes(message[:_LENGTH], "big")
    if len(message) < _LENGTH + size or not size:
        raise AseError(BAD_REQUEST, "a binary message is a length (4 bytes), a head, and a tail")
    return message[_LENGTH : _LENGTH + size], message[_LENGTH + size :]


def join(told: dict[str, Any], tail: bytes, service: Service) -> None:
    """Put a tail where its head wants it: into the one payload that has no data.

    Raises AseError 10163 when there is none, or more than one.
    """
    payload = told.get("payload")
    streams = payload if isinstance(payload, dict) else {}
    kinds = service.inputs
    without = [
        name
        for name, stream in streams.items()
        if isinstance(stream, dict) and name in kinds and kinds[name].key not in stream
    ]
    if len(without) == 1:
        name = without[0]
        streams[name][kinds[name].key] = pybase64.b64encode(tail).decode()
    elif tail or without:
        words = "of a binary message one payload is without data: the tail is its own"
        raise AseError(BAD_REQUEST, words)


def binary(message: bytes) -> bytes:
    """Return an envelope as a binary message, the data of its first base64 payload as its tail."""
    told = jiter.from_json(message)
    tail = b""
    for stream in told.get("payload", {}).values():
        key = next((key for key in _KEYS & stream.keys() if isinstance(stream[key], str)), "")
        if key and stream.get("format") != "json":  # which may be a text, as it is
            tail = pybase64.b64decode(stream.pop(key))
            break
    head = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    return len(head).to_bytes(_LENGTH, "big") + head + tail
