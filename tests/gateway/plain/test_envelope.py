"""Envelopes from plain members; the other cases are in test_exchange, through a socket."""

import base64
from typing import Any

import pytest

from aseloader import declare
from config.options import GatewayOptions
from gateway.plain.envelope import Blob, EnvelopeBuilder, FormText, PlainRequestError
from schemas.model import document
from schemas.model.plain import PlainApi
from tests.wrappers.forms import Forms


def build(values: dict[str, Any]) -> dict[str, Any]:
    service = document.service_from_document(document.parse(declare.schema(Forms)))
    return EnvelopeBuilder(service, PlainApi(service)).build(values, "app", GatewayOptions())


def test_envelope_of_every_kind_of_member() -> None:
    envelope = build({"text": "hi", "data": [1], "width": 3, "thumbnail": {"encoding": "png"}})
    assert envelope == {
        "header": {"app_id": "app", "status": 3},
        "payload": {
            "text": {"status": 3, "text": base64.b64encode(b"hi").decode()},
            "data": {"status": 3, "text": base64.b64encode(b"[1]").decode()},
        },
        "parameter": {"forms": {"width": 3, "thumbnail": {"encoding": "png"}}},
    }


@pytest.mark.parametrize(
    ("blob", "encoding"),
    [
        (Blob(b"x", "image/jpeg"), "jpg"),
        (Blob(b"x", "", "a.PNG"), "png"),
        (Blob(b"x", "image/gif"), "gif"),
        (Blob(b"x"), None),
    ],
)
def test_encoding_of_a_file(blob: Blob, encoding: str | None) -> None:
    assert build({"picture": blob})["payload"]["picture"].get("encoding") == encoding


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("width", "7", 7),
        ("width", "7.5", 7.5),
        ("width", "x", "x"),
        ("width", "null", "null"),
        ("grey", "true", True),
        ("title", "7", "7"),
        ("thumbnail", '{"encoding":"png"}', {"encoding": "png"}),
    ],
)
def test_texts_get_the_type_of_their_parameter(name: str, text: str, value: Any) -> None:
    assert build({name: FormText(text)})["parameter"]["forms"][name] == value
    assert build({name: Blob(text.encode())})["parameter"]["forms"][name] == value


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(PlainRequestError, match="text: has a character that utf-8 has not"):
        build({"text": "\ud800"})


def test_text_of_another_encoding() -> None:
    stream = build({"text": {"data": "你好", "encoding": "gb2312"}})["payload"]["text"]
    assert (base64.b64decode(stream["text"]), stream["encoding"]) == (b"\xc4\xe3\xba\xc3", "gb2312")
    with pytest.raises(PlainRequestError, match="text: has a character that gb2312 has not"):
        build({"text": {"data": "😀", "encoding": "gb2312"}})


def test_json_of_a_file_is_checked() -> None:
    data = build({"data": Blob(b'{"a": 1}')})["payload"]["data"]["text"]
    assert base64.b64decode(data) == b'{"a": 1}', "unchanged"
    for value in (Blob(b"{"), FormText("{"), Blob(b"\xff")):
        with pytest.raises(PlainRequestError, match="data: must be JSON"):
            build({"data": value})


def test_required_member_of_the_header() -> None:
    document_text = declare.schema(Forms).replace(
        b'"required":["app_id"]', b'"required":["app_id","status","uid"]'
    )
    service = document.service_from_document(document.parse(document_text))
    builder = EnvelopeBuilder(service, PlainApi(service))
    envelope = builder.build({"header.uid": "u1"}, "app", GatewayOptions())
    assert envelope["header"] == {"app_id": "app", "status": 3, "uid": "u1"}
