"""What a gateway knows of one instance: the queue, the slot time, the share of a newcomer."""

from math import log
from typing import Any

import pytest

from lb.endpoints.endpoint import Endpoint, FleetMedians
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load, ReportMode

INSTANCE = Instance("ase", "ocr", "a:1", 7, total=8, best=4)


def make_endpoint(load: Load = Load(1), instance: Instance = INSTANCE) -> Endpoint:  # noqa: B008 (frozen)
    return Endpoint(instance, load, EndpointState.UP, 0.0)


def fleet_medians(service_ms: float, latency_log_ratio: float = 0.0) -> FleetMedians:
    medians = FleetMedians()
    medians.service_ms, medians.slots, medians.latency_log_ratio = service_ms, 4, latency_log_ratio
    return medians


@pytest.mark.parametrize(
    ("reported_load", "reported_inflight", "inflight", "abandoned", "outstanding"),
    [
        (3, 0, 0, 0, 3),  # nothing of ours
        (3, 0, 2, 0, 5),  # two are on their way
        (5, 2, 2, 0, 5),  # the report has them
        (5, 2, 0, 0, 3),  # they ended since
        (5, 2, 4, 0, 7),  # and two more were sent
        (5, 3, 2, 1, 5),  # one of ours was given up, and still runs there
        (2, 2, 2, 1, 2),  # it does not run any more
        (1, 3, 0, 0, 0),  # it tells nonsense: never less than nothing
        (5, -1, 2, 0, 5),  # it does not tell whose they are: ours are among them
        (5, -1, 2, 3, 5),
    ],
)
def test_outstanding_is_remote_load_plus_own_inflight(
    reported_load: int, reported_inflight: int, inflight: int, abandoned: int, outstanding: int
) -> None:
    endpoint = make_endpoint()
    endpoint.inflight, endpoint.abandoned = inflight, abandoned
    endpoint.apply_report(
        INSTANCE,
        Load(2, running=min(4, reported_load), queued=max(0, reported_load - 4)),
        reported_inflight,
        1.0,
    )
    assert endpoint.outstanding() == outstanding


def batch_endpoint(outstanding: int, workers: int = 1) -> Endpoint:
    """Return an instance whose batches of n, at most 8, take 20 + 2n milliseconds."""
    instance = Instance("ase", "ocr", "a:1", 7, total=99, best=8 * workers, max_batch=8)
    load = Load(
        2,
        running=outstanding,
        service_ms=30.0,
        served=99,
        batch_base_ms=20.0,
        batch_item_ms=2.0,
    )
    endpoint = make_endpoint(Load(1), instance)
    endpoint.apply_report(instance, load, 0, 1.0)
    endpoint.update_estimates(fleet_medians(10.0), 0.0, 1.0)
    return endpoint


@pytest.mark.parametrize(
    ("outstanding", "workers", "expected_ms"),
    [
        (0, 1, 22.0),  # a batch of its own
        (1, 1, 20 + 2 * 1.5 + 22 / 2),  # half of the batch that runs, then its own
        (8, 1, 20 + 2 * 5 + 28 / 2),
        (16, 1, 36 + 36 / 2),  # both batches are full
        (20, 1, 36 + 36 / 2 + 4 * 36 / 8),  # four more wait
        (1, 2, 20 + 2 * 1.25),  # a worker is free
        (16, 2, 20 + 2 * 5 + 28 / 2),
    ],
)
def test_expected_delay_of_batches(outstanding: int, workers: int, expected_ms: float) -> None:
    endpoint = batch_endpoint(outstanding, workers)
    assert endpoint.expected_ms() == pytest.approx(expected_ms, rel=0.002)


def test_old_times_of_batches_are_not_believed() -> None:
    endpoint = batch_endpoint(0)
    endpoint.update_estimates(fleet_medians(10.0), 0.0, 7.0)
    assert endpoint.expected_ms() == pytest.approx(10.0), "as a service time, after 5 s"


def test_expected_delay_of_batches_grows_with_each_request() -> None:
    delays = [batch_endpoint(outstanding).expected_ms() for outstanding in range(40)]
    assert delays == sorted(set(delays))


