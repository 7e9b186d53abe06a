"""The use of limits: rates, requests at a time, quotas. Pure: no I/O; the clocks are passed in.

A rate is limited by the generic cell rate algorithm (ITU-T I.371, annex A): each request moves a
theoretical arrival time on by 1/rate, which may run ahead of the clock by a burst. Nothing has to
be refilled, and the time of the next request that passes is known.
"""

import math
from datetime import UTC, datetime
from typing import Final

from gateway.access.identity import CallerLimits
from schemas.model.errors import (
    CONCURRENCY_LIMITED,
    QUOTA_USED,
    RATE_LIMITED,
    AseError,
    ErrorSpec,
)

_DAY_S: Final = 86_400
_MAX_GAP_S: Final = 1e9  # between two requests of a rate; with it no time is infinite


class LimitExceededError(AseError):
    """A request that exceeds a limit; it may pass in `retry_after` whole seconds.

    `header_lines` are further lines of the response.
    """

    def __init__(self, spec: ErrorSpec, detail: str, wait: float, header_lines: str = "") -> None:
        super().__init__(spec, detail)
        self.retry_after = max(1, math.ceil(wait))
        self.header_lines = header_lines


class Meter:
    """The use of one key, application or service.

    `arrival_at` is the theoretical arrival time in seconds of the monotonic clock, `running` counts
    the requests and sessions in progress, `used` those of the quota's period, which ends at
    `period_end` in Unix time.
    """

    __slots__ = ("arrival_at", "limits", "name", "period_end", "running", "used")

    def __init__(self, name: str, limits: CallerLimits) -> None:
        self.name = name
        self.limits = limits
        self.arrival_at = 0.0
        self.running = self.used = 0
        self.period_end = 0.0

    def check(self, now: float, wall_now: float) -> None:
        """Raise LimitExceededError if another request would exceed a limit; nothing is counted."""
        limits = self.limits
        if limits.concurrency and self.running >= limits.concurrency:
            message = f"{self.name} has {limits.concurrency} requests in progress, its limit"
            raise LimitExceededError(CONCURRENCY_LIMITED, message, 1.0)
        if limits.quota:
            self._roll_over(wall_now)
            if self.used >= limits.quota:
                period = "day" if limits.quota_days == 1 else "month"
                message = f"{self.name} has used its {limits.quota} requests of this {period}"
                raise LimitExceededError(QUOTA_USED, message, self.period_end - wall_now)
        if limits.rate:
            wait = self._wait(now)
            if wait > 0.0:
                message = f"{self.name} may send {limits.rate:g} requests a second"
                raise LimitExceededError(RATE_LIMITED, message, wait, self._rate_lines(now))

    def count(self, now: float) -> None:
        """Count a request that was checked at the same times."""
        self.running += 1
        if self.limits.quota:
            self.used += 1
        if self.limits.rate:
            self.arrival_at = max(self.arrival_at, now) + min(1.0 / self.limits.rate, _MAX_GAP_S)

    def start_period(self, used: int, wall_now: float) -> None:
        """Begin with what was used of the quota's present period before."""
        self.used, self.period_end = used, period_end(wall_now, self.limits.quota_days)

    def remaining(self, now: float) -> int:
        """Return how many requests would pass the rate at once."""
        ahead = max(0.0, self.arrival_at - now)
        return max(0, math.floor((self._tolerance() - ahead) * self.limits.rate + 1.0 + 1e-9))

    def rate_line(self, remaining: int, now: float) -> str:
        """Return the header line that says what is left of the rate.

        It is that of draft-ietf-httpapi-ratelimit-headers-10.
        """
        return f'ratelimit: "rate";r={remaining};t={self._reset(now)}\r\n'

    def _rate_lines(self, now: float) -> str:
        """Return the header lines of a refusal: of the draft, and what most gateways send."""
        limits, burst = self.limits, self._burst()
        window = max(1, math.ceil(min(burst / limits.rate, _MAX_GAP_S)))
        return (
            f'ratelimit-policy: "rate";q={burst};w={window}\r\n{self.rate_line(0, now)}'
            f"x-ratelimit-limit: {burst}\r\nx-ratelimit-remaining: 0\r\n"
            f"x-ratelimit-reset: {self._reset(now)}\r\n"
        )

    def _reset(self, now: float) -> int:
        """Return the seconds until a whole burst would pass."""
        return math.ceil(max(0.0, self.arrival_at - now))

    def _burst(self) -> int:
        return self.limits.burst or max(1, math.ceil(self.limits.rate))

    def _wait(self, now: float) -> float:
        """Return the seconds until the rate lets a request pass; 0 or less: now."""
        return self.arrival_at - self._tolerance() - now - 1e-9

    def _tolerance(self) -> float:
        """Return how far the arrival time may run ahead: a burst but for one request."""
        return min((self._burst() - 1) / self.limits.rate, _MAX_GAP_S)

    def _roll_over(self, wall_now: float) -> None:
        if wall_now >= self.period_end:
            self.used = 0
            self.period_end = period_end(wall_now, self.limits.quota_days)


class Admission:
    """A request that was admitted; `release` ends it once, however often it is called.

    `header_line` is that of the response which says what is left of the rate, "" for none.
    """

    __slots__ = ("_meters", "header_line")

    def __init__(self, meters: list[Meter], header_line: str) -> None:
        self._meters = meters
        self.header_line = header_line

    def with_meter(self, meter: Meter) -> "Admission":
        """Return the admission with a further meter, in the place of this one."""
        meters, self._meters = self._meters, []
        return Admission([*meters, meter], self.header_line)

    def release(self) -> None:
        """Count the request as ended."""
        for meter in self._meters:
            meter.running -= 1
        self._meters = []


NO_ADMISSION: Final = Admission([], "")


def period_start(wall_now: float, quota_days: int) -> float:
    """Return the Unix time at which the day, or the calendar month, began in UTC."""
    if quota_days == 1:
        return wall_now // _DAY_S * _DAY_S
    today = datetime.fromtimestamp(wall_now, UTC)
    return datetime(today.year, today.month, 1, tzinfo=UTC).timestamp()


def period_end(wall_now: float, quota_days: int) -> float:
    """Return the Unix time at which the day, or the calendar month, ends in UTC."""
    if quota_days == 1:
        return (wall_now // _DAY_S + 1.0) * _DAY_S
    today = datetime.fromtimestamp(wall_now, UTC)
    years, month = divmod(today.month, 12)  # of the next month, from 0 on
    return datetime(today.year + years, month + 1, 1, tzinfo=UTC).timestamp()
