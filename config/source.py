"""Parse YAML and record the line and column of every key and value. Pure."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from config.yaml_core import CoreLoader, scalar_type, scalar_value

ConfigPath = tuple[str | int, ...]

_BRACKET = re.compile(r"[\[\]{}]")
# The YAML parser's time grows with the square of the nesting depth.
_MAX_DEPTH = 200
_MAX_DIGITS = 400
# Limits of an error message: characters quoted from a line, and number of diagnostics.
_MAX_LINE_WIDTH, _MAX_DIAGNOSTICS = 160, 50


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Location of a key or a value: `line` and `column` count from 1, `width` is in characters.

    `width` is 1 if the value spans several lines.
    """

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error: message, location (None: not in a file) and hint on the cure ("" if none)."""

    message: str
    location: SourceLocation | None = None
    hint: str = ""


class ConfigError(Exception):
    """All errors of a configuration; `str()` quotes the source line of each with a caret below.

    `diagnostics` is ordered by location; errors without a location come first. `str()` shows at
    most 50 of them and the number of the others.
    """

    def __init__(self, name: str, lines: list[str], diagnostics: list[Diagnostic]) -> None:
        ordered = sorted(diagnostics, key=_sort_key)
        messages = [
            _format_diagnostic(name, lines, diagnostic) for diagnostic in ordered[:_MAX_DIAGNOSTICS]
        ]
        if len(ordered) > _MAX_DIAGNOSTICS:
            messages.append(f"{name}: and {len(ordered) - _MAX_DIAGNOSTICS} more")
        super().__init__("\n".join(messages))
        self.diagnostics = tuple(ordered)


@dataclass(slots=True)
class SourceFile:
    """A parsed file: `tree` holds its values, `locations` the location of each by its path.

    A path consists of the mapping keys and list indexes from the root. The path of a value with ""
    appended is the location of the mapping key in front of it. `tree` is None for an empty file.
    `texts` are numbers and booleans as they are written, by path: `version: 1.10` may be meant as a
    text.
    """

    name: str
    lines: list[str] = field(default_factory=list)
    tree: Any = None
    locations: dict[ConfigPath, SourceLocation] = field(default_factory=dict)
    texts: dict[ConfigPath, str] = field(default_factory=dict)


def parse_yaml(text: str, name: str) -> SourceFile:
    """Parse a text of YAML 1.2; `name` is the name of the file in error messages.

    Raises ConfigError if the text is not YAML, nests too deep or contains an alias, a duplicate
    key or a value that cannot be read. Duplicate keys and unreadable values are all reported at
    once.
    """
    source = SourceFile(name, text.split("\n"))
    if _bracket_depth(text) > _MAX_DEPTH:
        raise ConfigError(name, source.lines, [Diagnostic(f"nested more than {_MAX_DEPTH} deep")])
    diagnostics: list[Diagnostic] = []
    try:
        for event in yaml.parse(text, Loader=CoreLoader):
            if isinstance(event, yaml.AliasEvent):
                location = _mark_location(event.start_mark)
                raise ConfigError(
                    name, source.lines, [Diagnostic("aliases are not allowed", location)]
                )
        node = yaml.compose(text, Loader=CoreLoader)
    except yaml.MarkedYAMLError as error:
        diagnostic = Diagnostic(f"not YAML: {error.problem}", _mark_location(error.problem_mark))
        raise ConfigError(name, source.lines, [diagnostic]) from None
    except RecursionError:
        raise ConfigError(name, source.lines, [Diagnostic("nested too deep")]) from None
    except yaml.YAMLError as error:
        raise ConfigError(name, source.lines, [Diagnostic(f"not YAML: {error}")]) from None
    if node is not None:
        source.tree = _construct_value(node, (), source, diagnostics)
    if diagnostics:
        raise ConfigError(name, source.lines, diagnostics)
    return source


def _bracket_depth(text: str) -> int:
    """Return the nesting depth of brackets and braces, including those within strings.

    This scan of the characters runs before the parser, whose time it bounds.
    """
    depth = deepest = 0
    for match in _BRACKET.finditer(text):
        depth += 1 if match[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _construct_value(
    node: yaml.Node, path: ConfigPath, source: SourceFile, diagnostics: list[Diagnostic]
) -> Any:
    source.locations[path] = _node_location(node)
    match node:
        case yaml.MappingNode():
            return _construct_mapping(node, path, source, diagnostics)
        case yaml.SequenceNode():
            return [
                _construct_value(v, (*path, i), source, diagnostics)
                for i, v in enumerate(node.value)
            ]
        case _:
            return _construct_scalar(node, path, source, diagnostics)


def _construct_scalar(
    node: yaml.Node, path: ConfigPath, source: SourceFile, diagnostics: list[Diagnostic]
) -> Any:
    """Return the value of a scalar. A number of more than `_MAX_DIGITS` characters is an error."""
    kind = scalar_type(node)
    try:
        if not kind or (kind in ("int", "float") and len(node.value) > _MAX_DIGITS):
            raise ValueError
        value = scalar_value(node)
    except ValueError:
        diagnostics.append(Diagnostic("cannot be read as a value", _node_location(node)))
        return None
    if kind in ("bool", "int", "float"):
        source.texts[path] = node.value
    return value


def _construct_mapping(
    node: yaml.MappingNode, path: ConfigPath, source: SourceFile, diagnostics: list[Diagnostic]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in values:
            diagnostics.append(Diagnostic(f"key {key!r} occurs twice", _node_location(key_node)))
        values[key] = _construct_value(value_node, (*path, key), source, diagnostics)
        source.locations[(*path, key, "")] = _node_location(key_node)
    return values


def _sort_key(diagnostic: Diagnostic) -> tuple[int, int]:
    return (diagnostic.location.line, diagnostic.location.column) if diagnostic.location else (0, 0)


def _mark_location(mark: Any) -> SourceLocation | None:
    return SourceLocation(mark.line + 1, mark.column + 1) if mark else None


def _node_location(node: yaml.Node) -> SourceLocation:
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return SourceLocation(start.line + 1, start.column + 1, max(width, 1))


def _format_diagnostic(name: str, lines: list[str], diagnostic: Diagnostic) -> str:
    hint = f"\n  hint: {diagnostic.hint}" if diagnostic.hint else ""
    if diagnostic.location is None:
        return f"{name}: error: {diagnostic.message}{hint}"
    location = diagnostic.location
    headline = f"{name}:{location.line}:{location.column}: error: {diagnostic.message}"
    if not 0 < location.line <= len(lines):
        return headline + hint
    gutter = f"{location.line:5} | "
    first_column = max(0, location.column - 1 - _MAX_LINE_WIDTH // 2)
    line = lines[location.line - 1][first_column : first_column + _MAX_LINE_WIDTH]
    width = max(1, min(location.width, _MAX_LINE_WIDTH - (location.column - 1 - first_column)))
    caret = (
        " " * (len(gutter) - 2) + "| " + " " * (location.column - 1 - first_column) + "^" * width
    )
    return f"{headline}\n{gutter}{line}\n{caret}{hint}"
