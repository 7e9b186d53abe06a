"""What is under test is what was meant: the sources, or, with ASE_COMPILED=1, what is compiled."""

import ast
import importlib.util
import os
from pathlib import Path

import pytest

SETUP = ast.parse((Path(__file__).parent.parent / "setup.py").read_text(encoding="utf-8"))
COMPILED: list[str] = next(
    ast.literal_eval(node.value)
    for node in SETUP.body
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMPILED"
)
SUFFIX = ".so" if os.environ.get("ASE_COMPILED") == "1" else ".py"


@pytest.mark.parametrize("path", COMPILED)
def test_each_hot_module_has_the_expected_suffix(path: str) -> None:
    spec = importlib.util.find_spec(path.removesuffix(".py").replace("/", "."))
    assert spec is not None
    assert Path(str(spec.origin)).suffix == SUFFIX
