"""Extraction of an API declaration from Python source, without running it. Pure.

Three forms are supported: `aseloader` wrappers with typed class attributes, the `BaseASEApi` and
`Arg` of asectl's design document, and wrappers of the PyPI package `aiges` with the fields of their
UserRequest and UserResponse classes (`docs/wire.md`). Values must be constants (`constants.py`);
any other value is reported with its line.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.model.service import SERVICE_ID, DataType
from schemas.sources.constants import ModuleReader, fold_constants
from schemas.sources.declare import MAX_BYTES, Declaration, Param, PayloadStream


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in a source; `line` and `column` count from 1."""

    line: int
    column: int
    message: str
    hint: str = ""


class ScanError(Exception):
    """A source that declares no API, or has values that are not literals.

    `findings` has every problem.
    """

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(f"line {f.line}: {f.message}" for f in findings))
        self.findings = tuple(findings)


class _UnreadableError(Exception):
    """A value in the source that cannot be read, with its location as a Finding."""

    def __init__(self, node: ast.expr, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.finding = Finding(node.lineno, node.col_offset + 1, message, hint)


@dataclass(frozen=True, slots=True)
class _Field:
    """One declared name, the last name of the constructor, and the call to it."""

    name: str
    constructor: str
    call: ast.Call

    def argument(self, key: str, position: int | None = None, default: Any = None) -> Any:
        """Return the argument with the keyword `key`, or else the one at `position`.

        Returns `default` if there is neither. A `key` of bytes is returned as text, since some
        wrappers have it so. Raises _UnreadableError if the value is no literal.
        """
        nodes = [keyword.value for keyword in self.call.keywords if keyword.arg == key]
        if not nodes and position is not None and position < len(self.call.args):
            nodes = [self.call.args[position]]
        value = _literal_value(nodes[0]) if nodes else default
        is_name = key == "key" and isinstance(value, bytes)
        return value.decode("utf-8", "replace") if is_name else value

    def has_keyword(self, key: str) -> bool:
        """Return whether the call has the keyword argument `key`."""
        return any(keyword.arg == key for keyword in self.call.keywords)

    def given_arguments(self, *keys: str) -> dict[str, Any]:
        """Return the keyword arguments among `keys` that are present and not None."""
        arguments = {key: self.argument(key) for key in keys}
        return {key: value for key, value in arguments.items() if value is not None}


def declaration_from_source(
    source: str, name: str = "", read_module: ModuleReader = lambda _: None
) -> Declaration:
    """Return the API that the Python `source` declares.

    `name` selects the class if several declare an API. `read_module` returns the source of a module
    that is imported, for the constants in it. Raises ScanError with the problems found.
    """
    tree = _parse_source(source)
    try:
        fold_constants(tree, read_module)
    except RecursionError:
        raise ScanError([Finding(1, 1, "an expression is nested too deep")]) from None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    candidates = [
        (node, reader) for node in classes if (reader := _select_reader(node, classes)) is not None
    ]
    matching = [pair for pair in candidates if pair[0].name == name] if name else candidates
    if len(matching) != 1:
        class_names = ", ".join(node.name for node, _ in candidates) or "none"
        message = f"one class that declares an API is needed, not {len(matching)}"
        raise ScanError([Finding(1, 1, message, f"classes that do: {class_names}")])
    ((node, reader),) = matching
    try:
        return reader(node, classes)
    except _UnreadableError as error:
        raise ScanError([error.finding]) from None
    except (TypeError, ValueError, AttributeError) as error:
        message = f"declares what no field takes: {error}"
        raise ScanError([Finding(node.lineno, node.col_offset + 1, message)]) from None


def _parse_source(source: str) -> ast.Module:
    for text in (source, source.expandtabs(4)):  # the design document mixes tabs and spaces
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            syntax_error = error
    line, column = (
        getattr(syntax_error, "lineno", None) or 1,
        getattr(syntax_error, "offset", None) or 1,
    )
    raise ScanError(
        [Finding(line, column, f"not Python: {getattr(syntax_error, 'msg', syntax_error)}")]
    )


_ClassReader = Callable[[ast.ClassDef, list[ast.ClassDef]], Declaration]


def _select_reader(node: ast.ClassDef, classes: list[ast.ClassDef]) -> _ClassReader | None:
    bases = {_last_name(base) for base in node.bases}
    if "BaseASEApi" in bases:
        return _read_base_api
    if bases & {"WrapperBase", "Wrapper"}:
        fields = list(_fields(node))
        has_request_class = any(
            {"UserRequest", "UserResponse"} & {_last_name(b) for b in c.bases} for c in classes
        )
        is_aiges = (
            "WrapperBase" in bases
            or any(_find_attribute(node, n) for n in _AIGES_NAMES)
            or has_request_class
        )
        if is_aiges:
            return _read_aiges_wrapper
        return (
            _read_aseloader_wrapper
            if any(field.constructor in _PARAMETER_FIELDS for field in fields)
            or any(field.constructor in ("Input", "Output") for field in fields)
            else None
        )
    return None


_AIGES_NAMES = ("requestCls", "responseCls", "serviceId")


def _last_name(node: ast.expr) -> str:
    """Return the last part of a dotted name; "" for any other expression."""
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
            yield _Field(name, _last_name(value.func), value)


def _find_attribute(node: ast.ClassDef, name: str) -> ast.expr | None:
    return dict(_assignments(node.body)).get(name)


def _literal_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in ("int", "float", "str", "bool", "dict", "list"):
        return node.id
    try:
        return ast.literal_eval(node)
    except ValueError:
        message = "cannot be read without running the file"
        hint = "write the value out, or assign it to a name once, at the top level"
        raise _UnreadableError(node, message, hint) from None


def _attribute_value(node: ast.ClassDef, name: str, default: Any = None) -> Any:
    value = _find_attribute(node, name)
    return _literal_value(value) if value is not None else default


def _collect(steps: list[Callable[[], Any]]) -> list[Any]:
    """Return the result of each step. Raises ScanError with the findings of all failed steps."""
    results, findings = [], []
    for step in steps:
        try:
            results.append(step())
        except _UnreadableError as error:
            findings.append(error.finding)
    if findings:
        raise ScanError(findings)
    return results


def _check_service_id(node: ast.ClassDef, service_id: Any) -> str:
    if isinstance(service_id, str) and SERVICE_ID.fullmatch(service_id):
        return service_id
    message = "needs the id of its service: letters, digits, '_', '.', '-'"
    raise ScanError([Finding(node.lineno, node.col_offset + 1, message)])


# aseloader

_PARAMETER_FIELDS: dict[str, tuple[str, tuple[tuple[str, str, int | None], ...]]] = {
    "Integer": ("integer", (("minimum", "minimum", 0), ("maximum", "maximum", 1))),
    "Number": ("number", (("minimum", "minimum", 0), ("maximum", "maximum", 1))),
    "Boolean": ("boolean", ()),
    "String": ("string", (
        ("min_length", "minLength", None), ("max_length", "maxLength", None),
        ("pattern", "pattern", None),
    )),
    "Choice": ("string", ()),
}  # fmt: skip
_COMMON_ARGUMENTS = (("default", "default", None), ("doc", "description", None))
_TEXT_BOUNDS = {"minLength": 0, "maxLength": 1024}


def _read_aseloader_wrapper(node: ast.ClassDef, _: list[ast.ClassDef]) -> Declaration:
    fields = list(_fields(node))
    _check_types(fields)
    attribute_readers = {
        "id": lambda: _attribute_value(node, "service", ""),
        "version": lambda: _attribute_value(node, "version", "v1"),
        "deadline": lambda: _attribute_value(node, "deadline"),
        "idempotent": lambda: _attribute_value(node, "idempotent", False),
    }
    attributes = dict(
        zip(attribute_readers, _collect(list(attribute_readers.values())), strict=True)
    )
    attributes["id"] = _check_service_id(node, attributes["id"])
    methods = (ast.FunctionDef, ast.AsyncFunctionDef)
    return Declaration(
        **attributes,
        streaming=any(
            isinstance(statement, methods) and statement.name == "session"
            for statement in node.body
        ),
        description=(ast.get_docstring(node) or "").partition("\n\n")[0],
        params=tuple(
            _collect([_defer(_read_param, f) for f in fields if f.constructor in _PARAMETER_FIELDS])
        ),
        inputs=tuple(
            _collect([_defer(_read_input, f) for f in fields if f.constructor == "Input"])
        ),
        outputs=tuple(
            _collect([_defer(_read_output, f) for f in fields if f.constructor == "Output"])
        ),
    )


def _check_types(fields: list[_Field]) -> None:
    """Raise _UnreadableError for the first field with a type, which is known to Python alone."""
    for field in fields:
        is_payload = field.constructor in ("Input", "Output")
        if field.constructor == "Object" or (is_payload and field.has_keyword("type")):
            hint = "`asectl loader schema FILE:Class` runs the file and prints the schema"
            raise _UnreadableError(field.call, "a type cannot be read from the source", hint)


def _defer(reader: Callable[[_Field], Any], field: _Field) -> Callable[[], Any]:
    return lambda: reader(field)


def _read_param(field: _Field) -> Param:
    type_name, arguments = _PARAMETER_FIELDS[field.constructor]
    rules: dict[str, Any] = {"type": type_name}
    rules |= _TEXT_BOUNDS if field.constructor == "String" else {}
    if field.constructor == "Choice":
        rules["enum"] = [_literal_value(choice) for choice in field.call.args]
    for key, keyword, position in (*arguments, *_COMMON_ARGUMENTS):
        value = field.argument(key, position)
        if value not in (None, ""):
            rules[keyword] = value
    name = field.argument("name", default="") or field.name
    return Param(name, rules, field.argument("required", default=False) is True)


def _read_data_type(field: _Field) -> DataType:
    type_name = field.argument("kind", 0, "")
    data_types = {data_type.key: data_type for data_type in DataType} | {"json": DataType.TEXT}
    if not isinstance(type_name, str) or type_name not in data_types:
        raise _UnreadableError(
            field.call, f"{type_name!r} is no kind of payload", ", ".join(data_types)
        )
    return data_types[type_name]


def _read_input(field: _Field) -> PayloadStream:
    return PayloadStream(
        field.argument("name", default="") or field.name,
        _read_data_type(field),
        _read_encodings(field),
        max_bytes=field.argument("max_bytes", default=MAX_BYTES),
        required=field.argument("required", default=True),
        # The type of the values is a class, which only running the module would know.
        value_schema={} if field.argument("kind", 0) == "json" else None,
    )


def _read_output(field: _Field) -> PayloadStream:
    return PayloadStream(
        field.argument("name", default="") or field.name,
        _read_data_type(field),
        _read_encodings(field),
        "json" if field.argument("kind", 0) == "json" else field.argument("format", default=""),
    )


def _read_encodings(field: _Field) -> tuple[str, ...]:
    encodings = field.argument("encodings", default=())
    if not isinstance(encodings, tuple | list) or not all(
        isinstance(encoding, str) for encoding in encodings
    ):
        raise _UnreadableError(field.call, "encodings must be a tuple of words", '("jpg",)')
    return tuple(encodings)


# BaseASEApi and Arg

_ARG_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


def _read_base_api(node: ast.ClassDef, classes: list[ast.ClassDef]) -> Declaration:
    """Read the methods `request` and `response` of a `BaseASEApi` class.

    The service id is the attribute `serviceId` or `service` of a class in the same source, or else
    the name of the class in lower case.
    """
    methods = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
    candidates = [_attribute_value(c, key) for c in classes for key in ("serviceId", "service")]
    service_ids = [
        candidate for candidate in candidates if isinstance(candidate, str) and candidate
    ]
    request = list(_fields(methods["request"])) if "request" in methods else []
    response = list(_fields(methods["response"])) if "response" in methods else []
    return Declaration(
        id=_check_service_id(node, service_ids[0] if service_ids else node.name.lower()),
        description=ast.get_docstring(node) or "",
        params=tuple(_collect([_defer(_read_arg, f) for f in request if f.constructor == "Arg"])),
        outputs=tuple(
            _collect([_defer(_read_arg_output, f) for f in response if f.constructor == "Arg"])
        ),
    )


def _read_arg(field: _Field) -> Param:
    name = field.argument("key", 0, field.name)
    type_name = field.argument("type", 1, "str")
    if type_name in ("dict", "list"):
        rules: dict[str, Any] = {"type": "string", "comment": {"JSON": {"type": "object"}}}
    else:
        rules = {"type": _ARG_TYPES.get(type_name, "string")}
    rules |= {"description": description} if (description := field.argument("desc", 2)) else {}
    low, high = field.argument("min"), field.argument("max")
    if low is not None and high is not None and low > high:
        low, high = high, low  # the design document has them in the wrong order
    bound_keywords = (
        ("minLength", "maxLength") if rules["type"] == "string" else ("minimum", "maximum")
    )
    rules |= {bound_keywords[0]: low} if low is not None else {}
    rules |= {bound_keywords[1]: high} if high is not None else {}
    rules |= field.given_arguments("default", "enum")
    return Param(name, rules, field.argument("required", default=False) is True)


def _read_arg_output(field: _Field) -> PayloadStream:
    return PayloadStream(
        field.argument("key", 0, field.name),
        DataType.TEXT,
        description=field.argument("desc", 2, ""),
    )


# aiges

_BODY_FIELDS = {
    "ImageBodyField": DataType.IMAGE, "AudioBodyField": DataType.AUDIO,
    "StringBodyField": DataType.TEXT, "JsonBodyField": DataType.TEXT,
    "VideoBodyField": DataType.VIDEO,
}  # fmt: skip
# The arguments of each parameter field in their order, with the defaults of `aiges` 0.5.0. `value`
# is what its test runs send, and no default of the API.
_PARAM_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "StringParamField": ("string", {
        "key": None, "minLength": 0, "maxLength": 1024, "enums": (), "required": False,
        "value": "", "description": "", "title": "",
    }),
    "NumberParamField": ("number", {
        "key": None, "minimum": 0, "maximum": 100, "enums": (), "required": False, "value": 0,
    }),
    "IntegerParamField": ("integer", {
        "key": None, "minimum": 0, "maximum": 100, "enums": (), "required": False, "value": 0,
    }),
    "BooleanParamField": ("boolean", {
        "key": None, "title": "", "default": False, "required": False,
    }),
}  # fmt: skip
_BOUNDS = ("minLength", "maxLength", "minimum", "maximum")


