"""Messages of gRPC clients: values of members, limits, outputs."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atom.decode import DecodedOutput
from gateway.grpc import messages
from gateway.plain.envelope import Blob, JsonText, PlainRequestError
from gateway.request.response import HttpError
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.service import DataType
from schemas.wire import GatewayValue, InferRequest, InferResponse, SessionRequest, SessionResponse

LIMITS = (1 << 24, 10_000)  # bytes, fields
KINDS: list[tuple[dict[str, Any], Any]] = [
    ({"text": ""}, ""),
    ({"text": "é"}, "é"),
    ({"data": b"\xff", "media_type": "image/png"}, Blob(b"\xff", "image/png")),
    ({"integer": -(2**63)}, -(2**63)),
    ({"number": 0.1}, 0.1),
    ({"boolean": False}, False),
    ({"json": '{"a": [1, null]}'}, JsonText('{"a": [1, null]}')),
    ({}, None),
]


@pytest.mark.parametrize("message_type", [InferRequest, SessionRequest])
@pytest.mark.parametrize(("fields", "value"), KINDS)
def test_values_of_each_kind(message_type: Any, fields: dict[str, Any], value: Any) -> None:
    request = message_type(service="image", members={"width": GatewayValue(**fields)})
    message = messages.read_message(request.SerializeToString(), *LIMITS)
    assert message.service == "image"
    values = messages.to_values(message.members)
    assert values == {"width": value}
    assert type(values["width"]) is type(value)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"number": math.nan}, "must be a finite number"),
        ({"number": -math.inf}, "must be a finite number"),
        ({"text": "a\0b"}, "has a NUL"),
    ],
)
def test_values_that_json_cannot_have(fields: dict[str, Any], rule: str) -> None:
    with pytest.raises(PlainRequestError) as caught:
        messages.to_values({"scale": GatewayValue(**fields)})
    assert caught.value.name == "scale"
    assert caught.value.rule.startswith(rule)


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x01\xff", b"\x12\x02\x0a\x05", b"\xff" * 20])
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(AseError, match="the message cannot be decoded") as caught:
        messages.read_message(data, *LIMITS)
    assert caught.value.spec is BAD_REQUEST


def test_message_over_the_limit() -> None:
    request = InferRequest(members={"a": GatewayValue(data=b"x" * 93)}).SerializeToString()
    assert len(request) == 100 + 2
    messages.read_message(request, 102, 10)
    with pytest.raises(HttpError, match="the message is larger than 101 bytes") as caught:
        messages.read_message(request, 101, 10)
    assert caught.value.status == 413


MEMBER = InferRequest(members={"a": GatewayValue(integer=1)}).SerializeToString()
VALUE = b"\x18\x01"  # integer: 1
LONG_VALUE = b"\x12\xfe\xff\x7f" + VALUE * ((1 << 20) - 1)  # `value` of a member's entry
BOMBS = {
    "members": MEMBER * 300_000,
    "services": b"\x0a\x00" * 2_000_000,
    "unknown fields": b"\x78\x01" * 2_000_000,
    "fixed fields": b"\x7d1234" * 700_000,
    "values of a member": b"\x12\x82\x80\x80\x01" + LONG_VALUE,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_message_of_many_fields_is_refused_by_counting(bomb: bytes) -> None:
    with pytest.raises(AseError, match="the message has more than 10000 fields"):
        messages.read_message(bomb, *LIMITS)


@pytest.mark.parametrize("wire_type", [3, 4, 6, 7])
def test_scan_does_not_end_before_the_message(wire_type: int) -> None:
    """The decoder passes over a group, with whatever comes after it."""
    data = bytes([15 << 3 | wire_type, 15 << 3 | 4]) + MEMBER * 300_000
    with pytest.raises(AseError, match="the message cannot be decoded"):
        messages.read_message(data, *LIMITS)


def test_large_message_of_few_fields_is_taken() -> None:
    request = InferRequest(
        service="image",
        members={f"m{n}": GatewayValue(data=bytes(100_000)) for n in range(100)},
    )
    assert len(messages.read_message(request.SerializeToString(), *LIMITS).members) == 100


@given(st.binary(max_size=200), st.integers(0, 3))
def test_counting_reads_whatever_the_decoder_reads(data: bytes, nesting: int) -> None:
    """It ends without an error on any bytes, and never counts fewer fields than the decoder."""
    for _ in range(nesting):
        data = b"\x12" + bytes([len(data) & 127]) + data
    try:
        messages._check_field_count(data, 10_000)
        request = InferRequest.FromString(data)
    except Exception:  # noqa: BLE001 (of the decoder, whichever)
        return
    if request.members:
        with pytest.raises(AseError):
            messages._check_field_count(data, len(request.members) - 1)


def output(data: bytes, data_type: DataType, encoding: str = "", **fields: Any) -> DecodedOutput:
    return DecodedOutput(
        "out", data_type, encoding, data, fields.get("is_json", False), b'"out"',
        fields.get("codec", "utf-8"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("decoded", "value"),
    [
        (output("é".encode(), DataType.TEXT), GatewayValue(text="é")),
        (output(b"\xe9", DataType.TEXT, codec="latin-1"), GatewayValue(text="é")),
        (
            output(b"\xff", DataType.TEXT),
            GatewayValue(data=b"\xff", media_type="text/plain; charset=utf-8"),
        ),
        (output(b'{"a":1}', DataType.TEXT, is_json=True), GatewayValue(json='{"a":1}')),
        (output(b"PNG", DataType.IMAGE, "png"), GatewayValue(data=b"PNG", media_type="image/png")),
        (
            output(b"", DataType.OTHER),
            GatewayValue(data=b"", media_type="application/octet-stream"),
        ),
    ],
)
def test_outputs(decoded: DecodedOutput, value: GatewayValue) -> None:
    encoded = messages.encode_outputs([decoded])
    for response_type in (InferResponse, SessionResponse):
        assert dict(response_type.FromString(encoded).members) == {"out": value}


def test_no_outputs_are_an_empty_message() -> None:
    assert messages.encode_outputs([]) == b""
