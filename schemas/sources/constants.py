"""Constants in Python source: names replaced by the values they have at import. Pure.

Nothing is run. Statements are followed in their order, as an import executes them: a name that is
assigned a constant is one until it is bound to something else. Followed are literals, other such
names, attributes of classes and modules, f-strings without a format, and arithmetic.
"""

import ast
import contextlib
import copy
import operator
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final

# Returns the source of a module by its name, with leading dots if it is relative; or None.
ModuleReader = Callable[[str], str | None]

_MAX_NODES: Final = 1000  # of a constant that is followed
_MAX_COPIED_NODES: Final = 20_000  # of all constants in the places of their names
_MAX_TEXT_LENGTH: Final = 64 * 1024
_MAX_NUMBER: Final = 2**128
_MAX_EXPONENT: Final = 64
_MAX_MODULES: Final = 20  # that are read for one source
_ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}  # fmt: skip
_OWN_SCOPE: Final = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class _Namespace(dict[str, "_Value"]):
    """The constants of a class or of a module, by name."""


class _Unknown:
    """What a name stands for that is bound to something else; it hides a name of an outer scope."""


_UNKNOWN: Final = _Unknown()
_Value = ast.expr | _Namespace | _Unknown
_Scope = MutableMapping[str, _Value]


class _ClassScope(ChainMap[str, _Value]):
    """The scope of a class body. Functions in it do not see its first map."""


def fold_constants(tree: ast.Module, read_module: ModuleReader = lambda _: None) -> None:
    """Replace the constant expressions in a module's top level and classes by literals, in place.

    Values that are assigned within functions are replaced too, by the constants at the function's
    definition. `read_module` is asked for imported modules. The replacement of a name has its
    location.
    """
    _Interpreter(read_module).run_module(tree)


