"""What judging the worst body can cost: a schema that could hold a gateway up does not load. Pure.

A schema is a tree and so is a body: each pair of a subschema and a value meets once at most. So the
cost is bounded by a sum: how many values a subschema can meet, times what its keywords cost each,
in nanoseconds, as measured (`docs/schemas.md`), and per byte of what their patterns can read. How
many values a body may have follows from it, schema by schema.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from schemas.document import Problem
from schemas.explain import MAX_ASKED

_Path = tuple[str | int, ...]

# Who cannot take a body of so many values does not load.
LEAST_VALUES: Final = 10_000
_MOST_VALUES: Final = 10_000_000
_BYTES: Final = 16 * 1024 * 1024  # of a body: the default of `gateway.max_body`
# A body that is refused is judged in characters, in bytes, and once more for each level of arrays
# that is asked through for what is wrong.
_MOST_NS: Final = 80e6
_PASSES, _ASKED_PASSES = 3.0, 1.1
# A text that has a pattern and no length of its own may be as long as is read in a third of that,
# and no longer than this.
_PATTERN_NS, _PATTERN_BYTES = 10e6, 1024 * 1024

_KEYWORD_NS: Final = 30.0
_MEMBER_NS: Final = 150.0  # one without a name of its own
_CALL_NS, _REFUSED_NS = 650.0, 2200.0
_CALLS: Final = frozenset({"maxB64DLen", "minB64DLen", "multipleOf", "error"})
_LENGTH_NS, _REFUSED_LENGTH_NS = 330.0, 1500.0  # nothing of it for a body in ASCII
BOUNDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_WORD, _LONG_NS = 2**53, 800.0
_MOST_RANGES: Final = 8
_COMPARED_NS, _CONTAINER_NS = 2000.0, 200.0
_ITEM_NS, _DEEP_ITEM_NS = 250.0, 1000.0
_SCALARS: Final = frozenset({"string", "integer", "number", "boolean", "null"})
_PATTERN_CALL_NS = 150.0
_FORMAT_NS, _FORMAT_BYTE_NS = 600.0, 0.7
_REGEX_NS: Final = 1e6  # one that compiles another's pattern
# A pattern whose automaton is small reads a byte in a nanosecond; one of many states in as many
# steps, each of so many nanoseconds. A boundary between words is looked for by steps as well.
_SMALL: Final = 10
_BYTE_NS, _STEP_NS = 1.5, 20.0
_MOST_ATOMS: Final = 1_000_000


@dataclass(slots=True)
class Cost:
    """What something costs in nanoseconds: `each` of the `most` values that it can meet.

    `path` is where it stands; `ceiling` is what all the bytes of a body can cost there.
    """

    path: _Path
    each: float
    most: float
    ceiling: float = inf

    def ns(self, values: float) -> float:
        """Return what it costs at most for a body of so many values."""
        return min(self.each * min(self.most, values), self.ceiling)


def check(costs: Sequence[Cost]) -> list[Problem]:
    """Return what makes a compiled schema too dear; nothing when no body can hold a gateway up."""
    total = sum(told.ns(LEAST_VALUES) for told in costs)
    if total <= _MOST_NS:
        return []
    worst = max(costs, key=lambda told: told.ns(LEAST_VALUES))
    cure = "bound what it can meet: maxLength of the text, maxItems of the array around it"
    words = f"could cost {total / 1e6:,.0f} ms for one body (at most {_MOST_NS / 1e6:.0f})"
    return [Problem(worst.path, words, cure)]


def most_values(costs: Sequence[Cost], budget: float = _MOST_NS) -> int:
    """Return how many values a body may have for all that to cost no more than so many ns."""
    if sum(told.ns(_MOST_VALUES) for told in costs) <= budget:
        return _MOST_VALUES
    low, high = 0, _MOST_VALUES
    while high - low > low // 128:
        middle = (low + high + 1) // 2
        if sum(told.ns(middle) for told in costs) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def costs_of(schema: Mapping[str, Any], at: _Path) -> list[Cost]:
    """Return the cost of each keyword of a compiled schema that stands there."""
    costs: list[Cost] = []
    _add(costs, schema, at, 1.0, 0, often=False)
    return costs


def _add(
    costs: list[Cost], schema: Any, at: _Path, meets: float, depth: int, *, often: bool
) -> None:
    """Add the cost of each keyword of a schema that can meet so many values.

    `depth`: how many arrays, and objects of members without a name, are around it. `often`: it may
    refuse every value, and not only the first of them that ends the judging.
    """
    if not isinstance(schema, dict):
        return
    passes = max(_PASSES, 2 + _ASKED_PASSES * min(depth, MAX_ASKED + 1))
    for keyword, value in schema.items():
        here = (*at, keyword)
        match keyword:
            case "properties":
                costs.append(Cost(here, passes * _KEYWORD_NS, meets))
                for name, told in value.items():
                    _add(costs, told, (*here, name), meets, depth, often=often)
            case "items" | "additionalProperties":
                many = schema.get("maxItems" if keyword == "items" else "maxProperties", inf)
                below = meets * many if meets and many else 0.0
                if keyword == "additionalProperties" and value is not False:
                    costs.append(Cost(here, passes * _MEMBER_NS, below))
                _add(costs, value, here, below, depth + 1, often=often)
            case "allOf" | "anyOf":
                for index, told in enumerate(value):
                    each = often or keyword == "anyOf"
                    _add(costs, told, (*here, index), meets, depth, often=each)
            case "if" | "then" | "else" | "not":
                each = often or keyword in ("if", "not")
                _add(costs, value, here, meets, depth, often=each)
            case _:
                for told in _own(keyword, schema, here, meets, often=often):
                    told.each *= passes
                    told.ceiling *= passes
                    costs.append(told)


def _own(
    keyword: str, schema: Mapping[str, Any], at: _Path, meets: float, *, often: bool
) -> Iterator[Cost]:
    """Yield what a keyword costs, judged once, that looks no deeper."""
    value = schema[keyword]
    call = _REFUSED_NS if often else _CALL_NS
    if keyword in ("pattern", "format"):
        each = _REGEX_NS if value == "regex" else _FORMAT_NS
        yield Cost(at, each if keyword == "format" else _PATTERN_CALL_NS, meets)
        byte = byte_ns(value) if keyword == "pattern" else _FORMAT_BYTE_NS
        yield Cost(at, byte * schema.get("maxLength", _BYTES), meets, byte * _BYTES)
    elif keyword == "enum":
        yield Cost(at, _enum_ns(value, meets, call), meets)
        if has_numbers(value) and any(isinstance(told, dict | list) for told in value):
            yield Cost(at, _DEEP_ITEM_NS, inf)
    elif keyword == "uniqueItems":
        kinds = schema.get("items", {}).get("type", "any")
        yield Cost(at, call, meets)
        if ({kinds} if isinstance(kinds, str) else set(kinds)) <= _SCALARS:
            yield Cost(at, _ITEM_NS * value, meets * schema.get("maxItems", inf))
        else:
            yield Cost(at, _DEEP_ITEM_NS * value, inf)
    elif keyword in ("required", "dependentRequired"):
        names = value if isinstance(value, list) else [n for each in value.values() for n in each]
        yield Cost(at, _KEYWORD_NS * (1 + len(names) + len(value)), meets)
    elif keyword in ("maxLength", "minLength"):
        yield Cost(at, _REFUSED_LENGTH_NS if often else _LENGTH_NS, meets)
    elif keyword in BOUNDS and (value != int(value) or abs(value) >= _WORD):
        yield Cost(at, _LONG_NS, meets)
    else:
        yield Cost(at, call if keyword in _CALLS else _KEYWORD_NS, meets)


def are_ranges(numbers: list[Any]) -> bool:
    """Return whether values with numbers are best asked for as ranges from each to itself.

    Fractions are compared slowly.
    """
    plain = all(isinstance(told, int) and abs(told) < _WORD for told in numbers)
    return plain and len(numbers) <= _MOST_RANGES


def has_numbers(value: object) -> bool:
    """Return whether there is a number in a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(has_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _enum_ns(values: Any, meets: float, call: float) -> float:
    """Texts are looked up; numbers are where there are many, else compared one by one."""
    numbers = [value for value in values if has_numbers(value)]
    if numbers and meets > 1 and are_ranges(numbers):
        return 3 * _KEYWORD_NS * (1 + len(numbers))
    if numbers:
        return call if meets > 1 else _COMPARED_NS * len(values)
    return _KEYWORD_NS + sum(_CONTAINER_NS for value in values if isinstance(value, dict | list))


def byte_ns(pattern: str) -> float:
    """Return what a pattern can cost for each byte that it reads."""
    size = atoms(pattern)
    words = "\\b" in pattern or "\\B" in pattern
    return _BYTE_NS if size <= _SMALL and not words else (size + 10 * words) * _STEP_NS


def most_bytes(pattern: str) -> int:
    """Return how many bytes a text may have that has a pattern and no length of its own."""
    return max(1, min(_PATTERN_BYTES, int(_PATTERN_NS / byte_ns(pattern))))


def atoms(pattern: str) -> int:
    """Return how many characters and classes a pattern is, its counted repetitions written out.

    What is not well formed counts as it stands: the validator's library will refuse it.
    """
    sums, last = [0], [0]  # of each open group: all so far, and of it the last atom
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at]
        at += 1
        if char == "(":
            sums.append(0)
            last.append(0)
        elif char == ")" and len(sums) > 1:
            group = sums.pop()
            last.pop()
            sums[-1] += group
            last[-1] = group
        elif char == "{" and (many := _most(pattern, at)) is not None:
            times, at = many
            sums[-1] = min(_MOST_ATOMS, sums[-1] + last[-1] * (times - 1))
            last[-1] = min(_MOST_ATOMS, last[-1] * times)
        elif char not in "*+?|^$":
            at = _after(pattern, at - 1)
            sums[-1] += 1
            last[-1] = 1
    return sum(sums)


def _most(pattern: str, at: int) -> tuple[int, int] | None:
    """Return the count of `{n}`, `{n,}` or `{n,m}` whose inside begins there, and where it ends."""
    end = pattern.find("}", at)
    least, _, most = pattern[at:end].partition(",")
    counts = [least.strip(), most.strip() or "0"]
    if end < 0 or not all(count.isascii() and count.isdecimal() for count in counts):
        return None
    return max(1, *(min(int(count[:7]), _MOST_ATOMS) for count in counts)), end + 1


def _after(pattern: str, at: int) -> int:
    """Return where the atom that begins there ends: a class, an escape or one character."""
    if pattern[at] == "\\":
        brace = pattern[at + 1 : at + 3] in ("p{", "P{", "x{", "u{")
        return pattern.find("}", at) + 1 if brace and "}" in pattern[at:] else at + 2
    if pattern[at] != "[":
        return at + 1
    at += 1
    if pattern[at : at + 1] == "^":
        at += 1
    if pattern[at : at + 1] == "]":
        at += 1
    depth = 1
    while at < len(pattern) and depth:
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "[":
            depth += 1
        elif pattern[at] == "]":
            depth -= 1
        at += 1
    return at
