"""A declaration as Python: it runs, says the same, and what it cannot say is named."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aseloader import declare as of_class
from schemas.model.service import DataType
from schemas.output.render import render_wrapper
from schemas.sources import declare, from_document, python_source
from schemas.sources.declare import Declaration, Param, PayloadStream

API = Declaration(
    id="image-detect",
    version="v2",
    description="Finds things.",
    deadline=9.0,
    idempotent=True,
    params=(
        Param("lang", {"type": "string", "enum": ["en", "zh"], "default": "en"}, required=True),
        Param("size", {"type": "integer", "minimum": 1, "maximum": 9, "description": "pixels"}),
        Param("rate", {"type": "number", "minimum": 0.5}),
        Param("exact", {"type": "boolean"}),
        Param("note", {"type": "string", "minLength": 0, "maxLength": 9, "pattern": "^a*$"}),
    ),
    inputs=(
        PayloadStream("page", DataType.IMAGE, ("png", "jpg"), max_bytes=6),
        PayloadStream("hint", DataType.TEXT, required=False),
    ),
    outputs=(
        PayloadStream("words", DataType.TEXT, format="json"),
        PayloadStream("voice", DataType.AUDIO, ("pcm",)),
    ),
)


def test_rendered_source_runs_and_declares_the_same() -> None:
    source, lost = render_wrapper(API)
    assert lost == []
    assert python_source.declaration_from_source(source) == API
    namespace: dict[str, Any] = {}
    exec(compile(source, "loader.py", "exec"), namespace)  # noqa: S102 (what a user would run)
    assert of_class.declaration(namespace["ImageDetect"]) == API


@pytest.mark.parametrize(
    ("rules", "lost_path"),
    [
        ({"type": "integer", "multipleOf": 3}, "parameter.properties.x.properties.p.multipleOf"),
        ({"type": "array", "items": {}}, "parameter.properties.x.properties.p.items"),
    ],
)
def test_inexpressible_rules_are_listed(rules: dict[str, Any], lost_path: str) -> None:
    api = Declaration(
        "x", params=(Param("p", rules),), outputs=(PayloadStream("t", DataType.TEXT),)
    )
    _, places = render_wrapper(api)
    assert any(place.endswith(lost_path) for place in places), places


def test_names_invalid_in_python() -> None:
    api = Declaration(
        "7-up",
        params=(Param("class", {"type": "integer"}), Param("a-b", {"type": "integer"})),
        outputs=(PayloadStream("t", DataType.TEXT),),
    )
    source, places = render_wrapper(api)
    assert "class Service7Up(Wrapper):" in source
    assert len([place for place in places if "schemainput.properties.parameter" in place]) == 2


def test_round_trip_has_no_differences() -> None:
    source, _ = render_wrapper(API)
    tree = declare.declaration_to_document(python_source.declaration_from_source(source))
    assert list(from_document.differences(declare.declaration_to_document(API), tree, ())) == []


TEXTS = st.text() | st.text(alphabet="\\\"'\n {}")


@given(TEXTS, TEXTS, st.lists(TEXTS, min_size=1, unique=True))
def test_any_texts_render_to_valid_source(description: str, note: str, choices: list[str]) -> None:
    params = (
        Param("lang", {"type": "string", "enum": choices, "description": note}),
        Param("note", {"type": "string", "default": note}),
    )
    api = replace(API, description=description, params=params)
    compile(render_wrapper(api)[0], "rendered.py", "exec")