class _Interpreter:
    """Follows the statements of modules. `_modules` has those read so far; None: unreadable."""

    def __init__(self, read_module: ModuleReader) -> None:
        self._read_module = read_module
        self._modules: dict[str, _Namespace | None] = {}
        self._budget = _Budget(_MAX_COPIED_NODES)
        self._global_names: set[str] = set()  # that functions of the current module assign

    def run_module(self, tree: ast.Module) -> _Namespace:
        outer_names = self._global_names
        self._global_names = {
            name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
        }
        namespace = _Namespace()
        self._run_body(tree.body, namespace)
        self._global_names = outer_names
        return namespace

    def _run_body(self, body: list[ast.stmt], scope: _Scope) -> None:
        for statement in body:
            self._run_statement(statement, scope)

    def _run_statement(self, statement: ast.stmt, scope: _Scope) -> None:
        match statement:
            case ast.Assign(targets=targets):
                self._assign(statement, targets, scope)
            case ast.AnnAssign(value=ast.expr()):
                self._assign(statement, [statement.target], scope)
            case ast.ClassDef():
                scope[statement.name] = self._run_class(statement, scope)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._run_function(statement, scope)
                _forget([statement.name], scope)
            case ast.Import(names=names):
                for alias in names:
                    self._import_module(alias, scope)
            case ast.ImportFrom():
                self._import_names(statement, scope)
            case _:
                _forget(_changed_names(statement, scope), scope)

    def _fold(self, node: ast.expr, scope: _Scope) -> ast.expr:
        folded: ast.expr = _Folder(scope, self._budget).visit(node)
        return folded

    def _assign(
        self, statement: ast.Assign | ast.AnnAssign, targets: list[ast.expr], scope: _Scope
    ) -> None:
        original = statement.value
        assert original is not None  # noqa: S101 (an annotation without a value is no assignment)
        changed = _changed_by_expression(original, scope)
        statement.value = folded = self._fold(original, scope)
        _forget(changed, scope)
        for target in targets:
            self._bind(target, folded, scope)
        is_shared = len(targets) > 1 or isinstance(original, ast.Name | ast.Attribute)
        if is_shared and not isinstance(folded, ast.Constant):
            # Two names of one list or dict: what changes it by one changes it for the other.
            for node in (original, *targets):
                _forget(_changed_names(node, scope), scope)

    def _bind(self, target: ast.expr, value: ast.expr, scope: _Scope) -> None:
        _forget(_changed_names(target, scope), scope)
        if (
            isinstance(target, ast.Name)
            and target.id not in self._global_names
            and _is_literal(value)
        ):
            scope[target.id] = value

    def _run_class(self, node: ast.ClassDef, scope: _Scope) -> _Namespace | _Unknown:
        """Return the constants of a class; unknown if a base can change what its attributes are."""
        namespace, own = _Namespace(), _Namespace()
        bases = [_lookup(base, scope) for base in node.bases]
        self._run_body(node.body, _ClassScope(own, scope))
        is_plain = not node.keywords and not node.decorator_list
        for name, base in reversed([*zip(node.bases, bases, strict=True)]):
            is_object = isinstance(name, ast.Name) and name.id == "object" and base is None
            is_plain = is_plain and (is_object or isinstance(base, _Namespace))
            namespace.update(base if isinstance(base, _Namespace) else {})
        namespace.update(own)
        return namespace if is_plain else _UNKNOWN

    def _run_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: _Scope) -> None:
        outer = scope.parents if isinstance(scope, _ClassScope) else scope
        own: _Scope = ChainMap({}, outer)
        _forget([part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)], own)
        self._run_body(node.body, own)

    def _import_module(self, alias: ast.alias, scope: _Scope) -> None:
        name = alias.asname or alias.name.partition(".")[0]
        _forget([name], scope)
        if "." not in alias.name or alias.asname:
            module = self._load(alias.name)
            if module is not None:
                scope[name] = module

    def _import_names(self, node: ast.ImportFrom, scope: _Scope) -> None:
        module_name = "." * node.level + (node.module or "")
        module = self._load(module_name) or _Namespace()
        for alias in node.names:
            name = alias.asname or alias.name
            _forget([name], scope)
            if alias.name == "*":
                scope.update({k: v for k, v in module.items() if not k.startswith("_")})
                continue
            value = module.get(alias.name)
            if value is None:
                separator = "" if module_name.endswith(".") else "."
                value = self._load(f"{module_name}{separator}{alias.name}")
            if value is not None:
                scope[name] = value

    def _load(self, name: str) -> _Namespace | None:
        """Return the constants of a module; None if its source is not there or is not Python."""
        if name not in self._modules and len(self._modules) < _MAX_MODULES:
            self._modules[name] = None  # for a module that imports itself
            source = self._read_module(name)
            if source is not None:
                # If it fails, the name stays unknown, and its use is reported.
                with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                    self._modules[name] = self.run_module(ast.parse(source))
        return self._modules.get(name)


