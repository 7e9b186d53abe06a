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


def message(head: Any, tail: bytes = b"") -> bytes:
    told = json.dumps(head).encode()
    return len(told).to_bytes(4, "big") + told + tail


def test_a_result_and_an_error() -> None:
    told = json.loads(messages.encode_result_envelope("s" * 32, 'c"', b'{"a":1}', 1))
    header = {"code": 0, "message": "success", "sid": "s" * 32, "status": 1, "cid": 'c"'}
    assert told == {"header": header, "payload": {"a": 1}}
    assert "payload" not in json.loads(messages.encode_result_envelope("s", "", b"{}", 0))
    told = json.loads(messages.encode_error_envelope("s", "c", AseError(LOADER_FULL, "no room")))
    assert told["header"] == {
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
    assert messages.split_binary(message({"a": 1}, b"tail")) == (b'{"a": 1}', b"tail")


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\5{}", b"\xff" * 9])
def test_what_is_no_binary_message(data: bytes) -> None:
    with pytest.raises(AseError, match="a binary message is"):
        messages.split_binary(data)


def test_the_tail_is_of_the_payload_without_data() -> None:
    told: dict[str, Any] = {"payload": {"voice": {"status": 0}, "text": {"text": "aGk="}}}
    messages.attach_tail(told, b"\0\1", SERVICE)
    assert told["payload"]["voice"]["audio"] == base64.b64encode(b"\0\1").decode()
    nothing: dict[str, Any] = {"header": {"status": 2}}
    messages.attach_tail(nothing, b"", SERVICE)
    assert nothing == {"header": {"status": 2}}


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"voice": {"audio": "aGk="}}, {"voice": {}, "text": {}}, {"other": {}}, []],
)
def test_a_tail_that_is_nobodys(payload: Any) -> None:
    with pytest.raises(AseError, match="one payload is without data"):
        messages.attach_tail({"payload": payload}, b"x", SERVICE)


def test_a_result_as_bytes() -> None:
    payload = {"voice": {"audio": "AAE=", "seq": 1}, "text": {"text": "aGk="}}
    told = messages.to_binary(json.dumps({"header": {}, "payload": payload}).encode())
    head, tail = messages.split_binary(told)
    assert tail == b"\0\1"
    assert json.loads(head)["payload"] == {"voice": {"seq": 1}, "text": {"text": "aGk="}}
    as_it_is = b'{"header":{},"payload":{"a":{"text":"abcd","format":"json"}}}'
    assert messages.split_binary(messages.to_binary(as_it_is)) == (as_it_is, b""), (
        "JSON that is a text"
    )
    head, tail = messages.split_binary(
        messages.to_binary(b'{"header":{},"payload":{"a":{"text":{"b":1}}}}')
    )
    assert tail == b""
