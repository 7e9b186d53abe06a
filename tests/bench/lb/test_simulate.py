"""The simulation: held to theory, repeatable, and nothing is lost whatever the policy."""

import pytest

from bench.lb import theory
from bench.lb.cell import Cell, make_cell
from bench.lb.simulate import simulate
from bench.lb.stats import mean, quantile


def test_one_queue_for_all_is_m_m_k() -> None:
    result = simulate(Cell(policy="central", gateways=1, loaders=4, rho=0.7), 1, 40_000)
    expected = theory.mm_response_quantile(16, 0.7, 0.02, 0.99)
    assert quantile(sorted(result.responses), 0.99) == pytest.approx(expected, rel=0.03)
    expected = theory.mm_wait_mean(16, 0.7, 0.02)
    assert mean(result.waits) == pytest.approx(expected, rel=0.15)


def test_little_s_law() -> None:
    cell = Cell(policy="poll", rho=0.5)
    result = simulate(cell, 1, 20_000)
    assert result.mean_in_system == pytest.approx(cell.rate() * mean(result.responses), rel=0.03)


@pytest.mark.parametrize(
    "policy",
    ["ours", "ours_unbounded", "least_request", "p2c", "peak_ewma", "orca_wrr", "prequal", "load",
     "loadMini", "poll", "random", "oracle", "central"],
)  # fmt: skip
def test_every_request_completes_once_and_no_slot_leaks(policy: str) -> None:
    result = simulate(make_cell("half_2x", policy, 4), 2, 1000, 0.5)
    assert len(result.responses) == result.requests == 1000
    assert result.leaked == 0
    assert min(result.waits) >= 0


def test_same_seed_gives_the_same_result() -> None:
    first, second = (simulate(make_cell("homogeneous", "ours", 4), 5, 1000, 0.5) for _ in range(2))
    assert first.responses == second.responses


@pytest.mark.first
def test_better_informed_policies_wait_less() -> None:
    """Not a proof of anything but that arms are what they are called."""
    waits = {
        policy: mean(simulate(make_cell("homogeneous", policy, 16), 1, 3000, 1.0).waits)
        for policy in ("central", "oracle", "ours", "least_request", "random")
    }
    assert sorted(waits, key=waits.__getitem__) == list(waits)


def test_report_loss_changes_the_result() -> None:
    lossless = simulate(make_cell("homogeneous", "ours", 4), 1, 1000, 0.5)
    lossy = simulate(make_cell("homogeneous", "ours", 4, loss=0.5), 1, 1000, 0.5)
    assert lossless.responses != lossy.responses
    assert len(lossy.responses) == 1000


@pytest.mark.parametrize("gateways", [4, 16])
def test_lying_loader_gets_little_traffic(gateways: int) -> None:
    """It claims twice its licences, a thousandth of its slot time, no work, and takes all."""
    result = simulate(make_cell("liar", "ours", gateways), 1, 4000)
    honest = simulate(make_cell("homogeneous", "ours", gateways, rho=0.7), 1, 4000)
    assert result.served_by_first / result.requests < 2 * 2 / 17
    assert quantile(sorted(result.responses), 0.999) < 1.2 * quantile(
        sorted(honest.responses), 0.999
    )


def test_affinity_keeps_keys_without_longer_waits() -> None:
    result = simulate(make_cell("affinity", "ours", 16, rho=0.7), 1, 4000)
    without_affinity = simulate(make_cell("homogeneous", "ours", 16, rho=0.7), 1, 4000)
    assert result.served_at_home > 0.6 * result.requests
    assert without_affinity.served_at_home == 0
    assert mean(result.waits) < 1.3 * mean(without_affinity.waits)


def test_rejections_by_full_loaders_fail_no_request() -> None:
    """Several gateways see each other's load late, so that loaders reject many requests."""
    result = simulate(make_cell("homogeneous", "ours", 16, wait_s=1.0), 1, 4000)
    assert result.refusals > 100
    assert result.failed == 0
    impatient = simulate(make_cell("homogeneous", "ours", 16, wait_s=0.0), 1, 4000)
    assert impatient.failed > 0
    assert impatient.leaked == 0