def test_expected_delay_of_batches_grows_if_reports_are_distrusted() -> None:
    endpoint = batch_endpoint(0)
    for _ in range(40):
        endpoint.record_latency(400.0, endpoint.expected_ms(), 1.0)
    endpoint.update_estimates(fleet_medians(10.0), 0.0, 1.0)
    assert endpoint.expected_ms() > 4 * 22


@pytest.mark.parametrize(
    ("service_ms", "served", "now", "expected_ms"),
    [
        (90.0, 1000, 6.0, 90.0),  # told by many, of late
        (90.0, 19, 6.0, 20.0),  # a cold start: told by few
        (90.0, 1000, 6.1, 20.0),  # a bad moment, long past
        (23.0, 1000, 6.0, 20.0),  # near enough: the same
        (23.2, 1000, 6.0, 23.2),
        (17.0, 1000, 6.0, 20.0),
        (16.8, 1000, 6.0, 16.8),
        (0.0, 1000, 6.0, 20.0),  # nothing told
    ],
)
def test_service_time_falls_back_to_fleet_median(
    service_ms: float, served: int, now: float, expected_ms: float
) -> None:
    endpoint = make_endpoint()
    endpoint.apply_report(INSTANCE, Load(2, service_ms=service_ms, served=served), 0, 1.0)
    endpoint.update_estimates(fleet_medians(20.0), 10.0, now)
    assert endpoint.service_ms == expected_ms


def test_microsecond_differences_in_service_time_are_ignored() -> None:
    endpoint = make_endpoint()
    endpoint.apply_report(INSTANCE, Load(2, service_ms=0.09, served=99), 0, 1.0)
    endpoint.update_estimates(fleet_medians(0.01), 10.0, 1.0)
    assert endpoint.service_ms == 0.01


@pytest.mark.parametrize(
    ("remote_load", "rounds"), [(0, 1.0), (3, 1.0), (4, 1.25), (7, 2.0), (11, 3.0)]
)
def test_expected_delay_is_service_time_times_queue_rounds(remote_load: int, rounds: float) -> None:
    endpoint = make_endpoint()
    endpoint.service_ms = 20.0
    endpoint.remote_load = remote_load
    assert endpoint.expected_ms() == pytest.approx(20.0 * rounds, rel=0.005)


def test_old_periodic_report_does_not_keep_endpoint_full() -> None:
    endpoint = make_endpoint()
    endpoint.remote_load, endpoint.inflight = 8, 0
    assert not endpoint.has_capacity(0.0)
    periodic = make_endpoint(
        instance=Instance("ase", "ocr", "a:1", 7, total=8, best=4, report_mode=ReportMode.PERIODIC)
    )
    periodic.remote_load, periodic.service_ms = 8, 50.0
    assert periodic.has_capacity(0.0)
    periodic.mark_full(1.0)
    assert not periodic.has_capacity(1.049)
    assert periodic.has_capacity(1.051)
    periodic.inflight = 8
    assert not periodic.has_capacity(2.0)


@pytest.mark.parametrize(
    ("service_ms", "outstanding", "is_free"),
    [
        (50.0, 3, True),
        (50.0, 4, False),  # its four slots are busy: the fifth waits 12 ms
        (2.0, 4, True),  # the fifth waits half a millisecond
        (2.0, 5, True),
        (2.0, 6, False),
        (0.1, 7, True),
        (0.1, 8, False),  # the loader accepts no more
    ],
)
def test_free_slots_are_those_where_a_request_begins_soon(
    service_ms: float, outstanding: int, is_free: bool
) -> None:
    endpoint = make_endpoint()
    endpoint.service_ms, endpoint.inflight = service_ms, outstanding
    assert endpoint.has_free_slot(0.0) is is_free
    endpoint.remote_load, endpoint.inflight = outstanding - 2, 2  # half of the slots are our own
    assert endpoint.has_free_slot(0.0) is is_free


