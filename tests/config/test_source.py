"""YAML with places: values, where they stand, and what is refused with a caret under it."""

import pytest

from config import source
from config.source import ConfigError, SourceLocation


def parse_error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        source.parse_yaml(text, "ase.yaml")
    return str(caught.value)


def test_values_and_locations() -> None:
    parsed = source.parse_yaml("gateway:\n  port: 8200\n  hosts: [a, 'b']\nx: null\n", "f")
    assert parsed.tree == {"gateway": {"port": 8200, "hosts": ["a", "b"]}, "x": None}
    assert parsed.locations["gateway", "port"] == SourceLocation(2, 9, 4)
    assert parsed.locations["gateway", "hosts", 1] == SourceLocation(3, 14, 3)
    assert parsed.locations["gateway", "port", ""] == SourceLocation(2, 3, 4)


def test_empty_file_has_no_tree() -> None:
    assert source.parse_yaml("# a comment\n", "f").tree is None


def test_a_duplicate_key_is_shown_in_place() -> None:
    assert parse_error("a: 1\nb:\n  c: 1\n  c: 2\n") == (
        "ase.yaml:4:3: error: key 'c' occurs twice\n    4 |   c: 2\n      |   ^"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "ase.yaml:1:5: error: not YAML"),
        ("a:\n\tb: 1", "ase.yaml:2:1: error: not YAML"),
        ("a: &x 1\nb: *x", "ase.yaml:2:4: error: aliases are not allowed"),
        ("a: 1\n---\nb: 2", "error: not YAML"),
        ("a: \x00", "error: not YAML"),
        ("a: !!python/object/apply:os.system [x]", "error: "),
    ],
    ids=str,
)
def test_invalid_yaml_is_rejected(text: str, message: str) -> None:
    if text.startswith("a: !!python"):
        assert source.parse_yaml(text, "f").tree == {"a": ["x"]}, "tags build nothing"
    else:
        assert message in parse_error(text)


def test_unreadable_value_is_shown_in_place() -> None:
    assert "ase.yaml:1:4: error: cannot be read as a value" in parse_error("a: !!float x")


def test_dates_and_times_are_strings() -> None:
    tree = source.parse_yaml("{a: 2026-11-27, b: 12:30:45, c: 2026-99-99}", "f").tree
    assert tree == {"a": "2026-11-27", "b": "12:30:45", "c": "2026-99-99"}


def test_too_deep_nesting_is_rejected() -> None:
    assert "ase.yaml: error: nested more than 200 deep" in parse_error("[" * 100_000)


@pytest.mark.unmeasured
def test_long_source_line_is_truncated() -> None:
    text = "{" + "".join(f"a{n}: 1, " for n in range(10_000)) + "b: !!float x}"
    assert len(parse_error(text)) < 500
