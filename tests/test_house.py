"""The law of the house, as a test. It needs nothing but the standard library's `ast`.

Layers and purity are in docs/architecture.md. A module whose docstring says "Pure" is held to it.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unmeasured  # it reads the product, and runs none of it

ROOT = Path(__file__).parent.parent

# Who may import whom; a package may always import itself.
LAYERS: dict[str, set[str]] = {
    "schemas": set(),
    "rpc": set(),
    "config": {"schemas"},
    "atom": {"schemas", "rpc", "config"},
    "lb": {"schemas", "rpc", "config"},
    "gateway": {"schemas", "rpc", "config", "atom", "lb"},
    "deploy": {"schemas", "rpc", "config", "atom", "lb"},
    "aseloader": {"schemas", "rpc", "lb"},
    "asectl": {"schemas", "rpc", "config", "atom", "lb", "gateway", "deploy", "aseloader"},
    "bench": {"schemas", "rpc", "config", "atom", "lb", "gateway", "deploy", "aseloader"},
}
# Of lb, the loader SDK may see the loader's side alone.
SDK_ALLOWED = {
    "lb.credentials",
    "lb.reporter.limiter",
    "lb.reporter.orca_report",
    "lb.endpoints.report",
    "lb.reporter.reporter",
}

IMPURE = {
    "asyncio", "concurrent", "grpc", "httpx", "logging", "os", "pathlib", "secrets", "signal",
    "socket", "ssl", "starlette", "subprocess", "sys", "threading", "time", "urllib", "uvicorn",
    "uvloop", "prometheus_client",
}  # fmt: skip

# Services as users of other servers write them, for the bench: they are no modules of this house.
FOREIGN_PROGRAMS = ROOT / "bench/serve/peers"

MAX_FUNCTION_LINES = 50
BAD_NAMES = {"util", "utils", "common", "helpers", "manager", "base", "misc"}
# Identifiers that say nothing of what they hold; a name of the wire or of an option is no variable.
VAGUE_NAMES = {
    "asked", "began", "begun", "facts", "found", "given", "gone", "heard", "held", "known", "made",
    "over", "said", "taken", "told", "words",
}  # fmt: skip
# Names that are not ours to choose: an output of the bench's service, a published JSON key, a
# field of a message.
ALLOWED_NAMES = {
    ("bench/echo_wrapper.py", "said"), ("bench/lb/validate.py", "known"),
    ("lb/hub/subscriber.py", "held"),
}  # fmt: skip


@cache
def modules() -> dict[str, ast.Module]:
    trees = {}
    for package in LAYERS:
        for path in sorted((ROOT / package).rglob("*.py")):
            if FOREIGN_PROGRAMS in path.parents:
                continue
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


def imports(tree: ast.Module, *, top_level: bool = False) -> Iterator[str]:
    """Yield the full names a module imports; `from a import b` yields a and a.b."""
    nodes = tree.body if top_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute: one name, one address"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def is_pure(tree: ast.Module) -> bool:
    return "Pure" in (ast.get_docstring(tree) or "")


ALL = sorted(modules())
PURE = [name for name in ALL if is_pure(modules()[name])]


@pytest.mark.parametrize("name", ALL)
def test_imports_follow_the_layers(name: str) -> None:
    package = name.partition(".")[0]
    for imported in imports(modules()[name]):
        top = imported.partition(".")[0]
        if top in LAYERS and top != package:
            assert top in LAYERS[package], f"{name} imports {imported}"
        assert top != "tests", f"{name} imports {imported}"
        if package == "aseloader" and top == "lb" and imported in modules():
            assert imported in SDK_ALLOWED, f"{name} imports {imported}"


def test_no_cycles() -> None:
    graph = {
        name: {i for i in imports(tree, top_level=True) if i in modules() and i != name}
        for name, tree in modules().items()
    }
    while graph:
        leaves = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert leaves, f"a cycle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in leaves}


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_nothing_impure(name: str) -> None:
    impure_imports = impure_imports_of(name)
    assert not impure_imports, f"{name} says it is pure, and imports {sorted(impure_imports)}"
    pure = set(PURE)
    allowed = {"schemas.wire"}  # reads its descriptor set once, at import
    for imported in imports(modules()[name]):
        if imported in modules() and "." in imported and imported not in allowed:
            assert imported in pure or is_values_only(imported), f"{name} imports {imported}"


def is_values_only(name: str) -> bool:
    """Return whether a module only declares values: it imports nothing that touches the world."""
    return not impure_imports_of(name)


def impure_imports_of(name: str) -> set[str]:
    """Return the imported packages that touch the world; `urllib.parse` does not."""
    packages = {
        imported.partition(".")[0]
        for imported in imports(modules()[name])
        if not imported.startswith("urllib.parse")
    }
    return packages & IMPURE


def test_enough_modules_are_pure() -> None:
    assert len(PURE) >= 25
    expected = {
        "atom.encode",
        "atom.decode",
        "lb.balancer.least_expected_delay",
        "lb.endpoints.table",
        "deploy.kong",
        "gateway.request.json_body",
    }
    assert expected <= set(PURE)


@pytest.mark.parametrize("name", PURE)
def test_each_pure_module_has_a_test_module(name: str) -> None:
    *folders, module = name.split(".")
    assert ROOT.joinpath("tests", *folders, f"test_{module}.py").is_file()


@pytest.mark.parametrize("name", ALL)
def test_docstrings_names_and_function_sizes(name: str) -> None:
    tree = modules()[name]
    assert ast.get_docstring(tree), f"{name} does not say what it is"
    assert name.rpartition(".")[2] not in BAD_NAMES
    for function in functions(tree):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        assert lines <= MAX_FUNCTION_LINES, f"{name}.{function.name} has {lines} lines"


def bound_names(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module binds: variables, parameters, attributes, functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


@pytest.mark.parametrize("name", ALL)
def test_no_vague_names(name: str) -> None:
    path = name.replace(".", "/") + ".py"
    vague = {bound for bound in bound_names(modules()[name]) if bound.strip("_") in VAGUE_NAMES}
    allowed = {allowed for file, allowed in ALLOWED_NAMES if file == path}
    assert vague <= allowed, f"{name} names {sorted(vague - allowed)}"


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert not {
        name: module_names for name, module_names in places.items() if len(module_names) > 1
    }


@pytest.mark.parametrize("name", ALL)
def test_no_module_level_state(name: str) -> None:
    """A module's own names are constants: none is rebound by `global`, no function mutates one."""
    tree = modules()[name]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)], name
    top = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    mutators = {"append", "add", "update", "pop", "clear", "extend", "setdefault", "insert"}
    for function in functions(tree):
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in mutators
                and isinstance(node.func.value, ast.Name)
            ):
                assert node.func.value.id not in top, f"{name}.{function.name} changes a global"


def test_packages_re_export_nothing_but_the_sdk() -> None:
    for name, tree in modules().items():
        if (ROOT / name.replace(".", "/")).is_dir() and name != "aseloader":
            assert len(tree.body) == 1, f"{name}/__init__.py is one docstring"
