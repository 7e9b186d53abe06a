"""The sweep: time passes over a table, a stall is compensated, an error ends nothing."""

import asyncio
from math import inf
from typing import Any

import pytest

from lb.endpoints.lifecycle import EndpointEvent
from lb.endpoints.report import Instance, Load, Report, ReportMode
from lb.endpoints.sweep import sweep, sweep_period
from lb.endpoints.table import EndpointTable


class RecordingTable:
    """Notes what the sweep does; the second one fails."""

    def __init__(self) -> None:
        self.stalls: list[float] = []
        self.swept_at: list[float] = []

    def next_expiry(self) -> float:
        return -inf

    def compensate_stall(self, stall_s: float, now: float) -> None:
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

        task = asyncio.create_task(sweep(table, lambda: next(times, 8.0), publish))
        await done.wait()
        task.cancel()

    asyncio.run(main())
    assert published[:2] == [1, 3]
    assert table.stalls[:3] == pytest.approx([0.98, 3.98, 0.98])
    assert table.swept_at[:3] == [1.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("remaining", "period"),
    [(-inf, 0.02), (0.0, 0.02), (0.05, 0.02), (0.08, 0.02), (0.16, 0.1), (0.3, 0.2), (inf, 0.2)],
)
def test_table_is_swept_often_only_when_something_is_due(remaining: float, period: float) -> None:
    assert sweep_period(remaining) == pytest.approx(period)


def test_table_knows_when_its_next_endpoint_is_due() -> None:
    table = EndpointTable(silence_timeout=0.15, ttl=3.0)
    assert table.next_expiry() == inf
    static = Instance("ase", "ocr", "s:1", 0, total=1, report_mode=ReportMode.NONE)
    table.add_static(static, 1.0)
    assert table.next_expiry() == inf
    for number, reported_at in ((1, 1.0), (2, 1.2)):
        table.apply(Report(Instance("ase", "ocr", f"a:{number}", 7, total=4), Load(1)), reported_at)
    due = table.next_expiry()
    assert table.expire(due - 0.001) == []
    (change,) = table.expire(due + 0.001)
    assert (change.instance.addr, change.reason) == ("a:1", EndpointEvent.SILENT)
    second = table.next_expiry()
    assert second == pytest.approx(due + 0.2)
    table.expire(second + 0.001)
    expiry = table.next_expiry()
    assert expiry == pytest.approx(1.0 + 3.0)
    assert table.expire(expiry - 0.001) == []
    (change,) = table.expire(expiry + 0.001)
    assert change.reason is EndpointEvent.EXPIRED
