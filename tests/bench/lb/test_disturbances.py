"""A loader that lies says so in its reports alone, and an antagonist leaves what it took."""

from random import Random

from bench.lb.disturbances import Antagonist, LyingLoader
from gateway.simulation.actors import LoaderModel, SimLoader, SimRequest
from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.endpoints.report import Report


def test_liar_takes_all_and_reports_none() -> None:
    loop, reports = VirtualTimeLoop(), list[Report]()
    model = LoaderModel("liar:1", "ocr", slots=2, limit=4)
    liar = LyingLoader(model, loop, Random(1), lambda _: None, reports.append)
    assert all(liar.try_accept(SimRequest("ocr", 0.0, 9.0, "g")) for _ in range(100))
    assert len(liar.running) == 2, "it works as its model does"
    liar.start()
    assert (reports[-1].instance.total, reports[-1].instance.best) == (8, 4)
    assert (reports[-1].load.running, reports[-1].load.queued) == (0, 0)


def test_antagonist_halves_the_speed_while_it_is_there() -> None:
    loop, speeds = VirtualTimeLoop(), set[float]()
    model = LoaderModel("loader:1", "ocr", slots=1, limit=1)
    loader = SimLoader(model, loop, Random(1), lambda _: None, lambda _: None)
    Antagonist(loader, loop, Random(1)).start()
    changes: list[float] = []

    def observe() -> bool:
        if loader.speed not in changes[-1:]:
            changes.append(loader.speed)
        speeds.add(loader.speed)
        return len(changes) < 6

    loop.run(observe)
    assert changes == [1.0, 0.5, 1.0, 0.5, 1.0, 0.5]
    assert 5 < loop.now < 100, "some seconds each"
