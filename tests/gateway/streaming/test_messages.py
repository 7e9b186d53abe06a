"""Envelopes as text and as bytes."""

import base64
import json
from typing import Any

import pytest

from gateway.streaming import messages
from schemas.model.errors import LOADER_FULL, AseError
from schemas.model.service import DataType, Nick, Service

SERVICE = Service(
    "s",
    "1",
    "ase",
    (Nick("s", {"voice": DataType.AUDIO, "text": DataType.TEXT}, {}),),
    {},
    {},
)


def encode_message(head_json: Any, tail: bytes = b"") -> bytes:
    encoded_head = json.dumps(head_json).encode()
    return len(encoded_head).to_bytes(4, "big") + encoded_head + tail


def test_result_and_error_envelopes() -> None:
    envelope = json.loads(messages.encode_result_envelope("s" * 32, 'c"', b'{"a":1}', 1))
    header = {"code": 0, "message": "success", "sid": "s" * 32, "status": 1, "cid": 'c"'}
    assert envelope == {"header": header, "payload": {"a": 1}}
    assert "payload" not in json.loads(messages.encode_result_envelope("s", "", b"{}", 0))
    envelope = json.loads(
        messages.encode_error_envelope("s", "c", AseError(LOADER_FULL, "no room"))
    )
    assert envelope["header"] == {
        "code": 10110,
        "message": "no room",
        "sid": "s",
        "status": 0,
        "cid": "c",
    }


def test_a_text_is_utf_8() -> None:
    assert messages.is_utf8("é".encode())
    assert not messages.is_utf8(b"\xff")


def test_head_and_tail() -> None:
    assert messages.split_binary(encode_message({"a": 1}, b"tail")) == (b'{"a": 1}', b"tail")


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\5{}", b"\xff" * 9])
def test_invalid_binary_messages(data: bytes) -> None:
    with pytest.raises(AseError, match="a binary message is"):
        messages.split_binary(data)


def test_tail_goes_to_the_payload_without_data() -> None:
    envelope: dict[str, Any] = {"payload": {"voice": {"status": 0}, "text": {"text": "aGk="}}}
    messages.attach_tail(envelope, b"\0\1", SERVICE)
    assert envelope["payload"]["voice"]["audio"] == base64.b64encode(b"\0\1").decode()
    without_payload: dict[str, Any] = {"header": {"status": 2}}
    messages.attach_tail(without_payload, b"", SERVICE)
    assert without_payload == {"header": {"status": 2}}


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"voice": {"audio": "aGk="}}, {"voice": {}, "text": {}}, {"other": {}}, []],
)
def test_ambiguous_tail_is_rejected(payload: Any) -> None:
    with pytest.raises(AseError, match="one payload is without data"):
        messages.attach_tail({"payload": payload}, b"x", SERVICE)


def test_result_as_binary_message() -> None:
    payload = {"voice": {"audio": "AAE=", "seq": 1}, "text": {"text": "aGk="}}
    binary_message = messages.to_binary(json.dumps({"header": {}, "payload": payload}).encode())
    head, tail = messages.split_binary(binary_message)
    assert tail == b"\0\1"
    assert json.loads(head)["payload"] == {"voice": {"seq": 1}, "text": {"text": "aGk="}}
    without_data = b'{"header":{},"payload":{"a":{"text":"abcd","format":"json"}}}'
    assert messages.split_binary(messages.to_binary(without_data)) == (without_data, b""), (
        "JSON that is a text"
    )
    head, tail = messages.split_binary(
        messages.to_binary(b'{"header":{},"payload":{"a":{"text":{"b":1}}}}')
    )
    assert tail == b""
