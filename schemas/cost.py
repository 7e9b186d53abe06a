"""What judging the worst body can cost: a schema that could hold a gateway up does not load. Pure.

A schema is a tree and so is a body: each pair of a subschema and a value meets once at most. So the
cost is bounded by a sum: how many values a subschema can meet, times what its keywords cost each,
in nanoseconds, as measured (`docs/schemas.md`), and per byte of what their patterns can read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.document import Problem

_Path = tuple[str | int, ...]

# A body has no more values and bytes: the defaults of `gateway.max_nodes` and `gateway.max_body`.
MOST_VALUES: Final = 100_000
_BYTES: Final = 16 * 1024 * 1024
# A body that is refused is judged up to three times: that is 100 ms.
_MOST_NS: Final = 30e6
# A text that has a pattern and no length of its own may be as long as is read in a third of that,
# and no longer than this.
_PATTERN_NS, _PATTERN_BYTES = 10e6, 1024 * 1024

_KEYWORD_NS: Final = 20.0
_CALL_NS: Final = 200.0
_CALLS: Final = frozenset({
    "maxB64DLen", "minB64DLen", "multipleOf", "error",
})  # fmt: skip
_LENGTH_NS: Final = 100.0  # nothing of it for a body in ASCII
_COMPARED_NS, _CONTAINER_NS = 90.0, 200.0
_ITEM_NS: Final = 150.0
_FORMAT_NS, _FORMAT_BYTE_NS = 150.0, 0.7
_REGEX_NS: Final = 1e6  # one that compiles another's pattern
# A pattern whose automaton is small reads a byte in a nanosecond; one of many states in as many
# steps, each of so many nanoseconds. A boundary between words is looked for by steps as well.
_SMALL: Final = 10
_BYTE_NS, _STEP_NS = 1.5, 20.0
_MOST_ATOMS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """The worst that one keyword can cost: where it stands, nanoseconds."""

    path: _Path
    ns: float


def check(schema: Mapping[str, Any], at: _Path = ()) -> list[Problem]:
    """Return what makes a compiled schema too dear; nothing when no body can hold a gateway up."""
    costs = list(costs_of(schema, at))
    total = sum(told.ns for told in costs)
    if total <= _MOST_NS:
        return []
    worst = max(costs, key=lambda told: told.ns)
    cure = "bound what it can meet: maxLength of the text, maxItems of the array around it"
    words = f"could cost {total / 1e6:,.0f} ms for one body (at most {_MOST_NS / 1e6:.0f})"
    return [Problem(worst.path, words, cure)]


def costs_of(schema: Any, at: _Path, meets: float = 1.0) -> Iterator[Cost]:
    """Yield the cost of each keyword of a schema that can meet so many values."""
    if not isinstance(schema, Mapping):
        return
    chars = min(meets * schema.get("maxLength", _BYTES), _BYTES)
    for keyword, value in schema.items():
        here = (*at, keyword)
        match keyword:
            case "properties":
                yield Cost(here, meets * _KEYWORD_NS)
                for name, told in value.items():
                    yield from costs_of(told, (*here, name), meets)
            case "items" | "additionalProperties":
                many = schema.get(
                    "maxItems" if keyword == "items" else "maxProperties", MOST_VALUES
                )
                yield from costs_of(value, here, min(meets * many, MOST_VALUES))
            case "allOf" | "anyOf":
                for index, told in enumerate(value):
                    yield from costs_of(told, (*here, index), meets)
            case "if" | "then" | "else" | "not":
                yield from costs_of(value, here, meets)
            case _:
                yield Cost(here, _own_ns(keyword, value, meets, chars))


def _own_ns(keyword: str, value: Any, meets: float, chars: float) -> float:
    """Return what a keyword costs that looks no deeper; `chars` is what its texts can be long."""
    if keyword == "pattern":
        return meets * _FORMAT_NS + chars * byte_ns(value)
    if keyword == "format":
        once = _REGEX_NS if value == "regex" else _FORMAT_NS
        return meets * once + chars * _FORMAT_BYTE_NS
    if keyword == "enum":
        return meets * _enum_ns(value)
    if keyword == "uniqueItems":
        return MOST_VALUES * _ITEM_NS if value else 0.0
    if keyword in ("required", "dependentRequired"):
        names = value if isinstance(value, list) else [n for each in value.values() for n in each]
        return meets * _KEYWORD_NS * (1 + len(names) + len(value))
    if keyword in ("maxLength", "minLength"):
        return meets * _LENGTH_NS
    return meets * (_CALL_NS if keyword in _CALLS else _KEYWORD_NS)


def _enum_ns(values: Any) -> float:
    """Texts are looked up; where there are numbers among them, all are compared one by one."""
    dear = sum(_CONTAINER_NS for value in values if isinstance(value, dict | list))
    numbers = any(isinstance(value, int | float) for value in values)
    return dear + (_COMPARED_NS * len(values) if numbers else _KEYWORD_NS)


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
