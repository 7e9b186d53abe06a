"""Constants followed in Python source that is never run, against what Python computes."""

import ast
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sources.constants import fold_constants


def value_of_x(source: str, modules: Mapping[str, str] | None = None) -> Any:
    """Return the literal that `x` is assigned last, in the source or in the class C; or None."""
    tree = ast.parse(source)
    fold_constants(tree, (modules or {}).get)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    values = [
        node.value
        for body in bodies
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "x"
    ]
    try:
        return ast.literal_eval(values[-1])
    except ValueError:
        return None


@pytest.mark.parametrize(
    "source",
    [
        "a = 'b'\nx = a",
        "a: str = 'b'\nx = a",
        "a = c = 'b'\nx = c",
        "a = 1\na = 2\nx = a",
        "a = [1, 2]\nb = (a, 'c')\nx = {'k': b}",
        "a = 'b'\nx = f'{a}-{3}'",
        "x = 'a' + 'b' 'c'",
        "x = 10 * 1024 * 1024 + 2 ** 4 - 6 // 4 + 7 % 4",
        "a = 4\nx = -a",
        "class K:\n    A = 'b'\nx = K.A",
        "class K:\n    A = 'b'\nclass L(K, object):\n    B = 2\nx = (L.A, L.B)",
        "class C:\n    a = 'b'\n    x = f'{a}'",
        "a = 'b'\nclass C:\n    a = 'c'\nx = a",
        "def f(a):\n    a = 2\na = 1\nx = a",
        "a = 'b'\ndef f():\n    a = 'c'\nx = a",
        "a = 'b'\nif True:\n    c = a\nx = a",
        "a = 3 / 2\nx = a",
        "a = [1]\nb = f(a)\nx = a",  # as in a field of a wrapper
    ],
)
def test_constant_has_the_value_of_the_import(source: str) -> None:
    module = ModuleType("m")
    module.__dict__["f"] = len
    exec(source, module.__dict__)  # noqa: S102 (the oracle: Python itself)
    expected = module.__dict__.get("x", getattr(module.__dict__.get("C"), "x", None))
    assert value_of_x(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "x = a",
        "import os\nx = os.environ",
        "a = f()\nx = a",
        "a = 'b'\nif c:\n    a = 'd'\nx = a",
        "a = 'b'\nfor a in c: pass\nx = a",
        "a = 1\na += 1\nx = a",
        "a = 'b'\ndel a\nx = a",
        "a = 'b'\ndef a(): pass\nx = a",
        "a = 'b'\nimport a\nx = a",
        "a = 'b'\ntry:\n    pass\nexcept ValueError as a:\n    pass\nx = a",
        "a = [1]\na.append(2)\nx = a",
        "a = [1]\na[0] = 2\nx = a",
        "class K:\n    A = 'b'\nK.A = 'c'\nx = K.A",
        "class K(Enum):\n    A = 'b'\nx = K.A",
        "from enum import Enum\nclass K(Enum):\n    A = 'b'\nx = K.A",
        "from enum import Enum\nclass J(Enum): pass\nclass K(J):\n    A = 'b'\nx = K.A",
        "Base = f()\nclass K(Base):\n    A = 'b'\nx = K.A",
        "@d\nclass K:\n    A = 'b'\nx = K.A",
        "a = 'b'\nx = f'{a!r}'",
        "a = 1\nx = f'{a:03}'",
        "x = 2 ** 1000",
        "x = 1 / 0",
        "x = 'a' * 3",
        "a = 'b'\nx = lambda: a",
        "a = 'b'\nx = [a for a in c]",
        "a = [1]\nb = a.pop()\nx = a",
        "a = [1]\nb = a\nb.append(2)\nx = a",
        "a = b = [1]\nb.append(2)\nx = a",
        "class K:\n    A = [1]\nb = K.A\nb.append(2)\nx = K.A",
        "a = 1\nb = (a := 2)\nx = a",
        "a = 1\nmatch 2:\n    case a: pass\nx = a",
        "a = 1\nmatch [2]:\n    case [*a]: pass\nx = a",
        "a = 1\nmatch {}:\n    case {**a}: pass\nx = a",
        "a = 1\ndef f():\n    global a\n    a = 2\nf()\nx = a",
        "x = (-8) ** 0.5",
    ],
)
def test_other_values_stay_unknown(source: str) -> None:
    assert value_of_x(source) is None


@pytest.mark.unmeasured
def test_constants_do_not_grow_without_bound() -> None:
    """Doubling forty times would take a terabyte."""
    doubling = "".join(f"a{n + 1} = a{n} + a{n}\n" for n in range(40))
    assert value_of_x(f"a0 = 'ab'\n{doubling}x = a40") is None
    lists = "".join(f"a{n + 1} = [a{n}, a{n}]\n" for n in range(40))
    assert value_of_x(f"a0 = [1]\n{lists}x = a40") is None
    many = ", ".join(["a0"] * 1000)
    assert value_of_x(f"a0 = {list(range(900))}\nx = [{many}]") is None
    squares = "".join(f"a{n + 1} = a{n} * a{n}\n" for n in range(40))
    assert value_of_x(f"a0 = 3\n{squares}x = a40") is None


MODULES = {
    "settings": "from base import *\nTASK = 'ocr'\nclass Limits:\n    TOP = 9",
    "base": "VERSION = 'v2'\n_HIDDEN = 1",
    "pkg.names": "from . import other\nNAME = 'n'",
    ".near": "NAME = 'relative'",
    "loop": "from loop import A\nA = 1",
    "broken": "def (",
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("from settings import TASK\nx = TASK", "ocr"),
        ("from settings import TASK as t\nx = t", "ocr"),
        ("from settings import VERSION\nx = VERSION", "v2"),
        ("from settings import *\nx = VERSION", "v2"),
        ("import settings\nx = settings.TASK", "ocr"),
        ("import settings as s\nx = s.Limits.TOP", 9),
        ("import pkg.names as n\nx = n.NAME", "n"),
        ("from pkg import names\nx = names.NAME", "n"),
        ("from .near import NAME\nx = NAME", "relative"),
        ("from . import near\nx = near.NAME", "relative"),
        ("from loop import A\nx = A", 1),
        ("from base import *\nx = _HIDDEN", None),
        ("import pkg.names\nx = pkg.names.NAME", None),
        ("from broken import A\nx = A", None),
        ("from absent import A\nx = A", None),
        ("TASK = 'mine'\nfrom absent import TASK\nx = TASK", None),
    ],
)
def test_imports_of_constants_are_followed(source: str, value: Any) -> None:
    assert value_of_x(source, MODULES) == value


def test_replacements_have_the_location_of_the_name() -> None:
    tree = ast.parse("a = [\n1]\nx = f(a)")
    fold_constants(tree)
    lines = {node.lineno for node in ast.walk(tree.body[1]) if isinstance(node, ast.expr)}
    assert lines == {3}


@given(st.text(alphabet="abx=+*()[]'{}f1\n .:", max_size=40))
def test_any_source_is_folded(source: str) -> None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    fold_constants(tree)
    ast.unparse(tree)
