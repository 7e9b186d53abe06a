"""Which JSON values are the same as a string, as the dialect compares them. Pure."""

from math import isfinite
from typing import Any

from schemas.model.text import as_text

_MAX_NUMBER_LENGTH = 100  # digits of a number, as a body may have them


def with_string_equivalents(values: list[Any]) -> list[Any]:
    """Return the values that, as strings, are one of those given: 3 and "3", true and "true"."""
    return list(
        {
            repr(equivalent): equivalent
            for value in values
            for equivalent in _string_equivalents(value)
        }.values()
    )


def _string_equivalents(value: Any) -> list[Any]:
    if isinstance(value, int | float):
        return [value, as_text(value)]
    if not isinstance(value, str) or len(value) > _MAX_NUMBER_LENGTH or value == "-0":
        return [value]
    if value in ("true", "false"):
        return [value, value == "true"]
    for number_type in (int, float):
        try:
            number = number_type(value)
        except (ValueError, OverflowError):
            continue
        if isfinite(number) and as_text(number) == value:
            return [value, number]
    return [value]
