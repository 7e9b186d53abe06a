"""A YAML text with its places: every value knows its line and column. Pure."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_BRACKET = re.compile(r"[\[\]{}]")
# The parser's time grows with the square of the depth.
_MOST_DEPTH = 200
_MOST_DIGITS = 400
_FORMS = ("null", "bool", "int", "float", "str")
# Of a long line, so much is shown; of many faults, so many.
_SHOWN, _MOST_FAULTS = 160, 50


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: line and column count from 1, `width` in characters."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: what, where (None: not in a file), and the cure where there is one."""

    message: str
    place: Place | None = None
    hint: str = ""


class ConfigError(Exception):
    """Everything that is wrong with a configuration, told at once; `str()` shows each in place."""

    def __init__(self, name: str, lines: list[str], faults: list[Fault]) -> None:
        ordered = sorted(faults, key=_order)
        told = [_shown(name, lines, fault) for fault in ordered[:_MOST_FAULTS]]
        if len(ordered) > _MOST_FAULTS:
            told.append(f"{name}: and {len(ordered) - _MOST_FAULTS} more")
        super().__init__("\n".join(told))
        self.faults = tuple(ordered)


@dataclass(slots=True)
class Source:
    """A parsed file: its values, and the place of each by its path."""

    name: str
    lines: list[str] = field(default_factory=list)
    tree: Any = None
    places: dict[Path, Place] = field(default_factory=dict)


def read(text: str, name: str) -> Source:
    """Parse a YAML text; `name` is the file's, for messages.

    Raises ConfigError for what is not YAML, for duplicate keys and for aliases.
    """
    source = Source(name, text.split("\n"))
    if _depth(text) > _MOST_DEPTH:
        raise ConfigError(name, source.lines, [Fault(f"nested more than {_MOST_DEPTH} deep")])
    faults: list[Fault] = []
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                where = _at(event.start_mark)
                raise ConfigError(name, source.lines, [Fault("aliases are not allowed", where)])
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        fault = Fault(f"not YAML: {error.problem}", _at(error.problem_mark))
        raise ConfigError(name, source.lines, [fault]) from None
    except RecursionError:
        raise ConfigError(name, source.lines, [Fault("nested too deep")]) from None
    except yaml.YAMLError as error:
        raise ConfigError(name, source.lines, [Fault(f"not YAML: {error}")]) from None
    if node is not None:
        source.tree = _value(node, (), source, faults)
    if faults:
        raise ConfigError(name, source.lines, faults)
    return source


def _depth(text: str) -> int:
    """Return how deep brackets stand within each other, those in texts counted too."""
    depth = deepest = 0
    for match in _BRACKET.finditer(text):
        depth += 1 if match[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _value(node: yaml.Node, path: Path, source: Source, faults: list[Fault]) -> Any:
    source.places[path] = _place(node)
    match node:
        case yaml.MappingNode():
            return _mapping(node, path, source, faults)
        case yaml.SequenceNode():
            return [_value(v, (*path, i), source, faults) for i, v in enumerate(node.value)]
        case _:
            # Dates and numbers to base 60 are texts; nobody writes a number of a thousand digits.
            form = node.tag.rpartition(":")[2]
            if form == "timestamp" or (form in ("int", "float") and ":" in node.value):
                return node.value
            if form not in _FORMS or (form in ("int", "float") and len(node.value) > _MOST_DIGITS):
                faults.append(Fault("cannot be read as a value", _place(node)))
                return None
            try:
                return yaml.SafeLoader("").construct_object(node)
            except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError):
                faults.append(Fault("cannot be read as a value", _place(node)))
                return None


def _mapping(
    node: yaml.MappingNode, path: Path, source: Source, faults: list[Fault]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in values:
            faults.append(Fault(f"key {key!r} stands here twice", _place(key_node)))
        values[key] = _value(value_node, (*path, key), source, faults)
        source.places[(*path, key, "")] = _place(key_node)
    return values


def _order(fault: Fault) -> tuple[int, int]:
    return (fault.place.line, fault.place.column) if fault.place else (0, 0)


def _at(mark: Any) -> Place | None:
    return Place(mark.line + 1, mark.column + 1) if mark else None


def _place(node: yaml.Node) -> Place:
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(width, 1))


def _shown(name: str, lines: list[str], fault: Fault) -> str:
    hint = f"\n  hint: {fault.hint}" if fault.hint else ""
    if fault.place is None:
        return f"{name}: error: {fault.message}{hint}"
    place = fault.place
    head = f"{name}:{place.line}:{place.column}: error: {fault.message}"
    if not 0 < place.line <= len(lines):
        return head + hint
    number = f"{place.line:5} | "
    first = max(0, place.column - 1 - _SHOWN // 2)
    line = lines[place.line - 1][first : first + _SHOWN]
    width = max(1, min(place.width, _SHOWN - (place.column - 1 - first)))
    caret = " " * (len(number) - 2) + "| " + " " * (place.column - 1 - first) + "^" * width
    return f"{head}\n{number}{line}\n{caret}{hint}"
