"""The sums of memory as metrics, and one line a second about clients that were disconnected."""

from prometheus_client import CollectorRegistry

from gateway.http.memory_limits import BodyBudget, UnreadOutput
from gateway.telemetry.memory_metrics import CutLog, MemoryMetrics
from rpc.server_memory import ServerMemory
from tests.gateway.http.test_memory_limits import Buffer, Holder


def test_sums_and_counts_are_scraped() -> None:
    registry = CollectorRegistry()
    unread, budget = UnreadOutput(100, lambda _: None), BodyBudget(50)
    grpc_memory = ServerMemory(1000, 1000)
    connection = grpc_memory.add_connection(lambda: None)
    MemoryMetrics(registry, unread, budget, grpc_memory)
    connection.add_received(7)
    connection.add_unsent(9)
    grpc_memory.add_connection(lambda: None).add_unsent(1000)
    unread.count(Buffer(60))
    unread.count(Buffer(70))
    budget.hold(Holder(), 40)
    budget.hold(Holder(), 11)
    expected = {
        "ase_unread_bytes": 70,
        "ase_unread_cuts_total": 1,
        "ase_body_bytes": 51,
        "ase_body_rejections_total": 1,
        "ase_grpc_request_bytes": 7,
        "ase_grpc_unread_bytes": 9,
        "ase_grpc_cuts_total": 1,
    }
    assert {name: registry.get_sample_value(name) for name in expected} == expected


def test_cuts_are_logged_once_a_second() -> None:
    now, lines = 5.0, []
    log = CutLog(lambda *line: lines.append(line), lambda: now)
    for _ in range(3):
        log.add(10)
    assert lines == [(1, 10)]
    now = 6.0
    log.add(7)
    assert lines == [(1, 10), (3, 27)]
