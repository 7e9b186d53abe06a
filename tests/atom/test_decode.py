"""Frames to JSON: every golden file to the byte, and outputs that were never declared."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from atom.decode import Decoder
from schemas.model import document
from schemas.model.errors import BAD_OUTPUT, INPUT_REFUSED, AseError, ErrorSource
from schemas.wire import LoaderOutput, MetaDesc, Payload

GOLDEN = Path(__file__).parent.parent / "golden"
SERVICE = document.service_from_document(json.loads((GOLDEN / "service.json").read_text()))
FILES = sorted((GOLDEN / "decode").glob("*.txt"))


def encode_output(fields: dict[str, Any]) -> bytes:
    message = LoaderOutput()
    json_format.ParseDict(fields, message)
    return message.SerializeToString()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_decode_matches_golden_file(path: Path) -> None:
    output_json, expected = path.read_text(encoding="utf-8").split("----------\n")
    text = Decoder(SERVICE).decode(encode_output(json.loads(output_json)))
    assert text.decode() == expected.rstrip("\n")
    json.loads(text)


def test_golden_files_exist() -> None:
    assert len(FILES) >= 15


@pytest.mark.parametrize(
    "meta",
    [
        {"name": "surprise"},
        {"name": "words", "dataType": "IMAGE"},
        {"name": ""},
        {"name": "x" * 999},
    ],
    ids=str,
)
def test_undeclared_output_is_10106(meta: dict[str, Any]) -> None:
    with pytest.raises(AseError) as caught:
        Decoder(SERVICE).decode(encode_output({"pl": [{"meta": meta}]}))
    assert caught.value.spec is BAD_OUTPUT
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("data", [b'{"a":', b"[NaN]", b"[Infinity]", b'{"a":1} x', b"\xff", b" "])
def test_data_that_is_no_json_loses_that_label(data: bytes) -> None:
    """And is no error: a client may ask for the label, and must not make a loader fail."""
    meta = MetaDesc(name="words", attribute={"format": "json", "encoding": "utf8"})
    frame = LoaderOutput(pl=[Payload(meta=meta, data=data)]).SerializeToString()
    expected = {"words": {"text": base64.b64encode(data).decode(), "encoding": "utf8"}}
    assert json.loads(Decoder(SERVICE).decode(frame)) == expected
    assert json.loads(Decoder(SERVICE).decode_result(frame)[0]) == expected


def test_output_labelled_as_json_may_be_empty() -> None:
    """The last result of a session often is."""
    meta = MetaDesc(name="words", attribute={"format": "json"})
    frame = LoaderOutput(pl=[Payload(meta=meta)]).SerializeToString()
    assert Decoder(SERVICE).decode(frame) == b'{"words":{"text":"","format":"json"}}'


def test_unary_call_without_a_declared_output_is_10106() -> None:
    frame = LoaderOutput().SerializeToString()
    with pytest.raises(AseError, match="returned no output; declared: 'words'") as caught:
        Decoder(SERVICE).decode(frame)
    assert caught.value.spec is BAD_OUTPUT
    assert Decoder(SERVICE).decode_result(frame) == (b"{}", 0), "a result of a session may be empty"
    assert Decoder(replace(SERVICE, nicks=())).decode(frame) == b"{}"


def test_nonzero_code_is_a_loader_error() -> None:
    with pytest.raises(AseError, match="too dark") as caught:
        Decoder(SERVICE).decode(LoaderOutput(code=10107, err="too dark").SerializeToString())
    assert caught.value.spec is INPUT_REFUSED
    with pytest.raises(AseError, match="loader error") as caught:
        Decoder(SERVICE).decode(LoaderOutput(code=-3).SerializeToString())
    assert (caught.value.spec.code, caught.value.spec.source) == (-3, ErrorSource.LOADER)


def test_duplicate_output_is_10106() -> None:
    payloads = [{"meta": {"name": "words"}}, {"meta": {"name": "words"}}]
    with pytest.raises(AseError, match="twice") as caught:
        Decoder(SERVICE).decode(encode_output({"pl": payloads}))
    assert caught.value.spec is BAD_OUTPUT


@pytest.mark.parametrize("text", ["9" * 400, "1_000", "\uff11\uff12", "1e999", "nan", " 5", "0x1"])
def test_non_json_number_stays_a_string(text: str) -> None:
    pl = [{"meta": {"name": "words", "attribute": {"seq": text}}}]
    assert json.loads(Decoder(SERVICE).decode(encode_output({"pl": pl})))["words"]["seq"] == text


@pytest.mark.parametrize(
    "output_schema", ["x", 3, [], {"properties": "x"}, {"properties": {"seq": 5}}], ids=str
)
def test_malformed_output_schema_converts_no_types(output_schema: Any) -> None:
    schemaoutput = {"properties": {"payload": {"properties": {"words": output_schema}}}}
    text = Decoder(replace(SERVICE, output=schemaoutput)).decode(
        encode_output({"pl": [{"meta": {"name": "words"}}]})
    )
    assert json.loads(text) == {"words": {"text": ""}}
