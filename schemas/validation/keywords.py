"""Custom keywords of the validator: missing in jsonschema-rs, or too slow there. Pure.

The library's `uniqueItems` compares huge integers pairwise and its `multipleOf` computes with
fractions, where a single comparison takes microseconds: a body of 100,000 numbers blocked a gateway
for seconds. The dialect counts lengths in bytes, the library in characters.

The library constructs each class with (parent schema, keyword value, path) and calls `validate`.
"""

from math import inf
from typing import Any, Final

_MAX_SAFE_INT: Final = 2**53
_TOLERANCE: Final = 2.0**-50  # relative rounding error that a quotient may have


class MaxBase64:
    """Keyword `maxB64DLen`: the maximum number of bytes that a base64 text decodes to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._max_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, with the broken rule as its message, if `instance` is invalid."""
        if isinstance(instance, str) and decoded_length(instance) > self._max_bytes:
            raise ValueError(f"must decode to at most {self._max_bytes} bytes")


class MinBase64:
    """Keyword `minB64DLen`: the minimum number of bytes that a base64 text decodes to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._min_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, with the broken rule as its message, if `instance` is invalid."""
        if isinstance(instance, str) and decoded_length(instance) < self._min_bytes:
            raise ValueError(f"must decode to at least {self._min_bytes} bytes")


class MaxBytes:
    """Keyword `maxLength` of the dialect: the maximum length of a string in UTF-8 bytes."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._max_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, with the broken rule as its message, if `instance` is invalid."""
        if isinstance(instance, str) and _utf8_size(instance) > self._max_bytes:
            raise ValueError(f"breaks maxLength {self._max_bytes}")


class MinBytes:
    """Keyword `minLength` of the dialect: the minimum length of a string in UTF-8 bytes."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._min_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, with the broken rule as its message, if `instance` is invalid."""
        if isinstance(instance, str) and _utf8_size(instance) < self._min_bytes:
            raise ValueError(f"breaks minLength {self._min_bytes}")


class UniqueItems:
    """Keyword `uniqueItems`, in time linear in the size of the array, whatever its items are."""

    def __init__(self, _parent: Any, value: bool, _path: Any) -> None:
        self._enabled = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, with the broken rule as its message, if `instance` is invalid."""
        if not self._enabled or not isinstance(instance, list):
            return
        item_types = set(map(type, instance))
        unique_count = (
            len(set(instance))
            if item_types == {str}
            else len({_equality_key(item) for item in instance})
        )
        if unique_count != len(instance):
            raise ValueError("breaks uniqueItems")


class NumericEnum:
    """Keyword `enum` with numbers among its values: one hash lookup, however many values."""

    def __init__(self, _parent: Any, value: list[Any], _path: Any) -> None:
        self._keys = {_equality_key(item) for item in value}
        self._only_scalars = not any(isinstance(item, dict | list) for item in value)

    def validate(self, instance: Any) -> None:
        """Raise ValueError, with the broken rule as its message, if `instance` is invalid."""
        is_container = isinstance(instance, dict | list)
        if (is_container and self._only_scalars) or _equality_key(instance) not in self._keys:
            raise ValueError("is not among those of enum")


class MultipleOf:
    """Keyword `multipleOf`: exact for integers, within rounding error for other numbers."""

    def __init__(self, _parent: Any, value: float, _path: Any) -> None:
        self._value = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, with the broken rule as its message, if `instance` is invalid."""
        if isinstance(instance, bool) or not isinstance(instance, int | float):
            return
        if not _is_multiple(instance, self._value):
            raise ValueError(f"breaks multipleOf {self._value:g}")


class ErrorKeyword:
    """Keyword `error`: always fails, with the message that the schema gives."""

    def __init__(self, _parent: Any, value: str, _path: Any) -> None:
        self._message = value

    def validate(self, instance: Any) -> None:  # noqa: ARG002
        """Raise ValueError with the message of the schema, whatever `instance` is."""
        raise ValueError(self._message)


def decoded_length(text: str) -> int:
    """Return the number of bytes that the base64 text `text` decodes to."""
    return len(text) * 3 // 4 - text[-2:].count("=")


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _equality_key(item: Any) -> Any:
    """Return a hashable key that is the same for equal JSON values and differs for others.

    Integers of 2**53 and more are keyed by their digits: a sender can choose integers whose hashes
    collide, but not strings, whose hash is randomized.
    """
    item_type = type(item)
    if item_type is str:
        return f"s{item}"
    if item_type is int:
        return item if -_MAX_SAFE_INT < item < _MAX_SAFE_INT else f"n{item}"
    if item_type is dict:
        return frozenset([(name, _equality_key(value)) for name, value in item.items()])
    if item_type is list:
        return ("l", *[_equality_key(value) for value in item])
    if item_type is float:
        return item if not item.is_integer() or abs(item) < _MAX_SAFE_INT else f"n{int(item)}"
    return (item,) if item_type is bool else item


def _is_multiple(number: float, divisor: float) -> bool:
    if isinstance(number, int) and isinstance(divisor, int):
        return number % divisor == 0
    try:
        quotient = number / divisor
    except OverflowError:  # the integer does not fit in a float
        quotient = inf
    if quotient in (inf, -inf):  # undecidable if the divisor is a fraction: accept
        return not float(divisor).is_integer() or number % int(divisor) == 0
    return abs(quotient - round(quotient)) <= _TOLERANCE * abs(quotient)