def _read_aiges_wrapper(node: ast.ClassDef, classes: list[ast.ClassDef]) -> Declaration:
    """Read an `aiges` wrapper: its request and response classes, or else its own attributes."""

    def message_fields(attribute: str, base: str) -> list[_Field]:
        attribute_node = _find_attribute(node, attribute)
        class_node = attribute_node.func if isinstance(attribute_node, ast.Call) else attribute_node
        class_name = _last_name(class_node) if class_node is not None else ""
        for candidate in classes:
            if candidate.name == class_name or (
                not class_name and base in {_last_name(b) for b in candidate.bases}
            ):
                return list(_fields(candidate))
        return []

    own_fields = list(_fields(node))
    request_fields, response_fields = (
        message_fields("requestCls", "UserRequest") or own_fields,
        message_fields("responseCls", "UserResponse"),
    )
    identity = _collect(
        [
            lambda: _attribute_value(node, "serviceId", "") or node.name.lower(),
            lambda: str(_attribute_value(node, "version", "v1")),
        ]
    )
    input_fields = [
        f
        for f in request_fields
        if f.constructor in _BODY_FIELDS and not f.name.startswith("accept")
    ]
    output_fields = [
        f
        for f in response_fields or request_fields
        if f.constructor in _BODY_FIELDS and f not in input_fields
    ]
    return Declaration(
        id=_check_service_id(node, identity[0]),
        version=identity[1],
        streaming=_has_method(node, "wrapperWrite", classes),
        description=(ast.get_docstring(node) or "").partition("\n\n")[0],
        params=tuple(
            _collect(
                [
                    _defer(_read_aiges_param, f)
                    for f in request_fields
                    if f.constructor in _PARAM_FIELDS
                ]
            )
        ),
        inputs=tuple(_collect([_defer(_read_aiges_input, f) for f in input_fields])),
        outputs=tuple(_collect([_defer(_read_aiges_output, f) for f in output_fields])),
    )


