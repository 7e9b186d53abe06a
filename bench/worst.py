"""The most expensive body: the processor time that validation can cost for any schema that loads.

There are cases found by hand, and a search by Hypothesis that maximizes the milliseconds of a body.
Every generated body has as many values as the gateway allows for its schema.
"""

import time
from contextlib import suppress
from typing import Any, Final

import hypothesis
from hypothesis import strategies as st

from schemas.model.document import DocumentError
from schemas.validation.request_validator import RequestValidator

MAX_VALUES: Final = 100_000  # the default of `gateway.max_nodes`
_REPETITIONS: Final = 5

_ELEMENT_CASES: Final[list[tuple[dict[str, Any], Any, Any]]] = [
    # A schema, a valid value that is repeated, and an invalid value at the end.
    ({"type": "string", "maxLength": 9}, "é", "é" * 9),
    ({"multipleOf": 0.01}, 12.34, "x"),
    ({"multipleOf": 1e-300}, 1e300, 1),
    ({"not": {"maxB64DLen": 2}}, "xxxx", ""),
    ({"anyOf": [{"multipleOf": 2}, {"type": "number"}]}, 3, "x"),
    ({"enum": [1, 2, 3, "a"]}, "a", "b"),
    ({"enum": [1.5, 2.5]}, 2.5, 3),
    ({"enum": [[1], [2]]}, [2], [3]),
    ({"anyOf": [{"enum": [2**60, "a"]}, {"type": "number"}]}, 2**61, "b"),
    ({"anyOf": [{"const": 1.5}, {"type": "number"}]}, 2.0**60 + 1024, "b"),
    ({"anyOf": [{"enum": [f"v{n}"]} for n in range(20)]}, "v19", "b"),
    ({"anyOf": [{"properties": {"a": {"const": n}}} for n in range(9)]}, {"a": 8}, {"a": 9}),
    ({"minimum": 0.1, "maximum": 1e90}, 2**62, 0),
    ({"minimum": 0.1, "maximum": 1e90}, 0.2, 0),
    ({"minimum": -(2**70)}, 2.5, -1e90),
    ({"not": {"type": "string"}}, 1, "x"),
    ({"if": {"maxLength": 4}, "then": {"maxLength": 3}}, "éé", 9),
    ({"type": "string", "pattern": "^[a-z]{1,8}$"}, "abcdefgh", "9"),
    ({"format": "date"}, "2024-01-01", "x"),
    ({"format": "idn-email"}, "é@b.example.com", "x"),
    ({"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"a": 1}, {}),
    ({"additionalProperties": {"type": "string", "maxLength": 9}}, {"a": "é"}, {"a": 1}),
    ({"uniqueItems": True}, [1, 2], [1, 1]),
]

_BODY_CASES: Final[list[tuple[dict[str, Any], Any]]] = [
    ({"uniqueItems": True}, [(2**61 - 1) * n for n in range(1, 1000)] * 2),
    ({"uniqueItems": True}, [{"a": n} for n in range(15_000)]),
    ({"uniqueItems": True}, [[[[[[[[[n]]]]]]]] for n in range(3_000)]),
    ({"type": "string", "pattern": "^[a-z]+$"}, "a" * 1_048_576),
    ({"type": "string", "pattern": "^[a-z]+$"}, "a" * 16_000_000),
    ({"type": "string", "pattern": "^(a|b)*a(a|b){5}c"}, "ab" * 17_000),
    ({"type": "string", "pattern": "(a|b)*a(a|b){30}c", "maxLength": 20_000}, "ab" * 10_000),
    ({"type": "string", "pattern": "^[ab]*a[ab]{400}c$", "maxLength": 64}, "ab" * 8_000_000),
    ({"type": "string", "pattern": r"\w\b\w"}, "é" * 19_000),
    ({"format": "email"}, "a." * 32_000),
    ({"format": "idn-hostname"}, "é" * 8_000_000),
    ({"properties": {"a": {}}}, {f"m{n}": n for n in range(99_999)}),
    ({"properties": {f"m{n}": {} for n in range(20)}}, {"u": [{"a": ""}] * 49_000}),
    ({"allOf": [{"type": "integer", "enum": [n]} for n in range(10)]}, "a" * 16_000_000),
]


def handmade_cases(depths: tuple[int, ...] = (1, 2, 3, 5)) -> list[tuple[dict[str, Any], Any]]:
    """Return the schemas and bodies that were found by hand.

    Each element case is expanded into arrays of each of `depths`, unless such a schema does not
    load.
    """
    cases = list(_BODY_CASES)
    for schema, good, bad in _ELEMENT_CASES:
        for depth in depths:
            with suppress(DocumentError):  # a schema that does not load is never used
                cases.append(_expand_case(schema, good, bad, depth))
    return cases


def _expand_case(
    schema: dict[str, Any], good: Any, bad: Any, depth: int, as_object: bool = False
) -> tuple[dict[str, Any], Any]:
    """Return a schema of nested arrays around `schema`, and the largest body that it allows.

    The innermost array has as many copies of `good` as the limits on values permit, then `bad`. It
    is nested `depth` deep, and each outer array has an empty array as its second element. With
    `as_object`, objects replace the arrays. Raises DocumentError if the schema does not load.
    """
    for _ in range(depth):
        schema = {"additionalProperties": schema} if as_object else {"items": schema}
    max_elements = (
        min(MAX_VALUES, RequestValidator(schema).max_values) - 2 * depth - _count_values(bad)
    )
    element_count = max_elements // _count_values(good)
    if as_object:
        body: Any = {f"k{n}": good for n in range(element_count)} | {"bad": bad}
    else:
        body = [good] * element_count + [bad]
    for _ in range(depth - 1):
        body = {"a": body, "b": {}} if as_object else [body, []]
    return schema, body


def _count_values(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + sum(map(_count_values, value)) if isinstance(value, list) else 1


def cost_ms(schema: dict[str, Any], body: Any) -> float:
    """Return the processor time to validate a body in milliseconds: the least of five runs."""
    validator = RequestValidator(schema)
    validator.validate(body)
    times = []
    for _ in range(_REPETITIONS):
        started_at = time.process_time()
        validator.validate(body)
        times.append(time.process_time() - started_at)
    return min(times) * 1e3


_NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 0.5, 1.5, 0.1, 2**31, 2**53 + 1, 2**62, 1e90])
_TEXTS = st.sampled_from(["", "a", "é", "ab", "éé", "v1", "2024-01-01", "a@b.example", "Zm9v"])
_VALUES = st.recursive(
    _NUMBERS | _TEXTS | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_LEAF_SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "object", "array"]),
        "enum": st.lists(_NUMBERS | _TEXTS, min_size=1, max_size=12),
        "minimum": _NUMBERS,
        "exclusiveMaximum": _NUMBERS,
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(1, 9),
        "minB64DLen": st.integers(0, 3),
        "maxB64DLen": st.integers(1, 9),
        "multipleOf": _NUMBERS.filter(lambda value: value > 0),
        "uniqueItems": st.just(True),
        "minProperties": st.integers(0, 2),
        "pattern": st.sampled_from(["^a", "b$", "[0-9]", "^[a-z]{1,20}$", r"\bé"]),
        "format": st.sampled_from(["date", "email", "uuid", "ipv6", "uri", "hostname"]),
        "required": st.just(["a"]),
        "properties": st.just({"a": {}}),
    },
)


