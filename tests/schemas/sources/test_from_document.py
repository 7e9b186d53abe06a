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
        PayloadStream("order", DataType.TEXT, value_schema={"type": "object"}),
    ),
    outputs=(
        PayloadStream("t", DataType.TEXT, ("utf8",), "json", description="what was said"),
        PayloadStream("n", DataType.TEXT, format="json", value_schema={"type": "integer"}),
    ),
    annotations={"group": "gas", "region": "dx"},
)


@pytest.mark.parametrize("api", [API, FULL], ids=lambda api: api.id)
def test_declaration_round_trips(api: Declaration) -> None:
    declaration, lost = declaration_from_document(declare.declaration_to_document(api))
    assert lost == []
    assert declaration == api


def test_lost_members_are_listed() -> None:
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
    declaration, _ = declaration_from_document(json.loads(golden.read_text(encoding="utf-8")))
    service = document.service_from_document(document.parse(golden.read_bytes()))
    assert {stream.name: stream.data_type for stream in declaration.inputs} == service.inputs
    assert {stream.name: stream.data_type for stream in declaration.outputs} == service.accepts


def test_invalid_document_is_rejected() -> None:
    with pytest.raises(DocumentError):
        declaration_from_document({"meta": {}})


@pytest.mark.parametrize(
    ("type_name", "format_name", "data_type"),
    [
        ("image", "", DataType.IMAGE), ("vedio", "", DataType.VIDEO),
        ("base64", "jpg", DataType.IMAGE),
        ("base64", "WAV", DataType.AUDIO), ("base64", "mp4", DataType.VIDEO),
        ("base64", "json", DataType.TEXT), ("base64", "", DataType.OTHER), ("picture", "", None),
    ],
)  # fmt: skip
def test_data_type_of_payload(type_name: str, format_name: str, data_type: Any) -> None:
    assert data_type_of(type_name, format_name) is data_type


def test_differences_are_reported_at_the_highest_level() -> None:
    old: Any = {"a": {"b": 1, "c": [1]}, "d": 1}
    new: Any = {"a": {"b": 2, "c": [2]}, "e": 1}
    assert list(differences(old, new, ())) == ["a.b", "a.c", "d", "e"]
