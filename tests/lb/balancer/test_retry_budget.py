"""Second attempts: a share of requests, and a few each second."""

from lb.balancer.retry_budget import RetryBudget


def spend_all(budget: RetryBudget, requests: int, now: float) -> int:
    count = 0
    while budget.try_acquire(requests, now):
        count += 1
    return count


def test_budget_is_share_of_requests_plus_rate() -> None:
    budget = RetryBudget(share=0.2, per_second=10.0)
    assert spend_all(budget, 0, 0.0) == 10, "it starts with those of a second"
    assert spend_all(budget, 101, 0.0) == 20
    assert spend_all(budget, 101, 0.55) == 5
    assert spend_all(budget, 101, 100.5) == 10, "what was not used does not pile up"


def test_budget_is_capped() -> None:
    budget = RetryBudget()
    assert spend_all(budget, 10_000, 0.0) == 100


def test_no_refill_while_the_clock_stands_still() -> None:
    budget = RetryBudget()
    spend_all(budget, 0, 5.0)
    assert not budget.try_acquire(0, 5.0)
