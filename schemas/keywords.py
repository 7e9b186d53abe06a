"""Keywords that the validator's library has not, or has at a cost that a body could choose. Pure.

Its `uniqueItems` compares huge integers pairwise, its `multipleOf` works in fractions: a body of
100,000 numbers held a gateway for seconds. It takes microseconds to compare two fractions. Lengths
are bytes in the dialect, characters there.
"""

from math import inf
from typing import Any, Final

_WORD: Final = 2**53
_CLOSE: Final = 2.0**-50  # of a quotient: what rounding may have done to it


class MaxBase64:
    """`maxB64DLen`: the most bytes a base64 text may decode to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._limit = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and decoded_length(instance) > self._limit:
            raise ValueError(f"must decode to at most {self._limit} bytes")


class MinBase64:
    """`minB64DLen`: the fewest bytes a base64 text may decode to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._floor = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and decoded_length(instance) < self._floor:
            raise ValueError(f"must decode to at least {self._floor} bytes")


class MaxBytes:
    """`maxLength` of the dialect: the most bytes of a text in UTF-8."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._limit = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and _size(instance) > self._limit:
            raise ValueError(f"breaks maxLength {self._limit}")


class MinBytes:
    """`minLength` of the dialect: the fewest bytes of a text in UTF-8."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._floor = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if isinstance(instance, str) and _size(instance) < self._floor:
            raise ValueError(f"breaks minLength {self._floor}")


class UniqueItems:
    """`uniqueItems`, in time that grows with the array, whatever stands in it."""

    def __init__(self, _parent: Any, value: bool, _path: Any) -> None:
        self._asked = value

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        if not self._asked or not isinstance(instance, list):
            return
        kinds = set(map(type, instance))
        unique = len(set(instance)) if kinds == {str} else len({_key(item) for item in instance})
        if unique != len(instance):
            raise ValueError("breaks uniqueItems")


class Among:
    """`enum` where there are numbers in it: found by looking up, however many there are."""

    def __init__(self, _parent: Any, value: list[Any], _path: Any) -> None:
        self._keys = {_key(told) for told in value}
        self._scalars = not any(isinstance(told, dict | list) for told in value)

    def validate(self, instance: Any) -> None:
        """Raise ValueError, whose text is the rule."""
        deep = isinstance(instance, dict | list)
        if (deep and self._scalars) or _key(instance) not in self._keys:
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


class Error:
    """`error`: never holds, and says why in the schema's own words."""

    def __init__(self, _parent: Any, value: str, _path: Any) -> None:
        self._words = value

    def validate(self, instance: Any) -> None:  # noqa: ARG002
        """Raise ValueError, whose text is the rule."""
        raise ValueError(self._words)


def decoded_length(text: str) -> int:
    """Return how many bytes a base64 text decodes to."""
    return len(text) * 3 // 4 - text[-2:].count("=")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _key(item: Any) -> Any:
    """Return what two equal JSON values have in common, and no others.

    Huge integers by their digits: the hash of an integer can be chosen, that of a text cannot.
    """
    kind = type(item)
    if kind is str:
        return f"s{item}"
    if kind is int:
        return item if -_WORD < item < _WORD else f"n{item}"
    if kind is dict:
        return frozenset([(name, _key(value)) for name, value in item.items()])
    if kind is list:
        return ("l", *[_key(value) for value in item])
    if kind is float:
        return item if not item.is_integer() or abs(item) < _WORD else f"n{int(item)}"
    return (item,) if kind is bool else item


def _is_multiple(number: float, of: float) -> bool:
    if isinstance(number, int) and isinstance(of, int):
        return number % of == 0
    try:
        quotient = number / of
    except OverflowError:  # an integer beyond what a float holds
        quotient = inf
    if quotient in (inf, -inf):  # as far as anyone can tell, it is one
        return not float(of).is_integer() or number % int(of) == 0
    return abs(quotient - round(quotient)) <= _CLOSE * abs(quotient)
