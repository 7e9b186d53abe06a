"""The tokens of frames that bring nothing: what earns them, and where they end."""

from rpc.frame_budget import BURST, RATE, FrameBudget
from tests.clock import Clock


def spend_all(budget: FrameBudget) -> None:
    budget.tokens = -1


def test_time_earns_tokens_up_to_a_burst() -> None:
    clock = Clock()
    budget = FrameBudget(clock)
    assert budget.tokens == BURST
    spend_all(budget)
    assert not budget.renew(0, 0, 0, 0)
    clock.now += 0.5
    assert budget.renew(0, 0, 0, 0)
    assert budget.tokens == RATE * 0.5 - 1
    clock.now += 3600
    budget.renew(0, 0, 0, 0)
    assert budget.tokens == BURST


def test_work_earns_tokens_once() -> None:
    budget = FrameBudget(Clock())
    spend_all(budget)
    assert budget.renew(10, 0, 0, 2048)
    assert budget.tokens == 10 * 16 + 2 - 1
    spend_all(budget)
    assert not budget.renew(10, 0, 0, 2048)
    assert budget.renew(10, 0, 3, 2048)
    assert budget.tokens == 2 * 3 - 1


def test_time_earns_tokens_once() -> None:
    clock = Clock()
    budget = FrameBudget(clock)
    clock.now += 1.0
    for is_renewed in (True, False):
        spend_all(budget)
        assert budget.renew(0, 0, 0, 0) is is_renewed


def test_open_streams_raise_the_limit() -> None:
    budget = FrameBudget(Clock())
    spend_all(budget)
    budget.renew(1000, 500, 0, 0)
    assert budget.tokens == BURST + 16 * 500


def test_messages_earn_tokens_up_to_a_burst() -> None:
    budget = FrameBudget(Clock())
    budget.earn(10)
    assert budget.tokens == BURST
    budget.tokens = 0
    budget.earn(10)
    assert budget.tokens == 20
