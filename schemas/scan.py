"""An API declared in Python, read from the source without running it. Pure.

Understood are `aseloader` wrappers (typed class attributes), the `BaseASEApi` and `Arg` of the
design document (seed 001), and wrappers of the PyPI package `aiges` (reference "ase-wire" 5.2):
UserRequest, UserResponse, and their fields. Values must be written out as literals; what is not is
told with its line.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.declare import MAX_BYTES, Declaration, Param, Stream
from schemas.service import DataType

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Finding:
    """What cannot be read: line and column count from 1."""

    line: int
    column: int
    message: str
    hint: str = ""


class ScanError(Exception):
    """A source that declares no API, or one that cannot be read without running it."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(f"line {f.line}: {f.message}" for f in findings))
        self.findings = tuple(findings)


class _UnreadableError(Exception):
    """A value that is no literal."""

    def __init__(self, node: ast.expr, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.finding = Finding(node.lineno, node.col_offset + 1, message, hint)


@dataclass(frozen=True, slots=True)
class _Field:
    """One declared name: its constructor and what that was called with."""

    name: str
    kind: str
    call: ast.Call

    def value(self, key: str, at: int | None = None, default: Any = None) -> Any:
        """Return an argument by its name, or by its place. Raises _UnreadableError."""
        found = [word.value for word in self.call.keywords if word.arg == key]
        if not found and at is not None and at < len(self.call.args):
            found = [self.call.args[at]]
        return _literal(found[0]) if found else default

    def values(self, *keys: str) -> dict[str, Any]:
        """Return those of the arguments that were given."""
        told = {key: self.value(key) for key in keys}
        return {key: value for key, value in told.items() if value is not None}


def declaration(source: str, name: str = "") -> Declaration:
    """Return the API that a Python source declares; `name` is the class, where there are several.

    Raises ScanError with everything that cannot be read.
    """
    tree = _parsed(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found = [(node, reader) for node in classes if (reader := _reader(node, classes)) is not None]
    named = [pair for pair in found if pair[0].name == name] if name else found
    if len(named) != 1:
        known = ", ".join(node.name for node, _ in found) or "none"
        words = f"one class that declares an API is needed, not {len(named)}"
        raise ScanError([Finding(1, 1, words, f"classes that do: {known}")])
    ((node, reader),) = named
    try:
        return reader(node, classes)
    except _UnreadableError as error:
        raise ScanError([error.finding]) from None
    except (TypeError, ValueError, AttributeError) as error:
        words = f"declares what no field takes: {error}"
        raise ScanError([Finding(node.lineno, node.col_offset + 1, words)]) from None


def _parsed(source: str) -> ast.Module:
    for text in (source, source.expandtabs(4)):  # the design document has tabs among its spaces
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            told = error
    line, column = getattr(told, "lineno", None) or 1, getattr(told, "offset", None) or 1
    raise ScanError([Finding(line, column, f"not Python: {getattr(told, 'msg', told)}")])


_Read = Callable[[ast.ClassDef, list[ast.ClassDef]], Declaration]


def _reader(node: ast.ClassDef, classes: list[ast.ClassDef]) -> _Read | None:
    bases = {_last(base) for base in node.bases}
    if "BaseASEApi" in bases:
        return _of_base_api
    if bases & {"WrapperBase", "Wrapper"}:
        fields = list(_fields(node))
        requests = any(
            {"UserRequest", "UserResponse"} & {_last(b) for b in c.bases} for c in classes
        )
        aiges = "WrapperBase" in bases or any(_attribute(node, n) for n in _AIGES_NAMES) or requests
        if aiges:
            return _of_aiges
        return (
            _of_aseloader
            if any(field.kind in _PARAMETERS for field in fields)
            or any(field.kind in ("Input", "Output") for field in fields)
            else None
        )
    return None


_AIGES_NAMES = ("requestCls", "responseCls", "serviceId")


def _last(node: ast.expr) -> str:
    """Return the last name of a dotted one."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def _fields(node: ast.ClassDef | ast.FunctionDef) -> Iterator[_Field]:
    for name, value in _assignments(node.body):
        if isinstance(value, ast.Call):
            yield _Field(name, _last(value.func), value)


def _attribute(node: ast.ClassDef, name: str) -> ast.expr | None:
    return dict(_assignments(node.body)).get(name)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in ("int", "float", "str", "bool", "dict", "list"):
        return node.id
    try:
        return ast.literal_eval(node)
    except ValueError:
        words = "cannot be read without running the file"
        raise _UnreadableError(node, words, "write the value out as a literal") from None


def _of_class(node: ast.ClassDef, name: str, default: Any = None) -> Any:
    value = _attribute(node, name)
    return _literal(value) if value is not None else default


def _gathered(steps: list[Callable[[], Any]]) -> list[Any]:
    """Return what each step gives. Raises ScanError with all that could not be read."""
    told, findings = [], []
    for step in steps:
        try:
            told.append(step())
        except _UnreadableError as error:
            findings.append(error.finding)
    if findings:
        raise ScanError(findings)
    return told


def _id(node: ast.ClassDef, told: Any) -> str:
    if isinstance(told, str) and _ID.fullmatch(told):
        return told
    words = "needs the id of its service: letters, digits, '_', '.', '-'"
    raise ScanError([Finding(node.lineno, node.col_offset + 1, words)])


# aseloader

_PARAMETERS: dict[str, tuple[str, tuple[tuple[str, str, int | None], ...]]] = {
    "Integer": ("integer", (("minimum", "minimum", 0), ("maximum", "maximum", 1))),
    "Number": ("number", (("minimum", "minimum", 0), ("maximum", "maximum", 1))),
    "Boolean": ("boolean", ()),
    "String": ("string", (
        ("min_length", "minLength", None), ("max_length", "maxLength", None),
        ("pattern", "pattern", None),
    )),
    "Choice": ("string", ()),
}  # fmt: skip
_COMMON = (("default", "default", None), ("doc", "description", None))
_TEXT_BOUNDS = {"minLength": 0, "maxLength": 1024}


def _of_aseloader(node: ast.ClassDef, _: list[ast.ClassDef]) -> Declaration:
    fields = list(_fields(node))
    head = {
        "id": lambda: _of_class(node, "service", ""),
        "version": lambda: _of_class(node, "version", "v1"),
        "deadline": lambda: _of_class(node, "deadline"),
        "idempotent": lambda: _of_class(node, "idempotent", False),
    }
    told = dict(zip(head, _gathered(list(head.values())), strict=True))
    told["id"] = _id(node, told["id"])
    methods = (ast.FunctionDef, ast.AsyncFunctionDef)
    return Declaration(
        **told,
        streams=any(isinstance(part, methods) and part.name == "session" for part in node.body),
        description=(ast.get_docstring(node) or "").partition("\n\n")[0],
        params=tuple(_gathered([_later(_param, f) for f in fields if f.kind in _PARAMETERS])),
        inputs=tuple(_gathered([_later(_input, f) for f in fields if f.kind == "Input"])),
        outputs=tuple(_gathered([_later(_output, f) for f in fields if f.kind == "Output"])),
    )


def _later(read: Callable[[_Field], Any], field: _Field) -> Callable[[], Any]:
    return lambda: read(field)


def _param(field: _Field) -> Param:
    kind, told = _PARAMETERS[field.kind]
    rules: dict[str, Any] = {"type": kind}
    rules |= _TEXT_BOUNDS if field.kind == "String" else {}
    if field.kind == "Choice":
        rules["enum"] = [_literal(word) for word in field.call.args]
    for key, keyword, at in (*told, *_COMMON):
        value = field.value(key, at)
        if value not in (None, ""):
            rules[keyword] = value
    return Param(field.name, rules, field.value("required", default=False) is True)


def _kind(field: _Field) -> DataType:
    word = field.value("kind", 0, "")
    known = {kind.key: kind for kind in DataType}
    if not isinstance(word, str) or word not in known:
        raise _UnreadableError(field.call, f"{word!r} is no kind of payload", ", ".join(known))
    return known[word]


def _input(field: _Field) -> Stream:
    return Stream(
        field.name,
        _kind(field),
        _encodings(field),
        max_bytes=field.value("max_bytes", default=MAX_BYTES),
        required=field.value("required", default=True),
    )


def _output(field: _Field) -> Stream:
    return Stream(field.name, _kind(field), _encodings(field), field.value("format", default=""))


def _encodings(field: _Field) -> tuple[str, ...]:
    told = field.value("encodings", default=())
    if not isinstance(told, tuple | list) or not all(isinstance(word, str) for word in told):
        raise _UnreadableError(field.call, "encodings must be a tuple of words", '("jpg",)')
    return tuple(told)


# BaseASEApi and Arg

_ARG_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


def _of_base_api(node: ast.ClassDef, classes: list[ast.ClassDef]) -> Declaration:
    """Read `request` and `response`; the wrapper beside it names the service, or the class does."""
    parts = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
    beside = [_of_class(c, key) for c in classes for key in ("serviceId", "service")]
    names = [told for told in beside if isinstance(told, str) and told]
    request = list(_fields(parts["request"])) if "request" in parts else []
    response = list(_fields(parts["response"])) if "response" in parts else []
    return Declaration(
        id=_id(node, names[0] if names else node.name.lower()),
        description=ast.get_docstring(node) or "",
        params=tuple(_gathered([_later(_arg, f) for f in request if f.kind == "Arg"])),
        outputs=tuple(_gathered([_later(_arg_out, f) for f in response if f.kind == "Arg"])),
    )


def _arg(field: _Field) -> Param:
    name = field.value("key", 0, field.name)
    kind = field.value("type", 1, "str")
    if kind in ("dict", "list"):
        rules: dict[str, Any] = {"type": "string", "comment": {"JSON": {"type": "object"}}}
    else:
        rules = {"type": _ARG_TYPES.get(kind, "string")}
    rules |= {"description": words} if (words := field.value("desc", 2)) else {}
    low, high = field.value("min"), field.value("max")
    if low is not None and high is not None and low > high:
        low, high = high, low  # the design document has them so itself
    bounds = ("minLength", "maxLength") if rules["type"] == "string" else ("minimum", "maximum")
    rules |= {bounds[0]: low} if low is not None else {}
    rules |= {bounds[1]: high} if high is not None else {}
    rules |= field.values("default", "enum")
    return Param(name, rules, field.value("required", default=False) is True)


def _arg_out(field: _Field) -> Stream:
    return Stream(
        field.value("key", 0, field.name),
        DataType.TEXT,
        description=field.value("desc", 2, ""),
    )


# aiges

_BODIES = {
    "ImageBodyField": DataType.IMAGE, "AudioBodyField": DataType.AUDIO,
    "StringBodyField": DataType.TEXT, "JsonBodyField": DataType.TEXT,
    "VideoBodyField": DataType.VIDEO,
}  # fmt: skip
_PARAM_FIELDS = {
    "StringParamField": "string", "NumberParamField": "number", "IntegerParamField": "integer",
    "BooleanParamField": "boolean",
}  # fmt: skip


def _of_aiges(node: ast.ClassDef, classes: list[ast.ClassDef]) -> Declaration:
    """Read the request and response classes of a wrapper, or the wrapper's own attributes."""

    def side(attribute: str, base: str) -> list[_Field]:
        told = _attribute(node, attribute)
        called = told.func if isinstance(told, ast.Call) else told
        wanted = _last(called) if called is not None else ""
        for one in classes:
            if one.name == wanted or (not wanted and base in {_last(b) for b in one.bases}):
                return list(_fields(one))
        return []

    own = list(_fields(node))
    given, out = side("requestCls", "UserRequest") or own, side("responseCls", "UserResponse")
    head = _gathered(
        [
            lambda: _of_class(node, "serviceId", "") or node.name.lower(),
            lambda: str(_of_class(node, "version", "v1")),
        ]
    )
    ins = [f for f in given if f.kind in _BODIES and not f.name.startswith("accept")]
    outs = [f for f in out or given if f.kind in _BODIES and f not in ins]
    return Declaration(
        id=_id(node, head[0]),
        version=head[1],
        description=(ast.get_docstring(node) or "").partition("\n\n")[0],
        params=tuple(
            _gathered([_later(_aiges_param, f) for f in given if f.kind in _PARAM_FIELDS])
        ),
        inputs=tuple(_gathered([_later(_aiges_body, f) for f in ins])),
        outputs=tuple(_gathered([_later(_aiges_out, f) for f in outs])),
    )


def _aiges_param(field: _Field) -> Param:
    rules: dict[str, Any] = {"type": _PARAM_FIELDS[field.kind]}
    rules |= field.values("minLength", "maxLength", "minimum", "maximum", "default")
    words = field.value("enums") or field.value("enum")
    rules |= {"enum": list(words)} if words else {}
    return Param(field.value("key", 0, field.name), rules, field.value("required") is True)


def _aiges_body(field: _Field) -> Stream:
    return Stream(field.value("key", 0, field.name), _BODIES[field.kind])


def _aiges_out(field: _Field) -> Stream:
    shape = "json" if field.kind == "JsonBodyField" else ""
    return Stream(field.value("key", 0, field.name), _BODIES[field.kind], format=shape)
