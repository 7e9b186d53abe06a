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


class Derived(Base):
    b = Integer(maximum=3)
    c = Integer()


def test_declaration_keeps_class_order_and_subclasses_may_override() -> None:
    derived = declaration(Derived)
    assert [param.name for param in derived.params] == ["b", "a", "c"]
    assert derived.params[0].rules == {"type": "integer", "maximum": 3}
    assert [param.required for param in derived.params] == [False, True, False]
    assert declaration(Base).description == "One sentence."
    assert document.service_from_document(document.parse(schema(Base))).id == "x"
    assert schema(Base) == schema(Base)


def test_original_wrapper_must_define_all_methods() -> None:
    class Half(OriginalWrapper):
        service = "half"
        said = Output("text")

        def wrapperCreate(self, params: Any, sid: str) -> str:  # noqa: N802
            return sid

    with pytest.raises(
        DeclarationError, match="Half: write `wrapperDestroy`, `wrapperRead`, `wrapperWrite`"
    ):
        declaration(Half)


async def session_without_yield(self: Any, params: Any, inputs: Any) -> None:
    pass


def session_with_too_few_params(self: Any, params: Any) -> Any:
    yield {}


def session_with_too_many_params(
    self: Any, params: Any, inputs: Any, context: Any, more: Any
) -> Any:
    yield {}


@pytest.mark.parametrize(
    ("changes", "message"),
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
        ({"once": None}, r"Mine: write one of `once\(self, params, inputs, context\)`"),
        ({"batch": Base.once}, "`batch` serves every request, `once` none"),
        ({"once": session_with_too_few_params}, r"test_declare.py:\d+: Mine: write `once\(self"),
        ({"max_batch": 0}, "`max_batch` must be 1 or more"),
        ({"max_wait_ms": -1}, "`max_wait_ms` must be 0 or more"),
        ({"batch_by": ("n",)}, "`batch_by` must be a tuple of names of parameters; there is: none"),
        (
            {"session": session_without_yield},
            r"test_declare.py:\d+: Mine: `async def session` without `yield`",
        ),
        (
            {"session": session_with_too_few_params},
            r"test_declare.py:\d+: Mine: write `session\(self, params, inputs",
        ),
        ({"session": session_with_too_many_params}, "Mine: write `session"),
    ],
    ids=itertools.count(),
)
def test_incomplete_declaration_is_an_error(changes: dict[str, Any], message: str) -> None:
    attributes: dict[str, Any] = {"service": "x", "out": Output("text"), "once": Base.once}
    wrapper_class = type("Mine", (Wrapper,), attributes | changes)
    with pytest.raises(DeclarationError, match=message):
        schema(wrapper_class)
