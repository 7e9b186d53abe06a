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
    "registry": {"schemas", "rpc", "config"},
    "gateway": {"schemas", "rpc", "config", "atom", "lb"},
    "deploy": {"schemas", "rpc", "config", "atom", "lb", "registry"},
    "aseclient": set(),
    "aseloader": {"schemas", "rpc", "lb"},
    "asectl": {
        "schemas",
        "rpc",
        "config",
        "atom",
        "lb",
        "registry",
        "gateway",
        "deploy",
        "aseloader",
    },
    "bench": {
        "schemas",
        "rpc",
        "config",
        "atom",
        "lb",
        "registry",
        "gateway",
        "deploy",
        "aseloader",
    },
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
# Written as users write them: programs of other servers, and the Wrapper of `asectl init`.
FOREIGN_PROGRAMS = (ROOT / "bench/serve/peers", ROOT / "deploy/starter")

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
            if {*FOREIGN_PROGRAMS} & {*path.parents}:
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


@cache
def pure_modules() -> set[str]:
    return {name for name, tree in modules().items() if is_pure(tree)}


def test_imports_follow_the_layers() -> None:
    assert not [
        f"{name} imports {imported}"
        for name, tree in modules().items()
        for imported in imports(tree)
        if not may_import(name.partition(".")[0], imported)
    ]


def may_import(package: str, imported: str) -> bool:
    top = imported.partition(".")[0]
    if package == "aseloader" and top == "lb" and imported in modules():
        return imported in SDK_ALLOWED
    return top == package or top in LAYERS[package] or top not in {*LAYERS, "tests"}


def test_no_cycles() -> None:
    graph = {
        name: {i for i in imports(tree, top_level=True) if i in modules() and i != name}
        for name, tree in modules().items()
    }
    while graph:
        leaves = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert leaves, f"a cycle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in leaves}


def test_pure_modules_import_nothing_impure() -> None:
    assert not {
        name: impure_imports
        for name in pure_modules()
        if (impure_imports := impure_imports_of(name))
    }
    allowed = {"schemas.wire"}  # reads its descriptor set once, at import
    values_only = cache(is_values_only)
    assert not [
        f"{name} imports {imported}"
        for name in pure_modules()
        for imported in imports(modules()[name])
        if imported in modules() and "." in imported and imported not in allowed
        if imported not in pure_modules() and not values_only(imported)
    ]


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
    assert len(pure_modules()) >= 25
    expected = {
        "atom.encode",
        "atom.decode",
        "lb.balancer.least_expected_delay",
        "lb.endpoints.table",
        "deploy.kong.document",
        "gateway.request.json_body",
    }
    assert expected <= pure_modules()


def test_each_pure_module_has_a_test_module() -> None:
    paths = [ROOT / "tests" / f"{name.replace('.', '/')}.py" for name in pure_modules()]
    twins = [path.with_name(f"test_{path.name}") for path in paths]
    assert not [str(twin) for twin in twins if not twin.is_file()]


def test_each_module_has_a_docstring_and_a_name_of_its_own() -> None:
    assert not [name for name, tree in modules().items() if not ast.get_docstring(tree)]
    assert not [name for name in modules() if name.rpartition(".")[2] in BAD_NAMES]


def test_functions_are_short() -> None:
    assert not {
        f"{name}.{function.name}": lines
        for name, tree in modules().items()
        for function in functions(tree)
        if (lines := count_lines(function)) > MAX_FUNCTION_LINES
    }


def count_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def bound_names(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module binds: variables, parameters, attributes, functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def test_no_vague_names() -> None:
    vague_names = {
        (name.replace(".", "/") + ".py", bound)
        for name, tree in modules().items()
        for bound in bound_names(tree)
        if bound.strip("_") in VAGUE_NAMES
    }
    assert vague_names <= ALLOWED_NAMES


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert not {
        name: module_names for name, module_names in places.items() if len(module_names) > 1
    }


def test_no_module_level_state() -> None:
    """A module's own names are constants: none is rebound by `global`, no function mutates one."""
    for name, tree in modules().items():
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)], name
        mutated = mutated_names(tree) & top_level_names(tree)
        assert not mutated, f"functions of {name} change {sorted(mutated)}"


def top_level_names(tree: ast.Module) -> set[str]:
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def mutated_names(tree: ast.Module) -> set[str]:
    """Return the names on which a function of the module calls a method such as `append`."""
    mutators = {"append", "add", "update", "pop", "clear", "extend", "setdefault", "insert"}
    return {
        node.func.value.id
        for function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in mutators
        and isinstance(node.func.value, ast.Name)
    }


def test_packages_re_export_nothing_but_the_sdks() -> None:
    for name, tree in modules().items():
        is_sdk = name in ("aseclient", "aseloader")
        if (ROOT / name.replace(".", "/")).is_dir() and not is_sdk:
            assert len(tree.body) == 1, f"{name}/__init__.py is one docstring"