def _has_method(node: ast.ClassDef, name: str, classes: list[ast.ClassDef]) -> bool:
    """Return whether a class, or a base in the same source, has a method that does something.

    Templates have all methods, those that are not written as `pass` or `return`.
    """
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name == name:
            return not all(_does_nothing(part) for part in statement.body)
    base_names = {_last_name(base) for base in node.bases} - {node.name}
    return any(_has_method(base, name, classes) for base in classes if base.name in base_names)


def _does_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Raise() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Return(value=None | ast.Constant()):
            return True
    return False


def _read_aiges_param(field: _Field) -> Param:
    """Read a parameter field; its bounds apply only if it has no choices, as in `aiges`."""
    type_name, defaults = _PARAM_FIELDS[field.constructor]
    wanted = {name: default for name, default in defaults.items() if name != "value"}
    arguments = {
        name: field.argument(name, position, wanted[name])
        for position, name in enumerate(defaults)
        if name in wanted
    }
    choices = field.argument("enum") or arguments.get("enums")
    bounds = {name: arguments[name] for name in _BOUNDS if arguments.get(name) is not None}
    rules: dict[str, Any] = {"type": type_name}
    rules |= {"enum": list(choices)} if choices else bounds
    if arguments.get("default") is not None:
        rules["default"] = arguments["default"]
    description = arguments.get("description") or arguments.get("title")
    rules |= {"description": description} if description else {}
    return Param(arguments["key"] or field.name, rules, arguments["required"] is True)


def _read_aiges_input(field: _Field) -> PayloadStream:
    return PayloadStream(field.argument("key", 0, field.name), _BODY_FIELDS[field.constructor])


def _read_aiges_output(field: _Field) -> PayloadStream:
    format_name = "json" if field.constructor == "JsonBodyField" else ""
    return PayloadStream(
        field.argument("key", 0, field.name), _BODY_FIELDS[field.constructor], format=format_name
    )
