"""Upper bound of the time to validate a body; a schema above the budget does not load. Pure.

A schema and a body are trees, so each pair of a subschema and a value meets at most once. The cost
is therefore bounded by a sum over the keywords: the number of values that a keyword can meet, times
its measured cost in nanoseconds (`docs/schemas.md`), plus the bytes that a pattern can read, times
its cost per byte. The maximum number of values in a body follows from that sum for each schema.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final

from schemas.model.document import Problem
from schemas.validation.explain import MAX_SEARCH_DEPTH
from schemas.validation.formats import CHECKED_FORMATS

_Path = tuple[str | int, ...]

# A schema that cannot validate a body of this many values within the budget does not load.
MIN_BODY_VALUES: Final = 10_000
_MAX_BODY_VALUES: Final = 10_000_000
_MAX_BODY_BYTES: Final = 16 * 1024 * 1024  # default of `gateway.max_body`
# A body that is rejected is validated with limits in characters, with limits in bytes, and once
# more for each level of arrays that is searched for violations.
_BUDGET_NS: Final = 80e6
_MIN_PASSES, _PASSES_PER_DEPTH = 3.0, 1.1
# A string with a `pattern` and no `maxLength` may be as long as one pass reads in this time, and at
# most this many bytes.
_PATTERN_BUDGET_NS, _MAX_PATTERN_TEXT_BYTES = 10e6, 1024 * 1024

_KEYWORD_NS: Final = 30.0
_MEMBER_NS: Final = 150.0  # an undeclared member
_CALLBACK_NS, _FAILED_CALLBACK_NS = 650.0, 2200.0
_CALLBACK_KEYWORDS: Final = frozenset({"maxB64DLen", "minB64DLen", "multipleOf", "error"})
_LENGTH_NS, _FAILED_LENGTH_NS = 330.0, 1500.0  # zero for an ASCII body
BOUND_KEYWORDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_MAX_SAFE_INT, _INEXACT_BOUND_NS = 2**53, 800.0
_MAX_RANGES: Final = 8
_COMPARISON_NS, _CONTAINER_NS = 2000.0, 200.0
_ITEM_NS, _NESTED_ITEM_NS = 250.0, 1000.0
_NUMBERS: Final = frozenset({"number", "integer"})
_TYPES_BY_KEYWORD: Final = {
    **dict.fromkeys(("format", "pattern", "maxB64DLen", "minB64DLen"), frozenset({"string"})),
    **dict.fromkeys(("maxLength", "minLength"), frozenset({"string", "array"})),
    **dict.fromkeys((*sorted(BOUND_KEYWORDS), "multipleOf"), _NUMBERS),
    "uniqueItems": frozenset({"array"}),
}
_SCALARS: Final = frozenset({"string", "integer", "number", "boolean", "null"})
_PATTERN_CALL_NS = 150.0
_FORMAT_NS, _FORMAT_BYTE_NS = 600.0, 0.7
_REGEX_FORMAT_NS: Final = 1e6  # the format `regex` compiles a pattern of the sender
# A pattern of few atoms has a small automaton and reads a byte in _BYTE_NS. Any other pattern takes
# one step per atom for each byte, of _STEP_NS each; a word boundary adds 10 steps.
_SMALL_PATTERN_ATOMS: Final = 10
_BYTE_NS, _STEP_NS = 1.5, 20.0
_MAX_ATOMS: Final = 1_000_000


@dataclass(slots=True)
class Cost:
    """The cost of one keyword: `ns_per_value` for each of the `max_values` values it can meet.

    `path` is the location of the keyword in the schema. `max_ns` limits the total: it is what all
    bytes of a body can cost there.
    """

    path: _Path
    ns_per_value: float
    max_values: float
    max_ns: float = inf

    def worst_case_ns(self, value_count: float) -> float:
        """Return the maximum cost in nanoseconds for a body of `value_count` values."""
        return min(self.ns_per_value * min(self.max_values, value_count), self.max_ns)


def check_costs(costs: Sequence[Cost]) -> list[Problem]:
    """Return the problem of a compiled schema that exceeds the budget, or an empty list.

    The budget of 80 ms applies to a body of 10,000 values. The problem names the most expensive
    keyword.
    """
    total_ns = sum(cost.worst_case_ns(MIN_BODY_VALUES) for cost in costs)
    if total_ns <= _BUDGET_NS:
        return []
    worst = max(costs, key=lambda cost: cost.worst_case_ns(MIN_BODY_VALUES))
    hint = "bound what it can meet: maxLength of the text, maxItems of the array around it"
    message = f"could cost {total_ns / 1e6:,.0f} ms for one body (at most {_BUDGET_NS / 1e6:.0f})"
    return [Problem(worst.path, message, hint)]


def max_body_values(costs: Sequence[Cost], budget_ns: float = _BUDGET_NS) -> int:
    """Return the number of values a body may have so that `costs` stay within `budget_ns`.

    The result is at most 10,000,000. It may be up to 1/128 too low, where the search stops.
    """
    if sum(cost.worst_case_ns(_MAX_BODY_VALUES) for cost in costs) <= budget_ns:
        return _MAX_BODY_VALUES
    low, high = 0, _MAX_BODY_VALUES
    while high - low > low // 128:
        middle = (low + high + 1) // 2
        if sum(cost.worst_case_ns(middle) for cost in costs) <= budget_ns:
            low = middle
        else:
            high = middle - 1
    return low


def schema_costs(schema: Mapping[str, Any], path: _Path) -> list[Cost]:
    """Return the cost of each keyword of the compiled `schema`, whose location is `path`."""
    costs: list[Cost] = []
    _append_costs(costs, schema, path, 1.0, 0, may_fail_often=False)
    return costs


def _append_costs(
    costs: list[Cost],
    schema: Any,
    path: _Path,
    value_count: float,
    depth: int,
    *,
    may_fail_often: bool,
) -> None:
    """Append to `costs` the cost of each keyword of a schema that can meet `value_count` values.

    `depth` is the number of arrays, and of objects with undeclared members, around the schema.
    `may_fail_often` states that the schema is below `anyOf`, `if` or `not`, where it may reject
    every value; elsewhere the first rejection ends the validation.
    """
    if not isinstance(schema, dict):
        return
    passes = max(_MIN_PASSES, 2 + _PASSES_PER_DEPTH * min(depth, MAX_SEARCH_DEPTH + 1))
    append_nested = partial(_append_costs, costs, may_fail_often=may_fail_often)
    for keyword, value in schema.items():
        keyword_path = (*path, keyword)
        match keyword:
            case "properties":
                costs.append(Cost(keyword_path, passes * _KEYWORD_NS, value_count))
                for name, subschema in value.items():
                    append_nested(subschema, (*keyword_path, name), value_count, depth)
            case "items" | "additionalProperties":
                max_items = schema.get("maxItems" if keyword == "items" else "maxProperties", inf)
                nested_count = value_count * max_items if value_count and max_items else 0.0
                if keyword == "additionalProperties" and value is not False:
                    costs.append(Cost(keyword_path, passes * _MEMBER_NS, nested_count))
                append_nested(value, keyword_path, nested_count, depth + 1)
            case "allOf" | "anyOf":
                for index, subschema in enumerate(value):
                    branch_may_fail = may_fail_often or keyword == "anyOf"
                    _append_costs(
                        costs,
                        subschema,
                        (*keyword_path, index),
                        value_count,
                        depth,
                        may_fail_often=branch_may_fail,
                    )
            case "if" | "then" | "else" | "not":
                branch_may_fail = may_fail_often or keyword in ("if", "not")
                _append_costs(
                    costs, value, keyword_path, value_count, depth, may_fail_often=branch_may_fail
                )
            case _:
                for subschema in _keyword_costs(
                    keyword, schema, keyword_path, value_count, may_fail_often=may_fail_often
                ):
                    subschema.ns_per_value *= passes
                    subschema.max_ns *= passes
                    costs.append(subschema)


def _keyword_costs(
    keyword: str,
    schema: Mapping[str, Any],
    path: _Path,
    value_count: float,
    *,
    may_fail_often: bool,
) -> Iterator[Cost]:
    """Yield the cost of one pass over a keyword that has no subschemas."""
    value = schema[keyword]
    if not _can_check(keyword, schema):
        yield Cost(path, _KEYWORD_NS, value_count)
        return
    callback_ns = _FAILED_CALLBACK_NS if may_fail_often else _CALLBACK_NS
    if keyword in ("pattern", "format"):
        format_ns = _REGEX_FORMAT_NS if value == "regex" else _FORMAT_NS
        yield Cost(path, format_ns if keyword == "format" else _PATTERN_CALL_NS, value_count)
        ns_per_byte = pattern_byte_ns(value) if keyword == "pattern" else _FORMAT_BYTE_NS
        yield Cost(
            path,
            ns_per_byte * schema.get("maxLength", _MAX_BODY_BYTES),
            value_count,
            ns_per_byte * _MAX_BODY_BYTES,
        )
    elif keyword == "enum":
        yield Cost(path, _enum_ns(value, value_count, callback_ns), value_count)
        if has_numbers(value) and any(isinstance(enum_value, dict | list) for enum_value in value):
            yield Cost(path, _NESTED_ITEM_NS, inf)
    elif keyword == "uniqueItems":
        item_types = schema.get("items", {}).get("type", "any")
        yield Cost(path, callback_ns, value_count)
        if ({item_types} if isinstance(item_types, str) else set(item_types)) <= _SCALARS:
            yield Cost(path, _ITEM_NS * value, value_count * schema.get("maxItems", inf))
        else:
            yield Cost(path, _NESTED_ITEM_NS * value, inf)
    elif keyword in ("required", "dependentRequired"):
        names = (
            value
            if isinstance(value, list)
            else [name for format_ns in value.values() for name in format_ns]
        )
        yield Cost(path, _KEYWORD_NS * (1 + len(names) + len(value)), value_count)
    elif keyword in ("maxLength", "minLength"):
        yield Cost(path, _FAILED_LENGTH_NS if may_fail_often else _LENGTH_NS, value_count)
    elif keyword in BOUND_KEYWORDS and (value != int(value) or abs(value) >= _MAX_SAFE_INT):
        yield Cost(path, _INEXACT_BOUND_NS, value_count)
    else:
        yield Cost(path, callback_ns if keyword in _CALLBACK_KEYWORDS else _KEYWORD_NS, value_count)


def _can_check(keyword: str, schema: Mapping[str, Any]) -> bool:
    """Return whether a keyword checks any value of the types that the schema allows."""
    if keyword == "format" and schema["format"] not in CHECKED_FORMATS:
        return False
    checked_types = _TYPES_BY_KEYWORD.get(keyword)
    types = schema.get("type")
    if checked_types is None or types is None:
        return True
    return not checked_types.isdisjoint([types] if isinstance(types, str) else types)


def prefer_ranges(numbers: list[Any]) -> bool:
    """Return whether an `enum` with these numbers is best expressed as ranges of one value each.

    That holds for at most 8 integers of less than 2**53; the library compares other numbers as
    fractions, which is slow.
    """
    are_safe_ints = all(
        isinstance(number, int) and abs(number) < _MAX_SAFE_INT for number in numbers
    )
    return are_safe_ints and len(numbers) <= _MAX_RANGES


def has_numbers(value: object) -> bool:
    """Return whether `value` is a number or contains one; a boolean is not a number."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(has_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _enum_ns(values: Any, value_count: float, callback_ns: float) -> float:
    """Return the cost of an `enum` for one value.

    Strings are looked up. Numbers become ranges or are looked up by a custom keyword if the schema
    meets several values; otherwise the library compares them one by one.
    """
    numbers = [value for value in values if has_numbers(value)]
    if numbers and value_count > 1 and prefer_ranges(numbers):
        return 3 * _KEYWORD_NS * (1 + len(numbers))
    if numbers:
        return callback_ns if value_count > 1 else _COMPARISON_NS * len(values)
    return _KEYWORD_NS + sum(_CONTAINER_NS for value in values if isinstance(value, dict | list))


