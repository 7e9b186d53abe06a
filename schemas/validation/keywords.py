"""Keywords that the validator's library has not, or has at a cost that a body could choose. Pure.

Its `uniqueItems` compares huge integers pairwise, its `multipleOf` works in fractions: a body of
100,000 numbers held a gateway for seconds. It takes microseconds to compare two fractions. Lengths
are bytes in the dialect, characters there.
"""

from math import inf
from typing import Any, Final

_MAX_SAFE_INT: Final = 2**53
_TOLERANCE: Final = 2.0**-50  # of a quotient: what rounding may have done to it


class MaxBase64:
    """`maxB64DLen`: the most bytes a base64 text may decode to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._max_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and decoded_length(instance) > self._max_bytes:
            raise ValueError(f"must decode to at most {self._max_bytes} bytes")


class MinBase64:
    """`minB64DLen`: the fewest bytes a base64 text may decode to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._min_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and decoded_length(instance) < self._min_bytes:
            raise ValueError(f"must decode to at least {self._min_bytes} bytes")


class MaxBytes:
    """`maxLength` of the dialect: the most bytes of a text in UTF-8."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._max_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and _utf8_size(instance) > self._max_bytes:
            raise ValueError(f"breaks maxLength {self._max_bytes}")


class MinBytes:
    """`minLength` of the dialect: the fewest bytes of a text in UTF-8."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._min_bytes = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and _utf8_size(instance) < self._min_bytes:
            raise ValueError(f"breaks minLength {self._min_bytes}")


class UniqueItems:
    """`uniqueItems`, in time that grows with the array, whatever stands in it."""

    def __init__(self, _parent: Any, value: bool, _path: Any) -> None:
        self._enabled = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
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
    """`enum` where there are numbers in it: found by looking up, however many there are."""

    def __init__(self, _parent: Any, value: list[Any], _path: Any) -> None:
        self._keys = {_equality_key(item) for item in value}
        self._only_scalars = not any(isinstance(item, dict | list) for item in value)

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        is_container = isinstance(instance, dict | list)
        if (is_container and self._only_scalars) or _equality_key(instance) not in self._keys:
            raise ValueError("is not among those of enum")


class MultipleOf:
    """`multipleOf`: exact for integers, but for what rounding does for other numbers."""

    def __init__(self, _parent: Any, value: float, _path: Any) -> None:
        self._value = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, bool) or not isinstance(instance, int | float):
            return
        if not _is_multiple(instance, self._value):
            raise ValueError(f"breaks multipleOf {self._value:g}")


class ErrorKeyword:
    """`error`: never holds, and says why in the schema's own words."""

    def __init__(self, _parent: Any, value: str, _path: Any) -> None:
        self._message = value

    def validate(self, instance: Any) -> None:  # noqa: ARG002
        """Raise ValueError, whose text is the rule."""
        raise ValueError(self._message)


def decoded_length(text: str) -> int:
    """Return how many bytes a base64 text decodes to."""
    return len(text) * 3 // 4 - text[-2:].count("=")


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _equality_key(item: Any) -> Any:
    """Return what two equal JSON values have in common, and no others.

    Huge integers by their digits: the hash of an integer can be chosen, that of a text cannot.
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
    except OverflowError:  # an integer beyond what a float holds
        quotient = inf
    if quotient in (inf, -inf):  # as far as anyone can tell, it is one
        return not float(divisor).is_integer() or number % int(divisor) == 0
    return abs(quotient - round(quotient)) <= _TOLERANCE * abs(quotient)
