"""Second attempts: a share of requests, and a few each second."""

from lb.balancer.retry_budget import RetryBudget


def spent(budget: RetryBudget, now: float) -> int:
    count = 0
    while budget.try_acquire(now):
        count += 1
    return count


def test_a_fifth_of_the_requests_and_ten_a_second() -> None:
    budget = RetryBudget(share=0.2, per_second=10.0)
    assert spent(budget, 0.0) == 10, "it starts with those of a second"
    for _ in range(101):
        budget.add_request()
    assert spent(budget, 0.0) == 20
    assert spent(budget, 0.55) == 5
    assert spent(budget, 100.5) == 10, "what was not used does not pile up"


def test_it_holds_no_more_than_a_hundred() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.add_request()
    assert spent(budget, 0.0) == 100


def test_a_clock_that_stands_gives_nothing() -> None:
    budget = RetryBudget()
    spent(budget, 5.0)
    assert not budget.try_acquire(5.0)
