"""The simulation: held to theory, repeatable, and nothing is lost whatever the policy."""

import pytest

from bench.lb import theory
from bench.lb.cell import Cell, make_cell
from bench.lb.simulate import simulate
from bench.lb.stats import mean, quantile


def test_one_queue_for_all_is_m_m_k() -> None:
    came = simulate(Cell(policy="central", gateways=1, loaders=4, rho=0.7), 1, 40_000)
    known = theory.mm_response_quantile(16, 0.7, 0.02, 0.99)
    assert quantile(sorted(came.responses), 0.99) == pytest.approx(known, rel=0.03)
    known = theory.mm_wait_mean(16, 0.7, 0.02)
    assert mean(came.waits) == pytest.approx(known, rel=0.15)


def test_little_s_law() -> None:
    made = Cell(policy="poll", rho=0.5)
    came = simulate(made, 1, 20_000)
    assert came.mean_in_system == pytest.approx(made.rate() * mean(came.responses), rel=0.03)


@pytest.mark.parametrize(
    "policy",
    ["ours", "ours_unbounded", "least_request", "p2c", "peak_ewma", "orca_wrr", "prequal", "load",
     "loadMini", "poll", "random", "oracle", "central"],
)  # fmt: skip
def test_every_request_is_answered_once_and_no_place_is_kept(policy: str) -> None:
    came = simulate(make_cell("half_2x", policy, 4), 2, 3000)
    assert len(came.responses) == came.requests == 3000
    assert came.leaked == 0
    assert min(came.waits) >= 0


def test_a_seed_says_the_same_twice() -> None:
    one, two = (simulate(make_cell("homogeneous", "ours", 4), 5, 3000) for _ in range(2))
    assert one.responses == two.responses


def test_who_knows_more_waits_less() -> None:
    """Not a proof of anything but that arms are what they are called."""
    waits = {
        policy: mean(simulate(make_cell("homogeneous", policy, 16), 1, 5000).waits)
        for policy in ("central", "oracle", "ours", "least_request", "random")
    }
    assert sorted(waits, key=waits.__getitem__) == list(waits)


def test_lost_reports_are_lost() -> None:
    full = simulate(make_cell("homogeneous", "ours", 4), 1, 3000)
    half = simulate(make_cell("homogeneous", "ours", 4, loss=0.5), 1, 3000)
    assert full.responses != half.responses
    assert len(half.responses) == 3000


@pytest.mark.parametrize("gateways", [4, 16])
def test_a_loader_that_lies_is_found_out(gateways: int) -> None:
    """It claims twice its licences, a thousandth of its slot time, no work, and takes all."""
    came = simulate(make_cell("liar", "ours", gateways), 1, 8000)
    truth = simulate(make_cell("homogeneous", "ours", gateways, rho=0.7), 1, 8000)
    assert came.served_by_first / came.requests < 2 * 2 / 17
    assert quantile(sorted(came.responses), 0.999) < 1.2 * quantile(sorted(truth.responses), 0.999)


def test_keys_stay_where_they_are_at_home_and_nobody_waits_longer() -> None:
    came = simulate(make_cell("affinity", "ours", 16, rho=0.7), 1, 8000)
    free = simulate(make_cell("homogeneous", "ours", 16, rho=0.7), 1, 8000)
    assert came.served_at_home > 0.6 * came.requests
    assert free.served_at_home == 0
    assert mean(came.waits) < 1.3 * mean(free.waits)
