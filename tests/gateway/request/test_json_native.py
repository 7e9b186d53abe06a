"""What the compiled check lets pass breaks no rule; it lets pass what users send."""

import json
import random
from typing import Any

import jiter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request import json_body
from gateway.request.json_native import FAULTLESS, UNIQUE, judge
from schemas.model.errors import AseError

pytestmark = pytest.mark.compiled_only

MAX_DEPTH = 6
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
PIECES = [
    b'"', b"\\", b'\\"', b"\\\\", b"\\u0000", b"\\n", b"\\u00e9", b",", b":", b"{", b"}", b"[",
    b"]", b'"a":1,', b'"a"', b"1e999", b"9223372036854775808", b"-9223372036854775808", b"\0",
    b"\xc3\xa9", b'{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}',
]  # fmt: skip


def verdict(body: bytes) -> int | None:
    """Return what is certain of a body; None if the parser refuses it."""
    try:
        value = jiter.from_json(body, allow_inf_nan=False)
    except ValueError:
        return None
    return judge(value, body, MAX_DEPTH) if type(value) is dict else None


def parse_judged(body: bytes) -> Any:
    """Return what is parsed without a look for names that occur twice; None for an error too."""
    try:
        return json_body._parse_judged(body, MAX_DEPTH)
    except AseError:
        return None


def parse_checked(body: bytes) -> Any:
    try:
        return json_body._parse_checked(body, MAX_DEPTH)
    except AseError:
        return None


@given(st.dictionaries(st.text(), VALUES), st.booleans(), st.sampled_from([None, 1]))
def test_any_object_is_parsed_as_with_all_checks(
    value: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    judged = parse_judged(body)
    assert judged is None or judged == parse_checked(body) == value
    assert judged is not None or parse_checked(body) is None, "no valid body is parsed twice"


@pytest.mark.parametrize("seed", range(4))
def test_what_passes_breaks_no_rule(seed: int) -> None:
    rng = random.Random(seed)
    passed = refused = 0
    start = b'{"header": {"app_id": "a \\"b\\"", "n": [1, -2.5e3, true, null]}, "text": "a\\nb"}'
    for _ in range(20_000):
        body = bytearray(start)
        if rng.random() < 0.1:
            body[1:1] = b'"text": 0, '  # of which one is lost
        for _ in range(rng.randrange(4)):
            position = rng.randrange(len(body) + 1)
            body[position : position + rng.choice([0, 0, 1, 5])] = rng.choice(PIECES)
        judgement = verdict(bytes(body))
        judged, checked = parse_judged(bytes(body)), parse_checked(bytes(body))
        assert judged is None or judged == checked, body
        if judgement == FAULTLESS:
            passed += 1
            assert checked == jiter.from_json(bytes(body)), body
        elif judgement == 0:
            refused += 1
            assert checked is None, body
    assert passed > 2000
    assert refused > 100


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', FAULTLESS), (b'{"a": 1, "a": 1}', 0), (b'{"a": {"b": "", "b": 2}}', 0),
        (b'{"a": "\\"", "b": "\\\\"}', FAULTLESS), (b'{"a": "x\\u0000"}', UNIQUE),
        (b'{"a": "\\\\u0000"}', UNIQUE), (b'{"a": 9223372036854775807}', FAULTLESS),
        (b'{"a": 9223372036854775808}', UNIQUE), (b'{"a": -9223372036854775808}', UNIQUE),
        (b'{"a": 1e999}', UNIQUE), (b'{"a": [[[[[]]]]]}', FAULTLESS), (b'{"a": [[[[[[]]]]]]}', 0),
        (b"{}", FAULTLESS), (b'{"\\"\\"": "a", "\\"\\"": "a"}', 0),
    ],
)  # fmt: skip
def test_the_limits(body: bytes, expected: int) -> None:
    assert verdict(body) == expected
    assert parse_judged(body) == (parse_checked(body) if expected else None)
