"""Whether an instance's answers can be relied on: ejected by its failures, tried again later. Pure.

Rules: reference "load-balancing" 6.6. Five failures in a row, or of at least 20 answers in ten
seconds less than 80 % good, eject an instance for a second, twice as long each time, up to 30 s.
Then one request may try it. One that could not be reached is ejected at once, for a second. Reports
tell of failures that others met: five of the whole fleet are enough, not five of each gateway.
"""

from enum import Enum
from random import Random
from typing import Final

ROW: Final = 5
_LEAST: Final = 20
_GOOD_SHARE: Final = 0.8
_BUCKETS: Final = 10
_FIRST_S: Final = 1.0
_LONGEST_S: Final = 30.0
_JITTER: Final = 0.2


class Standing(Enum):
    """What an instance may get by its health."""

    IN = "in"
    EJECTED = "ejected"
    TRIED = "tried"


class Sign(Enum):
    """What is learnt of an instance; the value is the reason told in logs and metrics."""

    RECOVERED = "recovered"
    FAILED_IN_ROW = "failed_in_row"
    FAILED_OFTEN = "failed_often"
    REPORTED_FAILURES = "reported_failures"
    UNREACHABLE = "unreachable"
    SERVED_TIME = "served_time"
    FAILED_AGAIN = "failed_again"


_IN: Final = Standing.IN
_EJECTED: Final = Standing.EJECTED
_TRIED: Final = Standing.TRIED

TRANSITIONS: Final[dict[tuple[Standing, Sign], Standing]] = {
    (_IN, Sign.FAILED_IN_ROW): _EJECTED,
    (_IN, Sign.FAILED_OFTEN): _EJECTED,
    (_IN, Sign.REPORTED_FAILURES): _EJECTED,
    (_IN, Sign.UNREACHABLE): _EJECTED,
    (_EJECTED, Sign.SERVED_TIME): _TRIED,
    (_TRIED, Sign.RECOVERED): _IN,
    (_TRIED, Sign.FAILED_AGAIN): _EJECTED,
    (_TRIED, Sign.UNREACHABLE): _EJECTED,
}


class Health:
    """The health of one instance, by the answers that one gateway had, and by what it reports.

    `until`: while ejected, when it may be tried. `reason` of the last move, `since` its time.
    """

    __slots__ = ("_bad", "_errors", "_good", "_row", "_second", "_served", "_times", "_told_row",
                 "reason", "since", "standing", "until")  # fmt: skip

    def __init__(self) -> None:
        self.standing = _IN
        self.reason = Sign.RECOVERED
        self.since = 0.0
        self.until = 0.0
        self._row = 0
        self._times = 0
        self._second = 0
        self._served = self._errors = -1  # nothing was told yet
        self._told_row = 0
        self._good = [0] * _BUCKETS
        self._bad = [0] * _BUCKETS

    def good(self, now: float) -> bool:
        """Take in an answer; return whether the standing changed."""
        self._row = 0
        self._good[self._bucket(now)] += 1
        if self.standing is _IN:
            return False
        return self._take(Sign.RECOVERED, now, None)

    def bad(self, now: float, rng: Random) -> bool:
        """Take in a failure; return whether the standing changed."""
        self._row += 1
        self._bad[self._bucket(now)] += 1
        if self.standing is _TRIED:
            return self._take(Sign.FAILED_AGAIN, now, rng)
        if self._row >= ROW:
            return self._take(Sign.FAILED_IN_ROW, now, rng)
        bad, good = sum(self._bad), sum(self._good)
        if bad + good >= _LEAST and good < _GOOD_SHARE * (bad + good):
            return self._take(Sign.FAILED_OFTEN, now, rng)
        return False

    def told(self, served: int, errors: int, now: float, rng: Random) -> bool:
        """Take in how many it served in all, and failed of them; return whether it is ejected."""
        ended, failed = served - self._served, errors - self._errors
        first = self._served < 0
        self._served, self._errors = served, errors
        if first or ended <= 0:
            return False
        self._told_row = self._told_row + failed if failed >= ended else 0
        return self._told_row >= ROW and self._take(Sign.REPORTED_FAILURES, now, rng)

    def unreachable(self, now: float, rng: Random) -> bool:
        """Take in that it could not be reached; return whether the standing changed."""
        return self._take(Sign.UNREACHABLE, now, rng)

    def wait_over(self, now: float) -> bool:
        """Let an ejected one be tried when its time has come; return whether it is."""
        return now >= self.until and self._take(Sign.SERVED_TIME, now, None)

    def _take(self, sign: Sign, now: float, rng: Random | None) -> bool:
        after = TRANSITIONS.get((self.standing, sign))
        if after is None:
            return False
        self.standing, self.reason, self.since = after, sign, now
        if after is _IN:
            self._times = self._row = self._told_row = 0
            self._good, self._bad = [0] * _BUCKETS, [0] * _BUCKETS
        elif after is _EJECTED:
            pause = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._times, 10))
            self._times += 1
            if rng is not None:
                pause *= rng.uniform(1 - _JITTER, 1 + _JITTER)
            self.until = now + pause
        return True

    def _bucket(self, now: float) -> int:
        """Return the bucket of this second; those of seconds that have gone are emptied."""
        second = int(now)
        gone = second - self._second
        if gone > 0:
            for step in range(min(gone, _BUCKETS)):
                spot = (second - step) % _BUCKETS
                self._good[spot] = self._bad[spot] = 0
            self._second = second
        return second % _BUCKETS
