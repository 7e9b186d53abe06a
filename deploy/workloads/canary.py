"""How a new revision is tried by some of the requests before it gets all of them. Pure."""

from dataclasses import dataclass, replace
from typing import Any, Final

from deploy.workloads.members import Bounds, InvalidMemberError, check_number, read_object

PROMOTIONS: Final = ("comparison", "hand")
_NUMBERS: Final[dict[str, Bounds]] = {
    "requests": (1.0, 1_000_000_000.0, True),
    "errorTolerance": (0.0, 1.0, False),
    "slowdown": (1.0, 1000.0, False),
}
_MEMBERS: Final = dict.fromkeys(("share", "promotion", *_NUMBERS))


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
    """Return the canary of a JSON value. Raises InvalidMemberError."""
    members = read_object(tree, _MEMBERS, "{share: 10%}")
    promotion = members.get("promotion", "comparison")
    if promotion not in PROMOTIONS:
        raise InvalidMemberError("promotion", f"must be {' or '.join(PROMOTIONS)}")
    numbers = {name: members[name] for name in _NUMBERS if name in members}
    for name, value in numbers.items():
        check_number(name, value, _NUMBERS[name])
    default = Canary(_read_share(members.get("share")), promotion)
    if promotion == "comparison" and default.share >= 1.0:
        message = "must be less than all: there is nothing to compare with; or promotion: hand"
        raise InvalidMemberError("share", message)
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
        raise InvalidMemberError("share", "must be more than 0 and at most 1, or as 10%")
    return share
