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
_MAX_BURST: Final = 1_000_000_000
_MAX_GAP_S: Final = 1e9  # between two requests of a rate; with it no time is infinite


class LimitExceededError(AseError):
    """A request that exceeds a limit; it may pass in `retry_after` whole seconds.

    `header_lines` are further lines of the response.
    """

    def __init__(self, spec: ErrorSpec, detail: str, wait: float, header_lines: str = "") -> None:
        super().__init__(spec, detail)
        self.retry_after = max(1, math.ceil(wait))
        self.header_lines = header_lines


class MeterLease:
    """The part of a limit that this process may use, of those that several gateways share.

    `admitted`, `running` and `used` are what these counts of the meter may reach. If `is_used_up`,
    nothing is left of the quota; else the next lease may have more of it. `is_current` is False
    while the hub is away: then the meter's own share of the rate counts, not `admitted`.
    """

    __slots__ = ("admitted", "is_current", "is_used_up", "running", "used")

    def __init__(self, admitted: float, running: int, used: int, is_used_up: bool) -> None:
        self.admitted = admitted
        self.running = running
        self.used = used
        self.is_used_up = is_used_up
        self.is_current = True


class Meter:
    """The use of one key, application or service.

    `arrival_at` is the theoretical arrival time in seconds of the monotonic clock, `running` counts
    the requests and sessions in progress, `used` those of the quota's period, which ends at
    `period_end` in Unix time; `used_before` of them came before the start. `admitted` and `refused`
    count all requests, the last one at `counted_at` (monotonic). If several gateways share the
    limit, `lease` is what this one may use; without one it may use its `share` of the rate and of
    the requests in progress, 0 to 1.
    """

    __slots__ = (
        "admitted", "arrival_at", "counted_at", "lease", "limits", "name", "period_end", "refused",
        "running", "share", "used", "used_before",
    )  # fmt: skip

    def __init__(self, name: str, limits: CallerLimits) -> None:
        self.name = name
        self.limits = limits
        self.arrival_at = self.counted_at = 0.0
        self.running = self.used = self.used_before = self.admitted = self.refused = 0
        self.period_end = 0.0
        self.lease: MeterLease | None = None
        self.share = 1.0

    def check(self, now: float, wall_now: float) -> None:
        """Raise LimitExceededError if another request would exceed a limit; nothing is counted."""
        limits = self.limits
        if limits.concurrency and self.running >= self._max_running():
            message = f"{self.name} has {limits.concurrency} requests in progress, its limit"
            raise self._refusal(CONCURRENCY_LIMITED, message, 1.0, now)
        if limits.quota:
            self._roll_over(wall_now)
            lease = self.lease
            if lease is not None and not lease.is_used_up and self.used >= lease.used:
                message = f"what is left of the quota of {self.name} is at other gateways"
                raise self._refusal(RATE_LIMITED, message, 1.0, now)
            if self.used >= (limits.quota if lease is None else lease.used):
                period = "day" if limits.quota_days == 1 else "month"
                message = f"{self.name} has used its {limits.quota} requests of this {period}"
                raise self._refusal(QUOTA_USED, message, self.period_end - wall_now, now)
        if limits.rate:
            wait = self._wait(now)
            if wait > 0.0:
                message = f"{self.name} may send {limits.rate:g} requests a second"
                raise self._refusal(RATE_LIMITED, message, wait, now, self._rate_lines(now))

    def count(self, now: float) -> None:
        """Count a request that was checked at the same times."""
        self.running += 1
        self.admitted += 1
        self.counted_at = now
        if self.limits.quota:
            self.used += 1
        if self.limits.rate:
            step = min(1.0 / self._rate(), _MAX_GAP_S)
            self.arrival_at = max(self.arrival_at, now) + step
            if self.lease is not None:  # it may admit more than its share for a while
                self.arrival_at = min(self.arrival_at, now + self._tolerance() + step)

    def ahead(self, now: float) -> float:
        """Return how many requests were admitted of late that the rate has not let pass yet."""
        return max(0.0, self.arrival_at - now) * self._rate()

    def start_period(self, used: int, wall_now: float) -> None:
        """Begin with what was used of the quota's present period before."""
        self.used_before = used
        self.used, self.period_end = used, period_end(wall_now, self.limits.quota_days)

    def change_limits(self, limits: CallerLimits, now: float, wall_now: float) -> None:
        """Take other limits: what was counted counts on, by the new rate.

        A lease is of the old limits, so that the share counts until the next one.
        """
        ahead, quota_days = self.ahead(now), self.limits.quota_days
        self.limits, self.lease = limits, None
        self.arrival_at = now + min(ahead, self.burst) / self._rate() if limits.rate else 0.0
        if limits.quota_days != quota_days:
            self.start_period(0, wall_now)

    def remaining(self, now: float) -> int:
        """Return how many requests would pass the rate at once."""
        if self.lease is not None and self.lease.is_current:
            return max(0, math.floor(self.lease.admitted - self.admitted + 1e-9))
        ahead = max(0.0, self.arrival_at - now)
        return max(0, math.floor((self._tolerance() - ahead) * self._rate() + 1.0 + 1e-9))

    def rate_line(self, remaining: int, now: float) -> str:
        """Return the header line that says what is left of the rate.

        It is that of draft-ietf-httpapi-ratelimit-headers-10.
        """
        return f'ratelimit: "rate";r={remaining};t={self._reset(now)}\r\n'

    def _rate_lines(self, now: float) -> str:
        """Return the header lines of a refusal: of the draft, and what most gateways send."""
        limits, burst = self.limits, self.burst
        window = max(1, math.ceil(min(burst / limits.rate, _MAX_GAP_S)))
        return (
            f'ratelimit-policy: "rate";q={burst};w={window}\r\n{self.rate_line(0, now)}'
            f"x-ratelimit-limit: {burst}\r\nx-ratelimit-remaining: 0\r\n"
            f"x-ratelimit-reset: {self._reset(now)}\r\n"
        )

    def _reset(self, now: float) -> int:
        """Return the seconds until a whole burst would pass."""
        return math.ceil(max(0.0, self.arrival_at - now))

    def _refusal(
        self, spec: ErrorSpec, message: str, wait: float, now: float, header_lines: str = ""
    ) -> LimitExceededError:
        self.refused += 1
        self.counted_at = now
        return LimitExceededError(spec, message, wait, header_lines)

    def _max_running(self) -> int:
        if self.lease is not None:
            return self.lease.running
        if self.share == 0.0:
            return 0
        return max(1, math.floor(self.limits.concurrency * self.share + 1e-9))

    def _rate(self) -> float:
        """Return the requests per second that this process may admit by itself."""
        return max(self.limits.rate * self.share, 1.0 / _MAX_GAP_S)

    @property
    def burst(self) -> int:
        """Return the requests that may come at once: by default those of one second."""
        return self.limits.burst or max(1, math.ceil(min(self.limits.rate, _MAX_BURST)))

    def _wait(self, now: float) -> float:
        """Return the seconds until the rate lets a request pass; 0 or less: now."""
        if self.lease is not None and self.lease.is_current:
            missing = self.admitted + 1 - self.lease.admitted
            return missing / self.limits.rate if missing > 1e-9 else 0.0
        return self.arrival_at - self._tolerance() - now - 1e-9

    def _tolerance(self) -> float:
        """Return how far the arrival time may run ahead: a burst but for one request.

        A burst of a part of the limit is as many seconds, of fewer requests.
        """
        return min(max(0.0, self.burst * self.share - 1) / self._rate(), _MAX_GAP_S)

    def _roll_over(self, wall_now: float) -> None:
        if wall_now >= self.period_end:
            self.start_period(0, wall_now)
            if self.lease is not None:  # the hub grants more at the next exchange
                self.lease.used = math.floor(self.limits.quota * self.share)
                self.lease.is_used_up = False


class Admission:
    """A request that was admitted; `release` ends it once, however often it is called.

    `header_line` is that of the response which says what is left of the rate, "" for none.
    """

    __slots__ = ("_meters", "header_line")

    def __init__(self, meters: list[Meter], header_line: str) -> None:
        self._meters = meters
        self.header_line = header_line

    def max_body(self, default: int) -> int:
        """Return the largest body in bytes that the limits allow, `default` at most."""
        limit = default
        for meter in self._meters:
            if meter.limits.max_body:
                limit = min(limit, meter.limits.max_body)
        return limit

    def with_meters(self, further: list[Meter]) -> "Admission":
        """Return the admission with further meters, in the place of this one."""
        meters, self._meters = self._meters, []
        return Admission([*meters, *further], self.header_line)

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