def _combinators(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    subschemas = st.lists(inner, min_size=1, max_size=6)
    return st.fixed_dictionaries(
        {},
        optional={
            "anyOf": subschemas,
            "allOf": subschemas,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "items": inner,
            "additionalProperties": inner,
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
        },
    )


_SCHEMAS = st.recursive(_LEAF_SCHEMAS, _combinators, max_leaves=8)


def search_worst(examples: int) -> tuple[float, dict[str, Any], Any]:
    """Return the most expensive case that Hypothesis finds in `examples` examples.

    That is: milliseconds, the schema, and the values from which the body is built.
    """
    worst: tuple[float, dict[str, Any], Any] = (0.0, {}, None)

    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(_SCHEMAS, _VALUES, _VALUES, st.sampled_from([1, 1, 2, 3, 4]), st.booleans())
    def attack(schema: dict[str, Any], good: Any, bad: Any, depth: int, as_object: bool) -> None:
        nonlocal worst
        try:
            schema, body = _expand_case(schema, good, bad, depth, as_object)
        except DocumentError:
            return
        ms = cost_ms(schema, body)
        hypothesis.target(ms)
        if ms > worst[0]:
            worst = (ms, schema, {"again and again": good, "at last": bad, "body": body})

    attack()
    # Measure it again: its first time may include a disturbance by another process.
    ms, schema, recipe = worst
    return min(ms, cost_ms(schema, recipe.pop("body"))), schema, recipe


def run(examples: int) -> dict[str, Any]:
    """Return the cost of every case found by hand, and the worst of `examples` searched ones.

    `worst_ms` is the maximum of all, in milliseconds of processor time.
    """
    costs = [
        (case_schema, _count_values(body), round(cost_ms(case_schema, body), 1))
        for case_schema, body in handmade_cases()
    ]
    value = [
        {"schema": case_schema, "values": size, "cpu_ms": ms} for case_schema, size, ms in costs
    ]
    found_ms, schema, body = search_worst(examples)
    searched = {"schema": schema, "body": body, "cpu_ms": round(found_ms, 1), "examples": examples}
    worst = max(found_ms, *(ms for _, _, ms in costs))
    return {"worst_ms": round(worst, 1), "by_hand": value, "searched": searched}


def format_table(result: dict[str, Any]) -> str:
    """Return the twelve most expensive cases and the searched one as text."""
    rows = sorted(result["by_hand"], key=lambda row: -row["cpu_ms"])[:12]
    lines = [f"{row['cpu_ms']:7.1f} ms {row['values']:>7,} {row['schema']}"[:110] for row in rows]
    searched = result["searched"]
    searched_line = (
        f"{searched['cpu_ms']:7.1f} ms searched {searched['examples']:,}: {searched['schema']}"[
            :110
        ]
    )
    return "\n".join(["cpu of one body, values, schema", *lines, searched_line])
