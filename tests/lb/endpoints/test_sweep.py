"""The sweep: time passes over a table, a stall is compensated, an error ends nothing."""

import asyncio
from typing import Any

from lb.endpoints.sweep import sweep


class RecordingTable:
    """Notes what the sweep does; the second one fails."""

    def __init__(self) -> None:
        self.stalls: list[float] = []
        self.swept_at: list[float] = []

    def compensate_stall(self, stall_s: float) -> None:
        self.stalls.append(stall_s)

    def expire(self, now: float) -> list[Any]:
        self.swept_at.append(now)
        if len(self.swept_at) == 2:
            raise ValueError("a fault")
        return [len(self.swept_at)]


def test_sweep_publishes_changes_compensates_stalls_and_survives_errors() -> None:
    table, published, times = RecordingTable(), list[Any](), iter([0.0, 1.0, 5.0, 6.0, 7.0])

    async def main() -> None:
        done = asyncio.Event()

        def publish(changes: list[Any]) -> None:
            published.extend(changes)
            if len(published) == 2:
                done.set()

        task = asyncio.create_task(sweep(table, lambda: next(times, 8.0), publish, 0.0))
        await done.wait()
        task.cancel()

    asyncio.run(main())
    assert published[:2] == [1, 3]
    assert table.stalls[:3] == [1.0, 4.0, 1.0]
    assert table.swept_at[:3] == [1.0, 5.0, 6.0]
