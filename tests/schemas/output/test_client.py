"""A client made from a schema: typed, of the standard library alone, and it names what it can."""

import ast
import dataclasses

from schemas.model.service import DataType
from schemas.output.client import render_client
from schemas.sources.declare import Declaration, Param, PayloadStream
from tests.schemas.sources.test_declare import API


def signature(api: Declaration, name: str = "call") -> str:
    tree = ast.parse(render_client(api))
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
    assert "def stream" not in render_client(API)


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
    assert "self_: bytes" in render_client(api)
    assert "t: Any" in render_client(api)
    assert "o_1: bytes\n    o_1_: bytes" in render_client(api)
