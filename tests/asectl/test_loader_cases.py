from collections.abc import Mapping

import pytest

from asectl.loader_cases import Expectation, WrapperCase, compare, compare_error, read_cases
from config.source import ConfigError, parse_yaml

TEXT = """\
cases:
  - name: two words
    parameters: {top: 1}
    inputs: {text: the cat, number: 1.10, image: {file: cat.jpg}}
    outputs: {counts: {json: {the: 2}}, note: fine, picture: {file: golden/a.png}}
  - name: none
    error: 10107
"""


def test_cases_are_read() -> None:
    cases = read_cases(parse_yaml(TEXT, "cases.yaml"))
    assert cases == [
        WrapperCase(
            "two words",
            {"top": 1},
            {"text": "the cat", "number": "1.10"},
            {"image": "cat.jpg"},
            {
                "counts": Expectation("json", {"the": 2}),
                "note": Expectation("text", "fine"),
                "picture": Expectation("file", "golden/a.png"),
            },
        ),
        WrapperCase("none", error=10107),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cases.yaml: error: the file must have a list `cases`"),
        ("cases: []", "must have a list `cases`"),
        ("cases: [1]", "cases.yaml:1:9: error: must be a mapping"),
        ("cases: [{error: 1}]", "a case needs a name"),
        ("cases: [{name: a}]", "a case has `outputs` or `error`"),
        ("cases: [{name: a, error: 1, outputs: {}}]", "a case has `outputs` or `error`"),
        ("cases: [{name: a, error: no}]", "must be a code"),
        ("cases: [{name: a, error: 1, input: {}}]", "1:29: error: unknown key 'input'"),
        ("cases: [{name: a, error: 1}, {name: a, error: 2}]", "'a' occurs twice"),
        ("cases: [{name: a, error: 1, inputs: {x: [1]}}]", "must be a text, or {file: NAME}"),
        ("cases: [{name: a, outputs: {x: {jsn: 1}}}]", "one of text, json, file, contains"),
        ("cases: [{name: a, outputs: {x: {text: a, json: 1}}}]", "one of text, json"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_cases(parse_yaml(text, "cases.yaml"))
    assert message in str(raised.value)


def read_file(name: str) -> bytes:
    if name == "none":
        raise FileNotFoundError(2, "No such file or directory")
    return b"golden"


@pytest.mark.parametrize(
    ("expectation", "output", "difference"),
    [
        (Expectation("text", "a"), b"a", ""),
        (Expectation("text", "a"), b"b", "x: 'b' is not 'a'"),
        (Expectation("contains", "a"), b"bab", ""),
        (Expectation("contains", "a"), b"b" * 300, f"x: {'b' * 200!r}... does not contain 'a'"),
        (Expectation("json", {"a": [1]}), b'{"a": [1.0]}', ""),
        (Expectation("json", 1), b"2", "x: '2' is not 1"),
        (Expectation("json", 1), b"{", "x: '{' is not JSON"),
        (Expectation("file", "a.png"), b"golden", ""),
        (Expectation("file", "a.png"), b"other", "x: differs from a.png (5 bytes and 6)"),
        (
            Expectation("file", "none"),
            b"",
            "x: none: No such file or directory; --update writes it",
        ),
    ],
)
def test_outputs_are_compared(expectation: Expectation, output: bytes, difference: str) -> None:
    case = WrapperCase("a", outputs={"x": expectation})
    assert compare(case, {"x": output}, read_file) == ([difference] if difference else [])


@pytest.mark.parametrize(
    ("case", "outputs", "differences"),
    [
        (WrapperCase("a", outputs={"x": Expectation("text", "")}), {}, ["x: is missing"]),
        (WrapperCase("a"), {"x": b""}, []),
        (WrapperCase("a", error=7), {"x": b""}, ["error 7 was expected, and outputs came: x"]),
    ],
)
def test_missing_outputs_and_errors(
    case: WrapperCase, outputs: Mapping[str, bytes], differences: list[str]
) -> None:
    assert compare(case, outputs, read_file) == differences


def test_errors_are_compared_by_code() -> None:
    assert compare_error(WrapperCase("a", error=7), 7, "why") == []
    assert compare_error(WrapperCase("a", error=7), 8, "why") == [
        "error 7 expected, and error 8 came: why"
    ]
    assert compare_error(WrapperCase("a"), 8, "why") == ["outputs expected, and error 8 came: why"]
