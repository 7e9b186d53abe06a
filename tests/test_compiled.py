"""What is under test is what was meant: the sources, or, with ASE_COMPILED=1, what is compiled."""

import ast
import importlib.util
import os
from pathlib import Path

import pytest

SETUP = ast.parse((Path(__file__).parent.parent / "setup.py").read_text(encoding="utf-8"))
LISTS: dict[str, list[str]] = {
    ast.unparse(node.targets[0]): ast.literal_eval(node.value)
    for node in SETUP.body
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("COMPILED", "NATIVE")
}
SUFFIX = ".so" if os.environ.get("ASE_COMPILED") == "1" else ".py"


@pytest.mark.parametrize("path", LISTS["COMPILED"])
def test_each_hot_module_has_the_expected_suffix(path: str) -> None:
    spec = importlib.util.find_spec(path.removesuffix(".py").replace("/", "."))
    assert spec is not None
    assert Path(str(spec.origin)).suffix == SUFFIX


@pytest.mark.parametrize("path", LISTS["NATIVE"])
def test_native_modules_are_there_if_the_product_is_compiled(path: str) -> None:
    """Without them everything works, in more time."""
    spec = importlib.util.find_spec(path.removesuffix(".pyx").replace("/", "."))
    assert (spec is not None) is (SUFFIX == ".so")


def test_every_native_module_is_built() -> None:
    root = Path(__file__).parent.parent
    packages = {path.split("/")[0] for path in LISTS["COMPILED"]}
    files = {
        str(path.relative_to(root)) for name in packages for path in (root / name).rglob("*.pyx")
    }
    assert files == set(LISTS["NATIVE"])
