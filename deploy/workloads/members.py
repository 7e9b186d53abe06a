"""Reads the members of an object of a specification. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.model.suggestion import did_you_mean

# The least and the most value of a number, and whether it must be a whole one.
Bounds = tuple[float, float, bool]

MAX_REPLICAS: Final = 1000


class InvalidMemberError(Exception):
    """A member that cannot be taken: its `name`, "" for the object itself, and what it must be."""

    def __init__(self, name: str, message: str, hint: str = "") -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message, self.hint = name, message, hint


def read_object(tree: object, names: Mapping[str, Any], example: str) -> dict[str, Any]:
    """Return the members of an object, all of which are in `names`. Raises InvalidMemberError."""
    if not isinstance(tree, Mapping):
        raise InvalidMemberError("", f"must be an object, as {example}")
    for name in tree:
        if name not in names:
            raise InvalidMemberError(str(name), "unknown member", did_you_mean(str(name), names))
    return dict(tree)


def check_number(name: str, value: object, bounds: Bounds) -> None:
    """Raise InvalidMemberError for what is no number within the bounds."""
    least, most, is_whole = bounds
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not least <= value <= most
        or (is_whole and value != int(value))
    ):
        kind = "a whole" if is_whole else "a"
        raise InvalidMemberError(name, f"must be {kind} number, {least:g} to {most:g}")
