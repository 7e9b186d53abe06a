"""Wrapper classes read: order, inheritance, and what must be written."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from aseloader import (
    Choice,
    Context,
    Data,
    Input,
    Integer,
    Output,
    Outputs,
    String,
    Wrapper,
)
from aseloader.declare import DeclarationError, declaration, schema
from aseloader.original import OriginalWrapper
from schemas.model import document


class Base(Wrapper):
    """One sentence.

    And more that is not told.
    """

    service = "x"
    b = Integer()
    a = Integer(required=True)
    page = Input("image")
    out = Output("text")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return {}


class Heir(Base):
    b = Integer(maximum=3)
    c = Integer()


def test_a_class_is_declared_in_its_order_and_heirs_may_change_it() -> None:
    told = declaration(Heir)
    assert [param.name for param in told.params] == ["b", "a", "c"]
    assert told.params[0].rules == {"type": "integer", "maximum": 3}
    assert [param.required for param in told.params] == [False, True, False]
    assert declaration(Base).description == "One sentence."
    assert document.service_from_document(document.parse(schema(Base))).id == "x"
    assert schema(Base) == schema(Base)


def test_a_wrapper_of_the_original_has_all_its_methods() -> None:
    class Half(OriginalWrapper):
        service = "half"
        said = Output("text")

        def wrapperCreate(self, params: Any, sid: str) -> str:  # noqa: N802
            return sid

    with pytest.raises(
        DeclarationError, match="Half: write `wrapperDestroy`, `wrapperRead`, `wrapperWrite`"
    ):
        declaration(Half)


async def no_yield(self: Any, params: Any, inputs: Any) -> None:
    pass


def too_few(self: Any, params: Any) -> Any:
    yield {}


def too_many(self: Any, params: Any, inputs: Any, context: Any, more: Any) -> Any:
    yield {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"service": ""}, "set `service`"),
        ({"service": "bad name!"}, "set `service`"),
        ({"fini": Output("text")}, "Mine.fini: this name is the Wrapper's own"),
        ({"n": Integer(9, 1)}, "Mine.n: minimum 9 is more than maximum 1"),
        ({"n": Integer(1, 9, default=50)}, "Mine.n: its default 50 breaks maximum 9"),
        ({"n": Choice("a", "b", default="z")}, "Mine.n: its default 'z' must be one of a, b"),
        ({"n": String(pattern="(")}, "Mine.n: "),
        ({"total": 0}, "`total` must be 1 or more"),
        ({"out": None}, "declare at least one Output"),
        ({"once": Wrapper.once}, "write `once"),
        ({"session": no_yield}, r"test_declare.py:\d+: Mine: `async def session` without `yield`"),
        ({"session": too_few}, r"test_declare.py:\d+: Mine: write `session\(self, params, inputs"),
        ({"session": too_many}, "Mine: write `session"),
    ],
    ids=itertools.count(),
)
def test_what_must_be_written(change: dict[str, Any], words: str) -> None:
    attributes: dict[str, Any] = {"service": "x", "out": Output("text"), "once": Base.once}
    kind = type("Mine", (Wrapper,), attributes | change)
    with pytest.raises(DeclarationError, match=words):
        schema(kind)
