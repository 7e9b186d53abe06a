"""Health checks of endpoints that must answer before they get requests. Pure: the check is given.

An endpoint is checked when it joins, and each time its ejection has elapsed
(`lb.endpoints.outlier`). So no request of a caller finds out that an address is dead.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.outlier import EjectionState
from rpc.timer import CallLater

_MIN_DELAY_S: Final = 0.001

# Starts the check of an endpoint; the callback gets its result, once, perhaps at once.
HealthCheck = Callable[[Endpoint, Callable[[bool], None]], None]


class HealthChecks:
    """Starts checks and applies their results to the ejection state.

    Without a `check`, endpoints that join are admitted at once, and ejected ones pass it when their
    ejection has elapsed. `clock` returns monotonic seconds. `on_change` is called with an endpoint
    whose ejection state a check has changed.
    """

    def __init__(
        self,
        check: HealthCheck | None,
        clock: Callable[[], float],
        call_later: CallLater,
        rng: Random,
        on_change: Callable[[Endpoint], None],
    ) -> None:
        self._check = check
        self._clock = clock
        self._call_later = call_later
        self._rng = rng
        self._on_change = on_change

    def on_join(self, endpoint: Endpoint) -> None:
        """Check an endpoint that has just joined."""
        if self._check is not None:
            endpoint.outlier_detector.require_check(self._clock())
            self._check(endpoint, partial(self._on_result, endpoint))

    def on_ejection(self, endpoint: Endpoint) -> None:
        """Check an endpoint that was ejected as soon as its ejection has elapsed."""
        remaining_s = endpoint.outlier_detector.ejected_until - self._clock()
        self._call_later(max(_MIN_DELAY_S, remaining_s), partial(self._start, endpoint))

    def _start(self, endpoint: Endpoint) -> None:
        if endpoint.state is EndpointState.GONE:
            return
        detector = endpoint.outlier_detector
        if not detector.try_start_checking(self._clock()):
            if detector.state is EjectionState.EJECTED:  # the timer fired early, as uvloop's do
                self.on_ejection(endpoint)
            return
        if self._check is None:
            self._on_result(endpoint, True)
        else:
            self._check(endpoint, partial(self._on_result, endpoint))

    def _on_result(self, endpoint: Endpoint, passed: bool, /) -> None:
        detector = endpoint.outlier_detector
        if endpoint.state is EndpointState.GONE:
            return
        if detector.record_check(self._clock(), self._rng, passed=passed):
            self._on_change(endpoint)
