"""A function as a service: what its signature declares, what it gets, what it returns."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
from PIL import Image

from aseloader import Context, Data, Input, Integer, Output, Refused, String, Wrapper, service
from aseloader.declare import DeclarationError, declaration
from aseloader.functions import wrapper_class_of
from aseloader.testing import LoaderError, LoaderFor
from schemas.model.service import DataType


@service("words", output="counts", total=2)
def words(text: str, top: int = 3) -> dict[str, int]:
    """Count the commonest words.

    And more.
    """
    return dict(Counter(text.split()).most_common(top))


@dataclass
class Box:
    left: int
    top: int = 0


class Odd:
    """Of no known form."""


class Label(TypedDict):
    name: str
    score: float


def declared(function: Any) -> Any:
    wrapper = wrapper_class_of(function)
    assert wrapper is not None
    return declaration(wrapper)


def test_signature_declares_the_api() -> None:
    api = declared(words)
    assert (api.id, api.description) == ("words", "Count the commonest words.")
    assert [(p.name, p.rules, p.required) for p in api.params] == [
        ("top", {"type": "integer", "default": 3}, False)
    ]
    (text,) = api.inputs
    assert (text.name, text.data_type, text.required) == ("text", DataType.TEXT, True)
    (counts,) = api.outputs
    assert (counts.name, counts.format) == ("counts", "json")
    assert counts.value_schema == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert wrapper_class_of(words).total == 2  # type: ignore[union-attr]


def test_function_stays_a_function() -> None:
    assert words("a b a", top=1) == {"a": 2}


def test_call() -> None:
    with LoaderFor(words) as call:
        assert call({"top": 1}, {"text": b"a b a"})["counts"].data == b'{"a":2}'
        with pytest.raises(LoaderError, match="10107: input 'text' is not UTF-8: byte 0"):
            call({}, {"text": b"\xff"})
        with pytest.raises(LoaderError, match="10163"):
            call({"top": "many"}, {"text": b"a"})


def test_every_kind_of_argument() -> None:
    seen: dict[str, Any] = {}

    @service("all")
    async def everything(
        data: bytes,
        picture: Image.Image,
        order: Box,
        scores: list[float],
        count: int,
        mode: Literal["fast", "slow"],
        context: Context,
        share: float = 0.5,
        flag: bool = False,
        name: str = "x",
        crop: Box = Box(1),  # noqa: B008 (not changed)
        width: Annotated[int, Integer(1, 9)] = 4,
        sound: Annotated[bytes | None, Input("audio", encodings=("wav",))] = None,
        limit: int | None = None,
    ) -> str:
        seen.update(locals())
        return f"{name} {order.left}"

    api = declared(everything)
    assert {p.name: (p.rules.get("type"), p.required) for p in api.params} == {
        "count": ("integer", True),
        "mode": ("string", True),
        "share": ("number", False),
        "flag": ("boolean", False),
        "name": ("string", False),
        "crop": ("object", False),
        "width": ("integer", False),
        "limit": ("integer", False),
    }
    assert {s.name: (s.data_type, s.required) for s in api.inputs} == {
        "data": (DataType.OTHER, True),
        "picture": (DataType.IMAGE, True),
        "order": (DataType.TEXT, True),
        "scores": (DataType.TEXT, True),
        "sound": (DataType.AUDIO, False),
    }
    with LoaderFor(everything) as call:
        picture = open_png()
        outputs = call(
            {"count": 2, "mode": "fast", "crop": {"left": 7}, "width": 9},
            {"data": b"\0", "picture": picture, "order": b'{"left":5}', "scores": b"[1,2.5]"},
            {"sid": "s" * 32},
        )
    assert outputs["result"].data == b"x 5"
    assert (seen["order"], seen["crop"], seen["scores"]) == (Box(5), Box(7), [1.0, 2.5])
    assert (seen["data"], seen["picture"].size, seen["width"]) == (b"\0", (2, 2), 9)
    assert (seen["sound"], seen["limit"], seen["context"].sid) == (None, None, "s" * 32)


def open_png() -> bytes:
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_is_returned_as_a_picture() -> None:
    @service("flip", output="flipped")
    def flip(picture: Image.Image) -> Image.Image:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    with LoaderFor(flip) as call:
        assert call({}, {"picture": open_png()})["flipped"].encoding == "png"


def test_an_output_of_another_type_is_an_error() -> None:
    @service("labels")
    def labels(text: str) -> list[Label]:
        return [{"name": text, "score": "high"}]  # type: ignore[typeddict-item]

    with (
        LoaderFor(labels) as call,
        pytest.raises(LoaderError, match="10106: output 'result' is not of its type: Expected `fl"),
    ):
        call({}, {"text": b"x"})


def test_an_annotated_result_states_its_output() -> None:
    @service("speak")
    def speak(text: str) -> Annotated[bytes, Output("audio", encodings=("wav",))]:
        return text.encode()

    (output,) = declared(speak).outputs
    assert (output.data_type, output.encodings) == (DataType.AUDIO, ("wav",))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_batch_function_gets_and_returns_lists(*, is_async: bool) -> None:
    def compute(features: list[list[float]], scale: list[int], sid: list[Context]) -> list[int]:
        assert len(sid) == len(features)
        if len(features[0]) == 3:
            raise Refused("no")
        return (np.asarray(features).sum(axis=1) * scale).astype(int)  # type: ignore[no-any-return]

    async def compute_async(
        features: list[list[float]], scale: list[int], sid: list[Context]
    ) -> list[int]:
        return compute(features, scale, sid)

    function = service("sums", max_batch=8)(compute_async if is_async else compute)
    with LoaderFor(function) as call:
        results = call.batch(
            [
                ({"scale": 1}, {"features": b"[1,2]"}),
                ({"scale": 2}, {"features": b'[1,"x"]'}),
                ({"scale": 10}, {"features": b"[4,5]"}),
            ]
        )
        assert [r.code if isinstance(r, LoaderError) else r["result"].data for r in results] == [
            b"3",
            10107,
            b"90",
        ]


def test_optional_inputs_and_own_names_of_a_batch() -> None:
    @service("boxes", max_batch=4)
    def sizes(
        text: list[str],
        kind: list[Annotated[str, String(name="class", default="any")]],
        boxes: list[list[float] | None] = None,  # type: ignore[assignment]  # noqa: RUF013
    ) -> list[str]:
        return [f"{t} {k} {b}" for t, k, b in zip(text, kind, boxes, strict=True)]

    with LoaderFor(sizes) as call:
        assert call({"class": "x"}, {"text": b"a"})["result"].data == b"a x None"
        results = call.batch([({}, {"text": b"a"}), ({}, {"text": b"b", "boxes": b"[1]"})])
        assert [r["result"].data for r in results if isinstance(r, dict)] == [
            b"a any None",
            b"b any [1.0]",
        ]


def test_a_declaration_keeps_its_default_and_its_name() -> None:
    @service("named")
    def named(kind: Annotated[int, Integer(1, 20, default=3, name="class")]) -> int:
        return kind

    (param,) = declared(named).params
    assert (param.name, param.required, param.rules["default"]) == ("class", False, 3)
    with LoaderFor(named) as call:
        assert call({"class": 7}, {})["result"].data == b"7"


def no_annotation(text) -> str: ...  # type: ignore[no-untyped-def,empty-body]
def no_result(text: str): ...  # type: ignore[no-untyped-def]
def stream(text: str) -> Any:
    yield text


def own_name(total: int) -> str: ...  # type: ignore[empty-body]
def same_name(result: str) -> str: ...  # type: ignore[empty-body]
def no_json(value: Odd) -> str: ...  # type: ignore[empty-body]
def numbers(n: Literal[1, 2]) -> str: ...  # type: ignore[empty-body]
def many(*more: str) -> str: ...  # type: ignore[empty-body]
def plain(text: str) -> str: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "attributes", "message"),
    [
        (no_annotation, {}, r"test_functions.py:\d+: no_annotation: `text` has no annotation"),
        (no_result, {}, "no_result: the result has no annotation"),
        (stream, {}, "stream: a stream of outputs needs a Wrapper with `session`"),
        (own_name, {}, "own_name: the name 'total' is taken"),
        (same_name, {}, "same_name: the name 'result' is taken"),
        (no_json, {}, "no_json: `value`: "),
        (numbers, {}, "numbers: `n`: a Literal has texts alone"),
        (many, {}, "many: `more`: an argument must be given by its name"),
        (plain, {"max_batch": 4}, r"plain: `text`: with `max_batch` .* is a list: `list\[str\]`"),
        (plain, {"totl": 4}, "plain: 'totl' is no attribute of a Wrapper"),
    ],
    ids=range(10),
)
def test_a_signature_that_is_no_api_is_an_error_with_its_line(
    function: Any, attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeclarationError, match=message):
        service("x", **attributes)(function)


def test_wrapper_class_of_other_values() -> None:
    class Mine(Wrapper):
        pass

    assert wrapper_class_of(Mine) is Mine
    for value in (Wrapper, Data, plain, 3, Mine()):
        assert wrapper_class_of(value) is None
    with pytest.raises(TypeError, match="is no Wrapper"):
        LoaderFor(plain)