def pattern_byte_ns(pattern: str) -> float:
    """Return the maximum cost of a pattern in nanoseconds per byte that it reads."""
    atom_count = count_atoms(pattern)
    has_word_boundary = "\\b" in pattern or "\\B" in pattern
    return (
        _BYTE_NS
        if atom_count <= _SMALL_PATTERN_ATOMS and not has_word_boundary
        else (atom_count + 10 * has_word_boundary) * _STEP_NS
    )


def max_pattern_text_bytes(pattern: str) -> int:
    """Return the maximum size in bytes of a string with `pattern` and no `maxLength`.

    It is what one pass reads in 10 ms, from 1 byte to 1 MiB.
    """
    return max(1, min(_MAX_PATTERN_TEXT_BYTES, int(_PATTERN_BUDGET_NS / pattern_byte_ns(pattern))))


def count_atoms(pattern: str) -> int:
    """Return the number of atoms in `pattern`, with counted repetitions expanded.

    An atom is a character, an escape or a character class. A malformed pattern is counted by the
    same rules; the library rejects it later.
    """
    group_sizes, last_atom_sizes = (
        [0],
        [0],
    )  # for each open group: its atoms so far, and those of its last element
    position, end = 0, len(pattern)
    while position < end:
        char = pattern[position]
        position += 1
        if char == "(":
            group_sizes.append(0)
            last_atom_sizes.append(0)
        elif char == ")" and len(group_sizes) > 1:
            group_size = group_sizes.pop()
            last_atom_sizes.pop()
            group_sizes[-1] += group_size
            last_atom_sizes[-1] = group_size
        elif char == "{" and (repetition := _parse_repetition(pattern, position)) is not None:
            count, position = repetition
            group_sizes[-1] = min(_MAX_ATOMS, group_sizes[-1] + last_atom_sizes[-1] * (count - 1))
            last_atom_sizes[-1] = min(_MAX_ATOMS, last_atom_sizes[-1] * count)
        elif char not in "*+?|^$":
            position = _atom_end(pattern, position - 1)
            group_sizes[-1] += 1
            last_atom_sizes[-1] = 1
    return sum(group_sizes)


