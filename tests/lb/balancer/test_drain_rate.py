"""How fast a queue drains: from the times between slots, while requests wait."""

from lb.balancer.drain_rate import DrainRate


def test_nothing_is_known_before_four_slots() -> None:
    rate = DrainRate()
    rate.start(10.0)
    for number in range(1, 5):
        assert rate.mean_interval(10.0 + number) is None
        rate.record_slot(10.0 + number)
    assert rate.mean_interval(14.0) == 1.0


def test_time_without_waiting_requests_does_not_count() -> None:
    rate = DrainRate()
    for start in (0.0, 100.0, 200.0, 300.0):
        rate.start(start)
        rate.record_slot(start + 2.0)
    assert rate.mean_interval(302.0) == 2.0
    assert rate.started_at == 300.0


def test_the_mean_grows_while_no_slot_comes() -> None:
    rate = DrainRate()
    rate.start(0.0)
    for number in range(1, 5):
        rate.record_slot(float(number))
    assert rate.mean_interval(8.0) == 2.0


def test_old_intervals_are_forgotten() -> None:
    rate = DrainRate()
    rate.start(0.0)
    now = 0.0
    for interval in [1.0] * 40 + [0.25] * 32:
        now += interval
        rate.record_slot(now)
    assert rate.mean_interval(now) == 0.25
