"""What goes wrong in some experiments: loaders that lie, and neighbours that slow them. Pure."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from gateway.simulation.actors import LoaderModel, SimLoader, SimRequest
from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.endpoints.report import Load, Report

_CALM_S, _DISTURBED_S = 6.0, 2.0
_ENDLESS = 10_000


class LyingLoader(SimLoader):
    """A loader that accepts 10,000 requests and makes itself attractive.

    It reports twice the slots and the limit of its model, no load, and a thousandth of its service
    time.
    """

    def __init__(
        self,
        model: LoaderModel,
        loop: VirtualTimeLoop,
        rng: Random,
        on_finished: Callable[[SimRequest], None],
        emit_report: Callable[[Report], None],
    ) -> None:
        super().__init__(replace(model, limit=_ENDLESS), loop, rng, on_finished, emit_report)
        self.instance = replace(self.instance, total=2 * model.limit, best=2 * model.slots)

    def _reported_load(self) -> Load:
        load = super()._reported_load()
        service_ms = load.service_ms / 1000
        return replace(load, running=0, queued=0, service_ms=service_ms, requests_by_gateway={})


class Antagonist:
    """A process beside a loader that halves its speed while it is there.

    Its stays and the times between them are exponential, with means of 2 s and 6 s.
    """

    def __init__(self, loader: SimLoader, loop: VirtualTimeLoop, rng: Random) -> None:
        self._loader = loader
        self._loop = loop
        self._rng = rng

    def start(self) -> None:
        """Schedule the first stay."""
        self._loop.call_at(self._rng.expovariate(1 / _CALM_S), self._change_speed, 0.5)

    def _change_speed(self, factor: float) -> None:
        """Come with the factor 0.5, or leave with 2."""
        self._loader.change_speed(factor)
        mean_s = _DISTURBED_S if factor < 1 else _CALM_S
        due = self._loop.now + self._rng.expovariate(1 / mean_s)
        self._loop.call_at(due, self._change_speed, 1 / factor)