def _parse_repetition(pattern: str, start: int) -> tuple[int, int] | None:
    """Parse `{n}`, `{n,}` or `{n,m}`, whose first character after `{` is at `start`.

    Returns the larger count, at least 1, and the position after `}`; None if it is no repetition.
    """
    end = pattern.find("}", start)
    low, _, high = pattern[start:end].partition(",")
    counts = [low.strip(), high.strip() or "0"]
    if end < 0 or not all(count.isascii() and count.isdecimal() for count in counts):
        return None
    return max(1, *(min(int(count[:7]), _MAX_ATOMS) for count in counts)), end + 1


def _atom_end(pattern: str, position: int) -> int:
    """Return the end of the atom at `position`: a class, an escape or one character."""
    if pattern[position] == "\\":
        has_braces = pattern[position + 1 : position + 3] in ("p{", "P{", "x{", "u{")
        return (
            pattern.find("}", position) + 1
            if has_braces and "}" in pattern[position:]
            else position + 2
        )
    if pattern[position] != "[":
        return position + 1
    position += 1
    if pattern[position : position + 1] == "^":
        position += 1
    if pattern[position : position + 1] == "]":
        position += 1
    depth = 1
    while position < len(pattern) and depth:
        if pattern[position] == "\\":
            position += 1
        elif pattern[position] == "[":
            depth += 1
        elif pattern[position] == "]":
            depth -= 1
        position += 1
    return position