def test_part_of_the_slots_is_for_each_gateway() -> None:
    """Others may fill the queue of the loader: then no slot is ever free."""
    endpoint = make_endpoint()
    endpoint.service_ms, endpoint.remote_load = 50.0, 6
    assert [endpoint.has_free_slot(0.0) for endpoint.inflight in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    endpoint.remote_load = 8
    endpoint.inflight = 0
    assert not endpoint.has_free_slot(0.0), "the loader accepts no more"


def test_slots_of_a_new_instance_are_those_of_its_ramp() -> None:
    endpoint = make_endpoint()
    endpoint.service_ms, endpoint.usable_slots, endpoint.inflight = 50.0, 2, 1
    assert endpoint.has_free_slot(0.0)
    endpoint.inflight = 2
    assert not endpoint.has_free_slot(0.0)


@pytest.mark.parametrize(
    "fields", [{"report_mode": ReportMode.PERIODIC}, {"report_mode": ReportMode.NONE},
               {"max_batch": 4}],
)  # fmt: skip
def test_slots_of_batches_and_of_unknown_queues_are_not_told_apart(fields: dict[str, Any]) -> None:
    instance = Instance("ase", "ocr", "a:1", 7, total=8, best=4, **fields)
    endpoint = make_endpoint(instance=instance)
    endpoint.service_ms, endpoint.inflight = 50.0, 7
    assert endpoint.has_free_slot(0.0)
    endpoint.inflight = 8
    assert not endpoint.has_free_slot(0.0)


def test_rejecting_endpoint_is_full_until_its_next_report() -> None:
    endpoint = make_endpoint()
    endpoint.inflight = 1
    endpoint.mark_full(0.0)
    assert (endpoint.outstanding(), endpoint.has_capacity(9.0)) == (8, False)
    endpoint.apply_report(INSTANCE, Load(2, running=1), 1, 9.0)
    assert endpoint.has_capacity(9.0)


def test_less_occupied_endpoint_is_slightly_preferred_without_queue() -> None:
    idle, occupied = make_endpoint(), make_endpoint()
    idle.service_ms = occupied.service_ms = 20.0
    occupied.remote_load = 1
    assert idle.expected_ms() < occupied.expected_ms() < idle.expected_ms() * 1.001


@pytest.mark.parametrize(
    ("now", "usable_slots"),
    [(0.0, 1), (2.0, 1), (5.0, 2), (8.0, 3), (9.9, 3), (10.0, 4), (99.0, 4)],
)
def test_new_endpoint_ramps_up_usable_slots(now: float, usable_slots: int) -> None:
    endpoint = make_endpoint()
    endpoint.update_estimates(fleet_medians(20.0), 10.0, now)
    assert endpoint.usable_slots == usable_slots
    assert endpoint.limit == 8


def test_endpoint_that_already_served_is_not_ramped_up() -> None:
    endpoint = make_endpoint(Load(1, served=5))
    endpoint.update_estimates(fleet_medians(20.0), 10.0, 0.0)
    assert endpoint.usable_slots == 4


@pytest.mark.parametrize(
    ("service_ms", "slots", "load_weight"),
    [(20.0, 4, 8), (40.0, 4, 16), (10.0, 4, 4), (20.0, 8, 4), (20.0, 1, 32), (9999.0, 1, 64)],
)
def test_load_weight_follows_service_time_and_slots(
    service_ms: float, slots: int, load_weight: int
) -> None:
    instance = Instance("ase", "ocr", "a:1", 7, total=8, best=slots)
    endpoint = make_endpoint(Load(1, served=50), instance)
    endpoint.apply_report(instance, Load(2, service_ms=service_ms, served=99), 0, 1.0)
    endpoint.update_estimates(fleet_medians(20.0), 0.0, 1.0)
    assert endpoint.load_weight == load_weight
    endpoint.inflight = 3
    endpoint.update_load_level()
    assert endpoint.load_level == 3 * load_weight
    endpoint.inflight = 9999
    endpoint.update_load_level()
    assert endpoint.load_level == 4095


def test_service_time_is_learned_from_responses_without_reports() -> None:
    endpoint = make_endpoint(instance=Instance("ase", "ocr", "s:1", report_mode=ReportMode.NONE))
    endpoint.learn_service_time(0.02, 1.0)
    assert endpoint.load.service_ms == pytest.approx(20.0)
    for _ in range(100):
        endpoint.learn_service_time(0.04, 2.0)
    assert endpoint.load.service_ms == pytest.approx(40.0, rel=0.01)
    assert (endpoint.load.served, endpoint.last_served_at) == (101, 2.0)


def test_endpoint_is_untried_until_it_has_requests() -> None:
    assert make_endpoint().is_untried()
    assert not make_endpoint(Load(1, served=1)).is_untried()
    assert not make_endpoint(
        instance=Instance("ase", "ocr", "s:1", report_mode=ReportMode.NONE)
    ).is_untried()
    for name in ("picks", "remote_load", "inflight"):
        endpoint = make_endpoint()
        setattr(endpoint, name, 1)
        assert not endpoint.is_untried()


@pytest.mark.parametrize(
    ("answers", "took_ms", "fleet_latency_log_ratio", "slowdown"),
    [
        (0, 0.0, 0.0, 1.0),
        (1, 200.0, 0.0, 1.0),  # twenty times as long, and once: it may be chance
        (1, 400.0, 0.0, 1.0),
        (99, 400.0, 0.0, 40.0),
        (32, 20.0, 0.0, 1.0),
        (32, 30.0, 0.0, 1.0),
        (32, 40.0, 0.0, 4.0),  # no chance any more
        (8, 40.0, 0.0, 1.0),
        (99, 1.0, 0.0, 1.0),  # faster than expected is no lie that does harm
        (99, 90.0, log(9), 1.0),  # everybody's answers are late: the network, or the machine
    ],
)
def test_slowdown_factor_rises_when_responses_exceed_expectation(
    answers: int, took_ms: float, fleet_latency_log_ratio: float, slowdown: float
) -> None:
    endpoint = make_endpoint()
    endpoint.apply_report(INSTANCE, Load(2, service_ms=10.0, served=99), 0, 1.0)
    for _ in range(answers):
        endpoint.record_latency(took_ms, 10.0, 1.0)
    endpoint.update_estimates(fleet_medians(20.0, fleet_latency_log_ratio), 10.0, 1.0)
    assert endpoint.slowdown_factor == pytest.approx(slowdown, rel=0.01)
    assert endpoint.service_ms == pytest.approx(10.0 * slowdown, rel=0.01)


def test_no_slowdown_below_a_millisecond() -> None:
    endpoint = make_endpoint()
    endpoint.apply_report(INSTANCE, Load(2, service_ms=0.1, served=99), 0, 1.0)
    for _ in range(99):
        endpoint.record_latency(1.5, 0.1, 1.0)
    endpoint.update_estimates(fleet_medians(20.0), 10.0, 1.0)
    assert endpoint.slowdown_factor == 1.0


def test_single_slow_response_causes_no_slowdown() -> None:
    """An equal that was late once would not be asked any more, and could not prove itself."""
    endpoint = make_endpoint()
    endpoint.record_latency(500.0, 1.0, 1.0)
    endpoint.update_estimates(fleet_medians(20.0), 10.0, 1.0)
    assert endpoint.slowdown_factor == 1.0
    endpoint.record_latency(1.0, 1.0, 1.0)
    assert endpoint.latency_log_ratio == pytest.approx(1.0)


def test_slowdown_expires_without_new_responses() -> None:
    endpoint = make_endpoint()
    for _ in range(99):
        endpoint.record_latency(500.0, 1.0, 1.0)
    endpoint.update_estimates(fleet_medians(20.0), 10.0, 5.9)
    assert endpoint.slowdown_factor > 1.0
    endpoint.update_estimates(fleet_medians(20.0), 10.0, 6.1)
    assert endpoint.slowdown_factor == 1.0
    endpoint.record_latency(500.0, 1.0, 6.2)
    endpoint.update_estimates(fleet_medians(20.0), 10.0, 6.2)
    assert endpoint.slowdown_factor > 1.0, "one more answer, and it is what it was"


def test_slowdown_persists_while_reports_stay_wrong() -> None:
    """What is expected grows with the doubt; the reports are no truer for that."""
    endpoint = make_endpoint()
    for _ in range(200):
        endpoint.record_latency(40.0, endpoint.expected_ms() or 1.0, 1.0)
        endpoint.apply_report(INSTANCE, Load(2, service_ms=1.0, served=99), 0, 1.0)
        endpoint.update_estimates(fleet_medians(20.0), 10.0, 1.0)
    assert endpoint.service_ms == pytest.approx(40.0, rel=0.01)
    for _ in range(200):
        endpoint.record_latency(1.0, endpoint.expected_ms(), 1.0)
        endpoint.update_estimates(fleet_medians(20.0), 10.0, 1.0)
    assert (endpoint.slowdown_factor, endpoint.service_ms) == (1.0, 1.0)
