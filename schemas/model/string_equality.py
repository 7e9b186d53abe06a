"""String equivalents of JSON values: the schema dialect compares values as strings. Pure."""

from math import isfinite
from typing import Any

from schemas.model.text import as_text

_MAX_NUMBER_LENGTH = 100  # characters; a request body may not have a longer number either


def with_string_equivalents(values: list[Any]) -> list[Any]:
    """Return `values` and every JSON value with the same string form.

    The number 3 and the string "3" are equivalent, as are true and "true". Duplicates are removed.
    """
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
