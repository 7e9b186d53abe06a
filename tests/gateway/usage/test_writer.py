"""Rows of usage reach their file, once each, whatever happens to the disk."""

import logging
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from config.options import UsageOptions
from gateway.access.identity import Identity
from gateway.request.record import RequestRecord
from gateway.usage.row import UsageRow
from gateway.usage.store import UsageStore, UsageStoreError
from gateway.usage.writer import UsageWriter, open_writer

# 2026-11-30 12:00 UTC
NOON = 1_796_040_000.0


def row(
    sid: str, at: float = NOON, *, app: str = "shop", key: str = "k1", code: int = 0
) -> UsageRow:
    return UsageRow(sid, at, app, key, "probe", code, 10, 20, 0.25)


def record(sid: str, service: str = "probe") -> RequestRecord:
    result = RequestRecord(sid, 0.0)
    result.service, result.app_id, result.identity = service, "shop", Identity("shop", "k1")
    result.finish(200, 0, 0.0)
    return result


@pytest.fixture
def store(tmp_path: Path) -> UsageStore:
    store = UsageStore(tmp_path / "usage.sqlite")
    store.create()
    return store


def requests(store: UsageStore) -> int:
    (sums,) = store.sums([], 0.0)
    count: int = sums["requests"]
    return count


def test_sums_by_groups(store: UsageStore) -> None:
    store.add([row("a"), row("b", code=10110), row("c", app="other"), row("d", NOON - 100)])
    assert store.sums(["app"], NOON) == [
        {"app": "shop", "requests": 2, "errors": 1, "bytes_in": 20, "bytes_out": 40,
         "loader_s": 0.5, "units": {}},
        {"app": "other", "requests": 1, "errors": 0, "bytes_in": 10, "bytes_out": 20,
         "loader_s": 0.25, "units": {}},
    ]  # fmt: skip
    assert [row["requests"] for row in store.sums(["app", "code"], 0.0)] == [2, 1, 1]
    assert requests(store) == 4


def test_units_are_summed_once_and_deleted_with_their_rows(
    store: UsageStore, tmp_path: Path
) -> None:
    rows = [
        row("a")._replace(units={"tokens": 3}),
        row("b", app="other")._replace(units={"tokens": 4, "images": 1}),
        row("c", NOON - 100)._replace(units={"tokens": 100}),
    ]
    store.add(rows)
    store.add(rows)
    by_app = {sums["app"]: sums["units"] for sums in store.sums(["app"], NOON)}
    assert by_app == {"shop": {"tokens": 3}, "other": {"images": 1, "tokens": 4}}
    store.delete_before(NOON)
    (total,) = store.sums([], 0.0)
    assert total["units"] == {"images": 1, "tokens": 7}
    with sqlite3.connect(tmp_path / "usage.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM units").fetchone() == (3,)
    connection.close()


def test_file_of_before_there_were_units(store: UsageStore, tmp_path: Path) -> None:
    store.add([row("a")])
    with sqlite3.connect(tmp_path / "usage.sqlite") as connection:
        connection.execute("DROP TABLE units")
    connection.close()
    (total,) = store.sums([], 0.0)
    assert (total["requests"], total["units"]) == (1, {})
    store.create()
    store.add([row("b")._replace(units={"tokens": 1})])
    assert store.sums([], 0.0)[0]["units"] == {"tokens": 1}


def test_row_that_is_written_twice_counts_once(store: UsageStore) -> None:
    store.add([row("a"), row("b")])
    store.add([row("b"), row("c")])
    assert requests(store) == 3


def test_use_of_keys_in_day_and_month(store: UsageStore) -> None:
    yesterday, last_month = NOON - 86_400, NOON - 31 * 86_400
    store.add([row("a"), row("b", yesterday), row("c", last_month), row("d", key="k2")])
    store.add([row("e", key="")])
    assert store.used_by_key(NOON) == {"k1": (1, 2), "k2": (1, 1)}


def test_refused_requests_are_not_part_of_a_quota(store: UsageStore) -> None:
    codes = {"a": 0, "b": 10908, "c": 11200, "d": 11201, "e": 11202, "f": 11203}
    store.add([row(sid, code=code) for sid, code in codes.items()])
    assert store.used_by_key(NOON) == {"k1": (2, 2)}


def test_names_with_lone_surrogates_are_written(store: UsageStore) -> None:
    odd = record("a")
    odd.app_id = "shop\ud800"
    writer = UsageWriter(store, 1e9, lambda: NOON, interval=3600.0)
    writer.start()
    writer.add(odd)
    writer.stop()
    assert store.sums(["app"], 0.0)[0]["app"] == "shop?"


def test_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(UsageStoreError, match=r"usage\.sqlite: file is not a database"):
        open_writer(UsageOptions("usage.sqlite"), tmp_path, time.time)
    assert open_writer(UsageOptions(), tmp_path, time.time) == (None, {})


def test_writer_writes_what_it_got_before_it_stops(store: UsageStore) -> None:
    writer = UsageWriter(store, 1e9, lambda: NOON, interval=3600.0)
    writer.start()
    for number in range(1000):
        writer.add(record(str(number)))
    writer.add(record("page", service=""))  # pages are not billed
    writer.stop()
    assert requests(store) == 1000


def test_old_rows_are_deleted(store: UsageStore) -> None:
    store.add([row("old", NOON - 101.0), row("new", NOON - 99.0)])
    writer = UsageWriter(store, 100.0, lambda: NOON, interval=3600.0)
    writer.start()
    writer.stop()
    assert requests(store) == 1


class FailingStore(UsageStore):
    """A store whose disk is full for a while."""

    def __init__(self, path: Path, failures: int) -> None:
        super().__init__(path)
        self.failures = failures

    def add(self, rows: Sequence[UsageRow]) -> None:
        if self.failures:
            self.failures -= 1
            raise UsageStoreError("usage.sqlite: database or disk is full")
        super().add(rows)


def test_full_disk_is_said_once_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FailingStore(tmp_path / "usage.sqlite", 5)
    store.create()
    writer = UsageWriter(store, 1e9, lambda: NOON, interval=0.001)
    for number in range(10):
        writer.add(record(str(number)))
    writer.start()
    deadline = time.monotonic() + 30
    while store.failures and time.monotonic() < deadline:
        time.sleep(0.001)
    writer.stop()
    assert requests(store) == 10
    assert [r.message for r in caplog.records] == ["usage not written; it is tried again"]


def test_rows_beyond_the_bound_are_counted_as_lost(
    store: UsageStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    writer = UsageWriter(store, 1e9, lambda: NOON, interval=3600.0, max_pending=3)
    for number in range(5):
        writer.add(record(str(number)))
    writer.start()
    writer.stop()
    assert requests(store) == 3
    (lost,) = caplog.records
    assert (lost.message, lost.__dict__["rows"]) == ("rows of usage lost", 2)


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    stores = [UsageStore(tmp_path / "usage.sqlite") for _ in range(2)]
    for store in stores:
        store.create()
    writers = [UsageWriter(store, 1e9, lambda: NOON, interval=0.001) for store in stores]
    for index, writer in enumerate(writers):
        writer.start()
        for number in range(500):
            writer.add(record(f"{index}-{number}"))
    for writer in writers:
        writer.stop()
    with sqlite3.connect(tmp_path / "usage.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM usage").fetchone() == (1000,)
    connection.close()
