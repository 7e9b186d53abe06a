"""Which of several deployers works, over one store."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.engine.leadership import LEADER, SharedLeadership, SoleLeadership
from registry.store.interfaces import ConflictError, Transaction
from registry.store.sqlite import SqliteStore
from tests.clock import Clock

INTERVAL_S = 0.02


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (a state, not an event)
        await asyncio.sleep(0.001)


def test_another_takes_over_when_the_leader_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "s.sqlite")
        await store.open()
        loop = asyncio.get_running_loop()
        elected: list[str] = []

        def create(name: str) -> SharedLeadership:
            return SharedLeadership(
                store, name, loop.time, lambda: elected.append(name), INTERVAL_S
            )

        first, second = create("a"), create("b")
        running = asyncio.ensure_future(first.run())
        async with asyncio.timeout(30):
            await until(lambda: first.is_leader)
            standby = asyncio.ensure_future(second.run())
            await until(lambda: second.leader == "a")
            guard = first.guard()
            running.cancel()  # it is killed
            await until(lambda: second.is_leader)
        assert elected == ["a", "b"]
        assert not first.is_leader
        # What the first one still wants to write is refused.
        with pytest.raises(ConflictError):
            await store.commit(Transaction({"x": b"1"}, expected=guard))
        await store.commit(Transaction({"x": b"2"}, expected=second.guard()))
        standby.cancel()
        await asyncio.gather(running, standby, return_exceptions=True)
        await store.close()

    asyncio.run(main())


def test_one_that_stops_lets_the_other_in_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "s.sqlite")
        await store.open()
        clock = Clock()
        first = SharedLeadership(store, "a", clock, lambda: None)
        second = SharedLeadership(store, "b", clock, lambda: None)
        await first._act()
        await second._act()
        assert (first.is_leader, second.is_leader) == (True, False)
        await first.resign()
        assert await store.get(LEADER) is None
        await second._act()
        assert second.is_leader

        await store.close()

    asyncio.run(main())


def test_it_stops_before_another_one_begins(tmp_path: Path) -> None:
    """A leader that cannot renew does not act any more when another one takes over."""

    async def main() -> None:
        store = SqliteStore(tmp_path / "s.sqlite")
        await store.open()
        clock = Clock()
        first = SharedLeadership(store, "a", clock, lambda: None)
        second = SharedLeadership(store, "b", clock, lambda: None)
        await first._act()
        await second._act()
        took_over = 0.0
        while not second.is_leader:
            clock.now += 0.1
            assert not (first.is_leader and second.is_leader)
            took_over += 0.1
            await second._act()
        assert not first.is_leader
        assert 2.0 < took_over < 5.0
        await first._act()
        assert first.leader == "b"
        entry = await store.get(LEADER)
        assert entry is not None
        assert json.loads(entry.value) == {"name": "b"}
        await store.close()

    asyncio.run(main())


def test_one_alone_leads() -> None:
    assert SoleLeadership().is_leader
    assert SoleLeadership().guard() == {}