class _Budget:
    """How many nodes may still be copied."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes

    def try_spend(self, nodes: int) -> bool:
        """Return whether so many are left, and take them."""
        if nodes > self._nodes:
            return False
        self._nodes -= nodes
        return True


class _Folder(ast.NodeTransformer):
    """Replaces the constant parts of one expression."""

    def __init__(self, scope: _Scope, budget: _Budget) -> None:
        self._scope = scope
        self._budget = budget

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, _OWN_SCOPE) else super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._replaced(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        replaced = self._replaced(node)
        return replaced if replaced is not node else self._visit_children(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        texts = [_formatted_text(part) for part in node.values]
        text = "".join(filter(None, texts))
        is_constant = None not in texts and len(text) <= _MAX_TEXT_LENGTH
        return ast.copy_location(ast.Constant(text), node) if is_constant else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        operand = _number(node.operand)
        if operand is None or not isinstance(node.op, ast.USub | ast.UAdd):
            return node
        value = -operand if isinstance(node.op, ast.USub) else operand
        return ast.copy_location(ast.Constant(value), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        value = _calculate(node)
        return node if value is None else ast.copy_location(ast.Constant(value), node)

    def _replaced(self, node: ast.Name | ast.Attribute) -> ast.expr:
        value = _lookup(node, self._scope) if isinstance(node.ctx, ast.Load) else None
        if not isinstance(value, ast.expr):
            return node
        if not self._budget.try_spend(sum(1 for _ in ast.walk(value))):
            return node
        literal = copy.deepcopy(value)
        for part in ast.walk(literal):
            ast.copy_location(part, node)
        return literal

    def _visit_children(self, node: ast.expr) -> ast.expr:
        self.generic_visit(node)
        return node


def _calculate(node: ast.BinOp) -> int | float | str | None:
    """Return the value of an operation on two constants; None if it is none, or too large."""
    left, right = node.left, node.right
    if isinstance(node.op, ast.Add) and isinstance(left, ast.Constant):
        right_value = right.value if isinstance(right, ast.Constant) else None
        if isinstance(left.value, str) and isinstance(right_value, str):
            text = left.value + right_value
            return text if len(text) <= _MAX_TEXT_LENGTH else None
    numbers = _number(left), _number(right)
    function = _ARITHMETIC.get(type(node.op))
    if numbers[0] is None or numbers[1] is None or function is None:
        return None
    if isinstance(node.op, ast.Pow) and abs(numbers[1]) > _MAX_EXPONENT:
        return None
    try:
        value = function(*numbers)
        is_real = isinstance(value, int | float)  # (-8) ** 0.5 is complex
        return value if is_real and abs(value) <= _MAX_NUMBER else None
    except (ArithmeticError, TypeError):
        return None


def _number(node: ast.expr) -> int | float | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _formatted_text(part: ast.expr) -> str | None:
    """Return the text of a part of an f-string; None if it is not known, or has a format."""
    if isinstance(part, ast.FormattedValue):
        if part.conversion != -1 or part.format_spec is not None:
            return None
        part = part.value
    value = part.value if isinstance(part, ast.Constant) else None
    return str(value) if isinstance(value, str | int | float) else None


def _lookup(node: ast.expr, scope: Mapping[str, _Value]) -> _Value | None:
    """Return what a name, or an attribute of a class or module, stands for; None if undefined."""
    value: _Value | None = None
    if isinstance(node, ast.Name):
        value = scope.get(node.id)
    elif isinstance(node, ast.Attribute):
        owner = _lookup(node.value, scope)
        value = owner.get(node.attr) if isinstance(owner, _Namespace) else None
    return value


def _is_literal(node: ast.expr) -> bool:
    if sum(1 for _ in zip(ast.walk(node), range(_MAX_NODES + 1), strict=False)) > _MAX_NODES:
        return False
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _forget(names: Iterable[str], scope: _Scope) -> None:
    """Note that `names` have no known value from now on, whatever an outer scope has."""
    for name in names:
        scope[name] = _UNKNOWN


def _changed_by_expression(node: ast.expr, scope: _Scope) -> list[str]:
    """Return the names that an expression may change: by `:=`, or by a method of a list or dict."""
    names: list[str] = []
    for part in ast.walk(node):
        match part:
            case ast.NamedExpr(target=ast.Name(id=name)):
                names.append(name)
            case ast.Call(func=ast.Attribute(value=owner)):
                names += _changed_names(owner, scope)
    return names


def _changed_names(node: ast.AST, scope: _Scope) -> list[str]:
    """Return the names that a statement or a target may change, in any of its branches.

    These are the ones that it binds, and all others whose values can be changed in place.
    """
    names: list[str] = []
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name, ctx=ast.Load()):
                value = scope.get(name)
                is_changeable = isinstance(value, ast.expr | _Namespace) and not isinstance(
                    value, ast.Constant
                )
                names += [name] if is_changeable else []
            case ast.Name(id=name):
                names.append(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.append(name)
            case ast.ClassDef(name=name):
                names.append(name)
            case ast.alias():
                names.append((part.asname or part.name).partition(".")[0])
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                names.append(name)
    return names
