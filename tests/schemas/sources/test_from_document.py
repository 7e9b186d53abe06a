"""Back from a document to a declaration: the same, or each loss by its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import DataType
from schemas.sources import declare
from schemas.sources.declare import Declaration, Param, PayloadStream
from schemas.sources.from_document import data_type_of, declaration_from_document, differences
from tests.schemas.sources.test_declare import API

FULL = Declaration(
    id="full",
    version="v2",
    sub="gas",
    params=(Param("lang", {"type": "string", "comment": {"JSON": {"type": "object"}}}, True),),
    inputs=(
        PayloadStream("a", DataType.AUDIO, ("pcm",), formats=("plain",), compress=("raw", "gzip")),
    ),
    outputs=(PayloadStream("t", DataType.TEXT, ("utf8",), "json", description="what was said"),),
    annotations={"group": "gas", "region": "dx"},
)


@pytest.mark.parametrize("api", [API, FULL], ids=lambda api: api.id)
def test_what_was_declared_comes_back(api: Declaration) -> None:
    told, lost = declaration_from_document(declare.declaration_to_document(api))
    assert lost == []
    assert told == api


def test_what_cannot_be_held_is_named() -> None:
    tree = declare.declaration_to_document(API)
    tree["meta"]["hosts"] = ["a.example"]
    tree["meta"]["codeMap"] = {"10163": 422}
    tree["schemainput"]["properties"]["header"]["properties"]["x"] = {"type": "string"}
    _, lost = declaration_from_document(tree)
    assert lost == [
        "meta.codeMap",
        "meta.hosts",
        "schemainput.properties.header.properties.x",
    ]


def test_an_original_document_keeps_its_parameters_and_payloads() -> None:
    golden = Path(__file__).parent.parent.parent / "golden/service.json"
    told, _ = declaration_from_document(json.loads(golden.read_text(encoding="utf-8")))
    service = document.service_from_document(document.parse(golden.read_bytes()))
    assert {s.name: s.data_type for s in told.inputs} == service.inputs
    assert {s.name: s.data_type for s in told.outputs} == service.accepts


def test_what_is_no_document_is_refused() -> None:
    with pytest.raises(DocumentError):
        declaration_from_document({"meta": {}})


@pytest.mark.parametrize(
    ("word", "shape", "kind"),
    [
        ("image", "", DataType.IMAGE), ("vedio", "", DataType.VIDEO),
        ("base64", "jpg", DataType.IMAGE),
        ("base64", "WAV", DataType.AUDIO), ("base64", "mp4", DataType.VIDEO),
        ("base64", "json", DataType.TEXT), ("base64", "", DataType.OTHER), ("picture", "", None),
    ],
)  # fmt: skip
def test_the_kind_of_a_payload(word: str, shape: str, kind: Any) -> None:
    assert data_type_of(word, shape) is kind


def test_differences_stand_as_high_as_they_can() -> None:
    one: Any = {"a": {"b": 1, "c": [1]}, "d": 1}
    other: Any = {"a": {"b": 2, "c": [2]}, "e": 1}
    assert list(differences(one, other, ())) == ["a.b", "a.c", "d", "e"]
