"""Frames to JSON: every golden file to the byte, and outputs that were never declared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from atom.decode import Decoder
from schemas.model import document
from schemas.model.errors import BAD_OUTPUT, INPUT_REFUSED, AseError, ErrorSource
from schemas.wire import LoaderOutput

GOLDEN = Path(__file__).parent.parent / "golden"
SERVICE = document.service_from_document(json.loads((GOLDEN / "service.json").read_text()))
FILES = sorted((GOLDEN / "decode").glob("*.txt"))


def output(told: dict[str, Any]) -> bytes:
    message = LoaderOutput()
    json_format.ParseDict(told, message)
    return message.SerializeToString()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    told, expected = path.read_text(encoding="utf-8").split("----------\n")
    text = Decoder(SERVICE).decode(output(json.loads(told)))
    assert text.decode() == expected.rstrip("\n")
    json.loads(text)


def test_there_are_files() -> None:
    assert len(FILES) >= 17


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
def test_an_undeclared_output_is_10106(meta: dict[str, Any]) -> None:
    with pytest.raises(AseError) as caught:
        Decoder(SERVICE).decode(output({"pl": [{"meta": meta}]}))
    assert caught.value.spec is BAD_OUTPUT
    assert len(str(caught.value)) < 150


def test_a_code_is_the_loader_s_own() -> None:
    with pytest.raises(AseError, match="too dark") as caught:
        Decoder(SERVICE).decode(LoaderOutput(code=10107, err="too dark").SerializeToString())
    assert caught.value.spec is INPUT_REFUSED
    with pytest.raises(AseError, match="loader error") as caught:
        Decoder(SERVICE).decode(LoaderOutput(code=-3).SerializeToString())
    assert (caught.value.spec.code, caught.value.spec.source) == (-3, ErrorSource.LOADER)


def test_an_output_given_twice_is_10106() -> None:
    twice = [{"meta": {"name": "words"}}, {"meta": {"name": "words"}}]
    with pytest.raises(AseError, match="twice") as caught:
        Decoder(SERVICE).decode(output({"pl": twice}))
    assert caught.value.spec is BAD_OUTPUT


@pytest.mark.parametrize("text", ["9" * 400, "1_000", "\uff11\uff12", "1e999", "nan", " 5", "0x1"])
def test_what_is_no_json_number_stays_a_text(text: str) -> None:
    pl = [{"meta": {"name": "words", "attribute": {"seq": text}}}]
    assert json.loads(Decoder(SERVICE).decode(output({"pl": pl})))["words"]["seq"] == text


@pytest.mark.parametrize(
    "told", ["x", 3, [], {"properties": "x"}, {"properties": {"seq": 5}}], ids=str
)
def test_a_strange_schemaoutput_types_nothing(told: Any) -> None:
    tree = {"properties": {"payload": {"properties": {"words": told}}}}
    text = Decoder(replace(SERVICE, output=tree)).decode(
        output({"pl": [{"meta": {"name": "words"}}]})
    )
    assert json.loads(text) == {"words": {"text": ""}}
