"""Bodies: what parses, what must not pass, and that the count can be trusted. Byte for byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.json_body import parse, text_traits
from schemas.model.errors import BAD_REQUEST, AseError


def assert_rejected(body: bytes, **limits: int) -> str:
    with pytest.raises(AseError) as caught:
        parse(body, **{"max_depth": 64, "max_nodes": 100_000, "max_names": 10_000, **limits})
    assert caught.value.spec is BAD_REQUEST
    return str(caught.value)


def test_a_good_body() -> None:
    text = b' {"a": [1, 2.5, -0, true, null, "\\u00e9\\ud83d\\ude00"], "b": {"c": ""}} \n'
    parsed = parse(text, 64, 100, 10_000)
    assert parsed == {"a": [1, 2.5, 0, True, None, "é😀"], "b": {"c": ""}}


@pytest.mark.parametrize("levels", [1, 2, 63, 64])
def test_depth_up_to_the_limit(levels: int) -> None:
    body = b'{"a":' * levels + b"1" + b"}" * levels
    parse(body, levels, 1000, 10_000)
    assert "deep" in assert_rejected(body, max_depth=levels - 1)


def test_values_up_to_the_limit() -> None:
    body = b'{"a":[1,2,3]}'  # an object, a list, three numbers: at most 5 by the count
    parse(body, 9, 5, 10_000)
    assert "more than 4 values" in assert_rejected(body, max_nodes=4)


NAMED_BY_NUMBER = [str(number) for number in range(20)]


def nest(names: list[str]) -> dict[str, Any]:
    """Return an object that has the names at several levels, and again in a list."""
    members: dict[str, Any] = dict.fromkeys(names[1:], ':":')
    return {names[0]: [members, members, {names[1]: {names[2]: '"a": "b":'}}]}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    "names",
    [
        NAMED_BY_NUMBER,
        [f'{number}"end' for number in range(20)],
        [f"{number}\\" for number in range(20)],
        [f'\\"{number}é' for number in range(20)],
    ],
    ids=["plain", "quotes", "backslashes", "both"],
)
def test_names_up_to_the_limit(names: list[str], indent: int | None) -> None:
    value = nest(names)
    body = json.dumps(value, indent=indent, separators=(",", ": \t" if indent else ":")).encode()
    assert parse(body, 9, 1000, 20) == value
    message = assert_rejected(body, max_names=19)
    assert message == "request body: more than 19 member names"


def test_names_of_a_large_body_are_counted_over_its_slices() -> None:
    members = {f"{number:0200d}": number for number in range(2000)}
    body = json.dumps({"a": members}).encode()
    assert parse(body, 9, 10_000, 2001) == {"a": members}
    assert_rejected(body, max_names=1990)  # a name that two slices share is not counted


def test_text_that_looks_like_names_is_not_counted() -> None:
    value = {"a": json.dumps({f"name {number}": number for number in range(20_000)})}
    assert parse(json.dumps(value).encode(), 9, 10, 16) == value


def test_commas_in_strings_are_not_counted() -> None:
    value = {"a": ",[{" * 1000, 'b"\\': "\\"}
    assert parse(json.dumps(value).encode(), 9, 10, 10_000) == value


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 101, "-1" + "0" * 101])
def test_numbers_that_are_too_large(number: str) -> None:
    assert_rejected(f'{{"a":{number}}}'.encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("abc", True), ("é", False), ("\\u00e9", False), ("a\\nb", True)],
)
def test_texts_that_are_ascii(text: str, expected: bool) -> None:
    assert text_traits(f'{{"a": "{text}"}}'.encode())[0] is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"ab", False), (b"a\\nb", True), (b"a\\r", True), (b"\\u000a", False), (b"\\t", False)],
)
def test_escaped_line_breaks(text: bytes, expected: bool) -> None:
    assert text_traits(b'{"a": "%b"}' % text)[1] is expected


def test_too_many_integers_beyond_64_bits() -> None:
    thousand_integers = b",".join([b"12345678901234567890"] * 1000)
    parse(b'{"a":[%s]}' % thousand_integers, 9, 9999, 10_000)
    assert "integers beyond 64 bits" in assert_rejected(
        b'{"a":[%s,-12345678901234567890]}' % thousand_integers
    )


def test_nul_in_a_key_is_rejected() -> None:
    assert "NUL" in assert_rejected(b'{"\\u0000": 1}')
    assert parse(b'{"a": "\\\\u0000"}', 9, 9, 10_000) == {"a": "\\u0000"}


def test_long_keys_are_truncated_in_errors() -> None:
    key = b"k" * 10_000
    assert len(assert_rejected(b'{"%s":1,"%s":2}' % (key, key))) < 250


TEXT = st.text().filter(lambda text: "\0" not in text)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def count_values(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count_values, inner))


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_json_round_trips_and_values_are_counted(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    assert parse(text.encode(), 64, 100_000, 10_000) == value
    with pytest.raises(AseError, match="values"):
        parse(text.encode(), 64, count_values(value) - 1, 10_000)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_parse_or_raise_ase_error(body: bytes) -> None:
    try:
        parse(body, 64, 100, 10_000)
    except AseError as error:
        assert len(str(error)) < 300


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b'\\"' * 8000 + b"," * 100_001,
        b'{"a":"' + b'"\\' * 8000 + b"," * 100_001,
        b"[" + b'"",' * 500_000 + b'""]',
        b'{"a":"' + b"," * 100_001 + b"\\",
    ],
    ids=["escaped quotes", "quotes", "many strings", "unclosed"],
)
def test_counting_takes_linear_time(body: bytes) -> None:
    """A quadratic count would take minutes here."""
    assert_rejected(body)
