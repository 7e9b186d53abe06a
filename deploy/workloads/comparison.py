"""Compares how two revisions have answered, to decide whether the new one is promoted. Pure.

The measure is the difference of their shares of failed requests, with the confidence interval of
Newcombe (1998, "Interval estimation for the difference between independent proportions", method
10). The new revision is worse if the whole interval lies above the tolerance, and good enough if
the whole interval lies below it. Each further look at growing figures makes an error a little
likelier than the level says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import sqrt
from typing import Final

_Z_95: Final = 1.96
# A revision that fails so clearly is not waited for: gateways eject it after a few failures, and
# there would be no more requests to judge it by.
_Z_999: Final = 3.29
_MIN_REQUESTS: Final = 5
# Up to this many milliseconds a difference of service times is noise.
_NOISE_MS: Final = 2.0


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """How a revision has answered: `served` requests, `errors` of them failed.

    `service_ms` is the mean time of one in milliseconds, 0 if it is not known.
    """

    served: int = 0
    errors: int = 0
    service_ms: float = 0.0

    @property
    def error_share(self) -> float:
        """The share of failed requests."""
        return self.errors / self.served if self.served else 0.0


# What loaders have answered since they were started, by address and epoch.
Counters = Mapping[tuple[str, int], RequestOutcome]


class Judgement(Enum):
    """What a comparison says of the new revision."""

    GOOD = "good"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A judgement, and its figures in a sentence."""

    judgement: Judgement
    text: str


def outcome_since(baseline: Counters, counters: Counters) -> RequestOutcome:
    """Return what loaders have answered since `baseline`; one that is not in it began after that.

    The time of a request is the mean over the loaders, by what they have answered.
    """
    served = errors = 0
    total_ms = 0.0
    for key, now in counters.items():
        before = baseline.get(key, RequestOutcome())
        served += now.served - before.served
        errors += now.errors - before.errors
        total_ms += now.service_ms * (now.served - before.served)
    return RequestOutcome(served, errors, total_ms / served if served else 0.0)


def difference_interval(old: RequestOutcome, new: RequestOutcome, z: float) -> tuple[float, float]:
    """Return the interval of the difference of the error shares, new minus old."""
    if not (old.served and new.served):
        return -1.0, 1.0
    old_low, old_high = _wilson_interval(old, z)
    new_low, new_high = _wilson_interval(new, z)
    difference = new.error_share - old.error_share
    low = sqrt((new.error_share - new_low) ** 2 + (old_high - old.error_share) ** 2)
    high = sqrt((new_high - new.error_share) ** 2 + (old.error_share - old_low) ** 2)
    return difference - low, difference + high


def compare(
    old: RequestOutcome, new: RequestOutcome, *, requests: int, tolerance: float, slowdown: float
) -> Comparison:
    """Return whether the new revision answers as well as the old one.

    It is decided after `requests` requests of each, earlier only if the new one is clearly worse.
    Worse is a share of errors that is more than `tolerance` higher, or a service time of more than
    `slowdown` times that of the old one.
    """
    figures = (
        f"{new.errors} of {new.served} requests failed ({new.error_share:.2%}), "
        f"of the old revision {old.errors} of {old.served} ({old.error_share:.2%})"
    )
    if min(old.served, new.served) >= _MIN_REQUESTS:
        low, high = difference_interval(old, new, _Z_999)
        if low > tolerance:
            return Comparison(Judgement.WORSE, f"{figures}: {_describe(low, high)} (99.9 %)")
    if min(old.served, new.served) < requests:
        return Comparison(Judgement.UNDECIDED, f"{figures}; {requests} of each are wanted")
    low, high = difference_interval(old, new, _Z_95)
    figures = f"{figures}: {_describe(low, high)} (95 %)"
    if low > tolerance:
        return Comparison(Judgement.WORSE, figures)
    times = f"a request takes {new.service_ms:.1f} ms, of the old revision {old.service_ms:.1f} ms"
    if old.service_ms and new.service_ms > old.service_ms * slowdown + _NOISE_MS:
        return Comparison(Judgement.WORSE, f"{times}; {figures}")
    if high > tolerance:
        return Comparison(Judgement.UNDECIDED, f"{figures}, and {tolerance:.2%} more is tolerated")
    return Comparison(Judgement.GOOD, f"{figures}; {times}")


def _wilson_interval(outcome: RequestOutcome, z: float) -> tuple[float, float]:
    """Return the interval of a share by Wilson (1927)."""
    count, share = outcome.served, outcome.error_share
    centre = share + z * z / (2 * count)
    margin = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    divisor = 1 + z * z / count
    return max(0.0, (centre - margin) / divisor), min(1.0, (centre + margin) / divisor)


def _describe(low: float, high: float) -> str:
    return f"{low:+.2%} to {high:+.2%} failures"
