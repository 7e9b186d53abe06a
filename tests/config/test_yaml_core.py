"""YAML 1.2: what is a text, a number, a boolean or null. Source: YAML 1.2.2, 10.3.2."""

from math import inf, isnan
from typing import Any

import pytest
import yaml

from config.yaml_core import CoreLoader, scalar_type, scalar_value

VALUES: list[tuple[str, Any]] = [
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("n", "n"),
    ("No", "No"), ("true", True), ("True", True), ("FALSE", False), ("tRUE", "tRUE"),
    ("null", None), ("~", None), ("Null", None), ("nULL", "nULL"),
    ("010", 10), ("0o10", 8), ("0x1F", 31), ("+7", 7), ("-0", 0), ("1_000", "1_000"),
    ("0b1", "0b1"), ("12:30", "12:30"), ("2026-11-27", "2026-11-27"),
    ("1.10", 1.1), ("1.", 1.0), (".5", 0.5), ("-1e3", -1000.0), ("1e", "1e"), (".", "."),
    (".inf", inf), ("-.INF", -inf), ("+.Inf", inf), ("inf", "inf"), ("nan", "nan"),
    ("=", "="), ("<<", "<<"), ("0o8", "0o8"), ("'1'", "1"), ("!!str 1", "1"), ("!!int '3'", 3),
    ("!!float 1", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), VALUES, ids=str)
def test_scalars(text: str, expected: Any) -> None:
    node = yaml.compose(text, Loader=CoreLoader)
    value = scalar_value(node)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str) -> None:
    assert isnan(scalar_value(yaml.compose(text, Loader=CoreLoader)))


@pytest.mark.parametrize("text", ["!!int x", "!!bool no", "!!float 1:2", "!!binary aGk=", "!own 1"])
def test_invalid_values(text: str) -> None:
    node = yaml.compose(text, Loader=CoreLoader)
    with pytest.raises(ValueError, match=r"invalid literal|could not convert|is no value"):
        scalar_value(node)


def test_empty_value_is_null() -> None:
    node = yaml.compose("a:", Loader=CoreLoader)
    assert scalar_type(node.value[0][1]) == "null"
