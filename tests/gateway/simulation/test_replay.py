"""A replay says what would have been: held against a simulation of the fleet that it cannot see."""

from dataclasses import replace
from math import log
from random import Random

import pytest

from gateway.simulation.actors import LoaderModel
from gateway.simulation.fleet import Fleet, RecordedLoader, estimate_fleet
from gateway.simulation.recording import (
    RecordedInstance,
    RecordedRequest,
    Recording,
    RecordingStart,
)
from gateway.simulation.replay import Scenario, TrafficFigures, replay

START = RecordingStart("g", 0.0, 1, "ours", 2.0, 256, 10.0)
MEAN_MS = 20.0  # the geometric mean of the works
SPEEDS = {"a:1": 1.5, "b:1": 1.0, "c:1": 0.5}


def true_fleet(requests: list[RecordedRequest], works: list[float]) -> Fleet:
    assert len(requests) == len(works)
    models = [
        LoaderModel(addr, "ocr", 2, 10, speed, 0.001, served=99, service_ms=MEAN_MS / speed)
        for addr, speed in SPEEDS.items()
    ]
    return Fleet([RecordedLoader(model, 0.0, None, 0.0) for model in models], list(works))


def arrivals(count: int, rate: float) -> tuple[list[RecordedRequest], list[float]]:
    rng, now = Random(3), 0.0
    requests, works = [], []
    for _ in range(count):
        now += rng.expovariate(rate)
        requests.append(
            RecordedRequest("g", now, "ocr", "", now, 0.0, 0.0, 200, 0, 0, "", "", False)
        )
        works.append(rng.lognormvariate(log(0.02), 0.5))
    return requests, works


def simulate(
    requests: list[RecordedRequest], works: list[float], scenario: Scenario
) -> list[RecordedRequest]:
    """Return what the true fleet does."""
    recording = Recording({"g": START}, [], requests)
    return replay(recording, true_fleet(requests, works), scenario)


def record(calls: list[RecordedRequest]) -> Recording:
    """Return the recording of what the true fleet did: its speeds and works are not in it."""
    instances = [
        RecordedInstance(
            "g", 0.0, "ocr", addr, 7, "ON_CHANGE", 10, 2, 1, "up", 0, 0, MEAN_MS / speed, 99
        )
        for addr, speed in SPEEDS.items()
    ]  # fmt: skip
    return Recording({"g": START}, instances, sorted(calls, key=lambda call: call.at))


def test_loader_is_there_from_the_start_although_its_first_requests_came_later() -> None:
    start = replace(START, at=1000.0)
    instance = RecordedInstance(
        "g", 1000.1, "ocr", "a:1", 7, "ON_CHANGE", 2, 1, 1, "up", 0, 0, 100.0, 9
    )
    request = RecordedRequest("g", 1000.2, "ocr", "a:1", 1000.2, 0.1, 0.0, 200, 0, 1, "", "", False)
    recording = Recording({"g": start}, [instance], [request])
    fleet = estimate_fleet(recording, Random(1))
    for rate in (0.01, 1.0, 100.0):
        (replayed,) = replay(recording, fleet, Scenario(rate=rate))
        assert (replayed.instance, replayed.code) == ("a:1", 0)
        assert replayed.at == pytest.approx(1000 + 0.2 / rate)


SCENARIOS = [
    Scenario(),
    Scenario(without=frozenset(["a:1"])),
    Scenario(policy="round_robin"),
    Scenario(policy="least_request"),
    Scenario(rate=1.3),
    Scenario(rate=0.5),
    Scenario(rate=2.0),
    Scenario(added=2, rate=2.0),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=repr)
def test_replay_is_within_ten_percent_of_the_true_fleet(scenario: Scenario) -> None:
    requests, works = arrivals(4000, rate=110)  # of 265 that the fleet could serve
    calls = simulate(requests, works, Scenario())
    recording = record(calls)
    estimated = TrafficFigures.of(replay(recording, estimate_fleet(recording, Random(1)), scenario))
    true = TrafficFigures.of(simulate(requests, works, scenario))
    assert estimated.latency_ms(0.5) == pytest.approx(true.latency_ms(0.5), rel=0.1)
    assert estimated.latency_ms(0.99) == pytest.approx(true.latency_ms(0.99), rel=0.1)
    assert estimated.failed == pytest.approx(true.failed, rel=0.1, abs=5)
    assert estimated.requests == true.requests == 4000
    assert estimated.seconds == pytest.approx(true.seconds)
