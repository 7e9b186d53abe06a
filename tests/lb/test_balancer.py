"""Tickets give back exactly once, whatever ends the block; a million of them leave nothing."""

import asyncio
from random import Random

import pytest

from lb.balancer import Balancer
from lb.report import Instance, Load, Report
from lb.table import Entry, Table
from schemas.errors import FULL, LOST, NO_INSTANCE, UNREACHABLE, AseError


def one(total: int = 4, digest: str = "d") -> tuple[Balancer, Entry]:
    table = Table()
    instance = Instance("ase", "ocr", "a:1", 7, digest=digest, total=total)
    table.apply(Report(instance, Load(1)), 0.0)
    entry = table.get(instance.key)
    assert entry is not None
    return Balancer(table, clock=lambda: 0.0, rng=Random(1)), entry


def test_a_place_is_counted_and_given_back() -> None:
    balancer, entry = one()
    with balancer.acquire("ocr", "d") as ticket:
        assert ticket.instance.addr == "a:1"
        assert (entry.inflight, entry.sent) == (1, 1)
    assert (entry.inflight, entry.sent) == (0, 1)
    ticket.release()
    assert entry.inflight == 0, "a second release does nothing"


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (AseError(LOST), 1),
        (AseError(FULL), 0),
        (AseError(UNREACHABLE), 0),
        (ValueError("x"), 1),
        (asyncio.CancelledError(), 1),
        (TimeoutError(), 1),
        (KeyboardInterrupt(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_end_gives_it_back(error: BaseException, sent: int) -> None:
    balancer, entry = one()
    with pytest.raises(type(error)), balancer.acquire("ocr", "d"):
        raise error
    assert entry.asked == 1
    assert (entry.shunned > 0) is (isinstance(error, AseError) and error.fault is UNREACHABLE)
    assert (entry.inflight, entry.sent) == (0, sent), "refused requests are not waited for"


def test_cancelled_tasks_give_it_back() -> None:
    balancer, entry = one()

    async def hold() -> None:
        with balancer.acquire("ocr", "d"):
            await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.create_task(hold()) for _ in range(100)]
        await asyncio.sleep(0)
        assert entry.inflight == 100
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert entry.inflight == 0


def test_many_random_ends_leave_nothing() -> None:
    balancer, entry = one()
    rng = Random(3)
    ends = [None, AseError(LOST), AseError(FULL), TimeoutError(), asyncio.CancelledError()]
    for _ in range(20_000):
        try:
            with balancer.acquire("ocr", "d"):
                end = rng.choice(ends)
                if end is not None:
                    raise end
        except (AseError, TimeoutError, asyncio.CancelledError):
            pass
    assert entry.inflight == 0
    assert entry.queue() == 0


@pytest.mark.parametrize(("told", "active", "found"), [("d", "d", 1), ("d", "e", 0), ("", "e", 1)])
def test_only_the_active_schema_gets_traffic(told: str, active: str, found: int) -> None:
    balancer, entry = one(digest=told)
    if found:
        with balancer.acquire("ocr", active):
            assert entry.inflight == 1
    else:
        with pytest.raises(AseError) as caught:
            balancer.acquire("ocr", active)
        assert caught.value.fault is NO_INSTANCE


def test_nobody_is_an_error() -> None:
    balancer, _ = one()
    with pytest.raises(AseError, match="'other'"):
        balancer.acquire("other", "d")
    with pytest.raises(AseError):
        balancer.acquire("ocr", "d", ["a:1"])
