"""Which JSON values are the same as a string, as the dialect compares them. Pure."""

from math import isfinite
from typing import Any

from schemas.text import as_text

_LONGEST = 100  # digits of a number, as a body may have them


def alike(values: list[Any]) -> list[Any]:
    """Return the values that, as strings, are one of those given: 3 and "3", true and "true"."""
    return list({repr(told): told for value in values for told in _of(value)}.values())


def _of(value: Any) -> list[Any]:
    if isinstance(value, int | float):
        return [value, as_text(value)]
    if not isinstance(value, str) or len(value) > _LONGEST or value == "-0":
        return [value]
    if value in ("true", "false"):
        return [value, value == "true"]
    for kind in (int, float):
        try:
            number = kind(value)
        except (ValueError, OverflowError):
            continue
        if isfinite(number) and as_text(number) == value:
            return [value, number]
    return [value]
