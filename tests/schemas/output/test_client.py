"""A client made from a schema: typed, of the standard library alone, and it names what it can."""

import ast
import dataclasses

from schemas.model import document
from schemas.model.service import DataType
from schemas.output.client import render_client
from schemas.sources.declare import (
    Declaration,
    Param,
    PayloadStream,
    declaration_to_document,
)
from schemas.sources.from_document import declaration_from_document
from tests.schemas.sources.test_declare import API


def source_of(api: Declaration) -> str:
    return render_client(api, document.service_from_document(declaration_to_document(api)))


def signature(api: Declaration, name: str = "call") -> str:
    tree = ast.parse(source_of(api))
    (call,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    return ast.unparse(call.args)


def test_arguments_are_inputs_and_parameters() -> None:
    assert signature(API) == (
        "page: bytes, *, url: str, app_id: str, lang: Literal['en', 'zh'], "
        "hint: bytes | None=None, voice: bytes | None=None, size: int | None=None, "
        "timeout: float=30.0"
    )


def test_streaming_service_has_call_and_stream() -> None:
    api = dataclasses.replace(API, streaming=True)
    assert signature(api, "stream") == signature(api) == signature(API)
    assert "def stream" not in source_of(API)


def test_invalid_or_reserved_names_are_adapted() -> None:
    api = Declaration(
        "x-y",
        params=(
            Param("class", {"type": "string|number"}),
            Param("url", {"type": "boolean"}),
            Param("7", {"type": "array"}),
            Param("a-b", {}),
        ),
        inputs=(PayloadStream("a_b", DataType.TEXT),),
        outputs=(
            PayloadStream("self", DataType.TEXT),
            PayloadStream("t", DataType.TEXT, format="json"),
            PayloadStream("o-1", DataType.TEXT),
            PayloadStream("o_1", DataType.TEXT),
        ),
    )
    rendered = signature(api)
    assert "a_b: bytes, " in rendered
    for argument in (
        "class_: str | float | None",
        "url_: bool | None",
        "_7: Any | None",
        "a_b_: Any",
    ):
        assert argument in rendered
    assert "self_: bytes" in source_of(api)
    assert "t: Any" in source_of(api)
    assert "o_1: bytes\n    o_1_: bytes" in source_of(api)


def test_header_and_nicks_are_those_of_the_schema() -> None:
    """The header of public schemas is closed, with `appid` and without a status."""
    header = {"appid": {"type": "string"}, "uid": {"type": "string"}, "n": {"type": "integer"}}
    parameter = {
        "first": {"type": "object", "properties": {"a": {"type": "string"}}},
        "second": {"type": "object", "properties": {"b": {"type": "string"}}},
    }
    schema_document = {
        "meta": {
            "serviceId": "x", "service": ["first", "second"],
            "first": {"input": {}, "accept": {}}, "second": {"input": {}, "accept": {}},
        },
        "schemainput": {"type": "object", "properties": {
            "header": {"type": "object", "properties": header, "required": ["appid", "n"]},
            "parameter": {"type": "object", "properties": parameter},
        }},
        "schemaoutput": {},
    }  # fmt: skip
    api, _ = declaration_from_document(schema_document)
    source = render_client(api, document.service_from_document(schema_document))
    assert "app_id: str,\n    n: int,\n    a: str | None = None," in source
    assert "header: dict[str, Any] = {'appid': app_id, 'n': n}" in source
    assert "{('first', 'a'): a, ('second', 'b'): b}" in source
