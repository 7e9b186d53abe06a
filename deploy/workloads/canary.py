"""How a new revision is tried by some of the requests before it gets all of them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from schemas.model.suggestion import did_you_mean

PROMOTIONS: Final = ("comparison", "hand")
_NUMBERS: Final = {
    "requests": (1.0, 1_000_000_000.0),
    "errorTolerance": (0.0, 1.0),
    "slowdown": (1.0, 1000.0),
}


class InvalidCanaryError(Exception):
    """A member that cannot be taken: its name, and what it must be."""

    def __init__(self, name: str, message: str, hint: str = "") -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message, self.hint = name, message, hint


@dataclass(frozen=True, slots=True)
class Canary:
    """The new revision gets `share` of the requests, 0 to 1, until it is promoted.

    `promotion` is `hand`, or `comparison`: after `requests` requests of each revision, if the new
    one's share of errors is at most `error_tolerance` higher, and it takes at most `slowdown` times
    as long.
    """

    share: float
    promotion: str = "comparison"
    requests: int = 200
    error_tolerance: float = 0.01
    slowdown: float = 1.5

    def to_json(self) -> dict[str, Any]:
        """Return the members that `read_canary` reads."""
        return {
            "share": self.share,
            "promotion": self.promotion,
            "requests": self.requests,
            "errorTolerance": self.error_tolerance,
            "slowdown": self.slowdown,
        }


def read_canary(tree: object) -> Canary:
    """Return the canary of a JSON value. Raises InvalidCanaryError."""
    if not isinstance(tree, Mapping):
        raise InvalidCanaryError("", "must be an object, as {share: 10%}")
    members = ("share", "promotion", *_NUMBERS)
    for name in tree:
        if name not in members:
            hint = did_you_mean(str(name), members)
            raise InvalidCanaryError(str(name), "unknown member", hint)
    promotion = tree.get("promotion", "comparison")
    if promotion not in PROMOTIONS:
        raise InvalidCanaryError("promotion", f"must be {' or '.join(PROMOTIONS)}")
    numbers = {name: tree[name] for name in _NUMBERS if name in tree}
    for name, value in numbers.items():
        least, most = _NUMBERS[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise InvalidCanaryError(name, f"must be a number, {least:g} to {most:g}")
    default = Canary(_read_share(tree.get("share")), promotion)
    return replace(
        default,
        requests=int(numbers.get("requests", default.requests)),
        error_tolerance=float(numbers.get("errorTolerance", default.error_tolerance)),
        slowdown=float(numbers.get("slowdown", default.slowdown)),
    )


def _read_share(value: object) -> float:
    share = -1.0
    if isinstance(value, str) and value.endswith("%"):
        try:
            share = float(value[:-1]) / 100
        except ValueError:
            share = -1.0
    elif isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    if not 0.0 < share <= 1.0:
        raise InvalidCanaryError("share", "must be more than 0 and at most 1, or as 10%")
    return share
