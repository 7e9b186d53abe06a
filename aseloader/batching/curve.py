"""What a loader learns in order to time its batches: batch durations and arrivals. Pure."""

from typing import Final

# Weight of the last batch, and of the last window, in the figures.
_BATCH_WEIGHT: Final = 1 / 64
_RETURN_WEIGHT: Final = 1 / 8
# The first batches warm up the model: they are not part of the fit. It is relied on after as many.
_WARM_UP_BATCHES: Final = 2
_MIN_BATCHES: Final = 8
# A batch that took longer than this many times its expected time counts as that: one stall must not
# change the curve.
_MAX_DEVIATION: Final = 4.0
# Variance of sizes that the prior of the slope weighs as much as.
_PRIOR_VARIANCE: Final = 0.05
# A batch waits for the callers that usually return for this many times their usual time.
_PATIENCE: Final = 1.5


class BatchCurve:
    """Time of a batch over its size, as a line: `base_ms + item_ms * size`.

    `_seen` counts all batches, `_count` those of the fit.

    A weighted least-squares fit; the weight of a batch falls with each later one. While all batches
    have about the same size, half of their time counts as base. Both figures are 0 before the first
    batch and never negative.
    """

    def __init__(self) -> None:
        self.base_ms = self.item_ms = 0.0
        self._seen = self._count = 0
        self._mean_size = self._mean_ms = self._variance = self._covariance = 0.0

    @property
    def is_known(self) -> bool:
        """Return whether enough batches have run."""
        return self._count >= _MIN_BATCHES

    def time_ms(self, size: int) -> float:
        """Return the expected time of a batch of `size` requests in milliseconds."""
        return self.base_ms + self.item_ms * size

    def record(self, size: int, ms: float) -> None:
        """Update the curve with a batch of `size` requests that took `ms` milliseconds."""
        self._seen += 1
        if self._seen <= _WARM_UP_BATCHES:
            return
        if self._count:
            ms = min(ms, _MAX_DEVIATION * self.time_ms(size))
        self._count += 1
        weight = max(_BATCH_WEIGHT, 1 / self._count)
        size_deviation, ms_deviation = size - self._mean_size, ms - self._mean_ms
        self._mean_size += size_deviation * weight
        self._mean_ms += ms_deviation * weight
        remaining = 1 - weight
        self._variance = remaining * (self._variance + weight * size_deviation * size_deviation)
        self._covariance = remaining * (self._covariance + weight * size_deviation * ms_deviation)
        most = self._mean_ms / self._mean_size  # the line goes through the origin
        slope = (self._covariance + _PRIOR_VARIANCE * most / 2) / (self._variance + _PRIOR_VARIANCE)
        self.item_ms = min(max(slope, 0.0), most)
        self.base_ms = max(self._mean_ms - self.item_ms * self._mean_size, 0.0)


class ReturnPattern:
    """How many requests usually arrive soon after a batch has ended, and within what time.

    Callers that wait for their responses send their next requests when they get them. `count` is
    the mean number of arrivals in a window after the end of a batch, and `within_s` the mean time
    from that end to the last of them, in seconds.
    """

    def __init__(self) -> None:
        self.count = self.within_s = 0.0
        self._batch_ended_at = self._window_ends_at = self._last_at = 0.0
        self._arrivals = 0
        self._is_open = False

    def record_batch_end(self, now: float, window_s: float) -> None:
        """Note that a batch ended at `now`; count the arrivals of the next `window_s` seconds."""
        self._close()
        self._batch_ended_at = self._last_at = now
        self._window_ends_at = now + window_s
        self._arrivals = 0
        self._is_open = True

    def record_arrival(self, now: float) -> None:
        """Note that a request arrived at `now`."""
        if now <= self._window_ends_at:
            self._arrivals += 1
            self._last_at = now
        else:
            self._close()

    def missing(self) -> float:
        """Return how many more requests are usually here at the end of the window."""
        return self.count - self._arrivals

    def expected_until(self) -> float:
        """Return the time by which they have usually arrived, and half as long again."""
        return self._batch_ended_at + _PATIENCE * self.within_s

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self.count += (self._arrivals - self.count) * _RETURN_WEIGHT
        if self._arrivals:
            within_s = self._last_at - self._batch_ended_at
            self.within_s += (within_s - self.within_s) * _RETURN_WEIGHT
