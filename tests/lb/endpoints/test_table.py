"""The table of instances: each move, stale reports, epochs, expiry, and the exact correction."""

from dataclasses import replace

import pytest

from lb.endpoints.lifecycle import TRANSITIONS, EndpointEvent, EndpointState, StateChange
from lb.endpoints.report import Instance, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import LINGER_S, TrafficRules

INSTANCE = Instance("ase", "ocr", "a:1", 7, total=4)


def make_report(
    seq: int,
    serving_state: ServingState = ServingState.UP,
    instance: Instance = INSTANCE,
    running: int = 0,
) -> Report:
    return Report(instance, Load(seq, serving_state, running=running))


def transitions(changes: list[StateChange]) -> list[tuple[str, str, str]]:
    return [(c.before.value, c.after.value, c.reason.value) for c in changes]


def endpoint_state(table: EndpointTable) -> str:
    endpoint = table.get(INSTANCE.key)
    return endpoint.state.value if endpoint else "none"


def test_endpoint_lifecycle() -> None:
    table = EndpointTable(silence_timeout=1.5, ttl=3.0)
    assert transitions(table.apply(make_report(1), 0.0)) == [("gone", "up", "reported")]
    assert table.apply(make_report(2), 1.0) == []
    assert table.expire(2.4) == []
    assert transitions(table.expire(2.6)) == [("up", "suspect", "silent")]
    assert transitions(table.apply(make_report(3), 2.7)) == [("suspect", "up", "reported")]
    assert transitions(table.apply(make_report(4, ServingState.DRAINING), 3.0)) == [
        ("up", "draining", "draining")
    ]
    assert transitions(table.apply(make_report(5, ServingState.DOWN), 3.1)) == [
        ("draining", "gone", "left")
    ]
    assert len(table) == 0
    assert table.endpoints_of("ocr") == []


def test_broken_stream_makes_suspect_at_once_and_gone_after_ttl() -> None:
    table = EndpointTable(silence_timeout=1.5, ttl=3.0)
    table.apply(make_report(1), 0.0)
    assert transitions(table.mark_lost(INSTANCE.key, 7, EndpointEvent.STREAM_LOST, 1.0)) == [
        ("up", "suspect", "stream_lost")
    ]
    assert table.expire(3.9) == []
    assert transitions(table.expire(4.1)) == [("suspect", "gone", "expired")]


def test_lost_draining_endpoint_is_removed() -> None:
    table = EndpointTable()
    table.apply(make_report(1, ServingState.DRAINING), 0.0)
    changes = table.mark_lost(INSTANCE.key, 7, EndpointEvent.STREAM_LOST, 1.0)
    assert transitions(changes) == [("draining", "gone", "stream_lost")]


def test_first_report_of_down_adds_nothing() -> None:
    """The original resurrected a node by its farewell."""
    table = EndpointTable()
    assert table.apply(make_report(1, ServingState.DOWN), 0.0) == []
    assert len(table) == 0


def test_a_stale_report_changes_nothing() -> None:
    table = EndpointTable()
    table.apply(make_report(5, running=3), 0.0)
    assert table.apply(make_report(5, ServingState.DOWN), 1.0) == []
    assert table.apply(make_report(4, running=1), 1.0) == []
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    assert (endpoint.load.running, endpoint.last_report_at) == (3, 0.0)


def test_a_new_epoch_is_a_new_process() -> None:
    table = EndpointTable()
    table.apply(make_report(9), 0.0)
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    endpoint.inflight = 5
    restarted = Instance("ase", "ocr", "a:1", 8, total=4)
    assert transitions(table.apply(make_report(1, instance=restarted), 1.0)) == [
        ("up", "gone", "replaced"),
        ("gone", "up", "reported"),
    ]
    new_endpoint = table.get(INSTANCE.key)
    assert new_endpoint is not None
    assert (new_endpoint.picks, new_endpoint.inflight) == (0, 0)
    assert table.mark_lost(INSTANCE.key, 7, EndpointEvent.STREAM_LOST, 2.0) == [], (
        "the old stream's end is old news"
    )


def test_a_static_instance_never_expires() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=1.0)
    table.add_static(Instance("ase", "ocr", "s:1"), 0.0)
    assert table.expire(1e6) == []
    assert len(table.endpoints_of("ocr")) == 1


def test_no_silence_timeout_when_following_a_hub() -> None:
    table = EndpointTable(silence_timeout=None, ttl=3.0)
    table.apply(make_report(1), 0.0)
    assert table.expire(1e6) == []
    table.mark_lost(INSTANCE.key, 7, EndpointEvent.HUB_FORGOT, 1e6)
    assert table.expire(1e6 + 2.9) == [], "the ttl runs from the suspicion, not the last report"
    assert transitions(table.expire(1e6 + 3.1)) == [("suspect", "gone", "expired")]


@pytest.mark.parametrize(
    "before",
    [EndpointState.UP, EndpointState.DRAINING, EndpointState.SUSPECT],
    ids=lambda s: s.value,
)
@pytest.mark.parametrize("event", list(EndpointEvent), ids=lambda e: e.value)
def test_every_transition_is_in_the_table_or_ignored(
    before: EndpointState, event: EndpointEvent
) -> None:
    table = EndpointTable()
    table.apply(make_report(1), 0.0)
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    endpoint.state = before
    after = TRANSITIONS.get((before, event), before)
    changes = table.mark_lost(INSTANCE.key, 7, event, 1.0)
    assert endpoint_state(table) == ("none" if after is EndpointState.GONE else after.value)
    assert len(changes) == (after is not before)


def test_last_served_at_changes_when_served_count_grows() -> None:
    table = EndpointTable()
    for seq, served, now, last_served_at in (
        (1, 5, 1.0, 0.0),
        (2, 5, 2.0, 0.0),
        (3, 6, 3.0, 3.0),
        (4, 6, 4.0, 3.0),
    ):
        table.apply(Report(INSTANCE, Load(seq, served=served)), now)
        endpoint = table.get(INSTANCE.key)
        assert endpoint is not None
        assert endpoint.last_served_at == last_served_at


def test_returning_endpoint_of_same_epoch_keeps_inflight() -> None:
    table = EndpointTable("g", silence_timeout=1.0, ttl=1.0)
    table.apply(make_report(1), 0.0)
    table.expire(2.0)
    assert endpoint_state(table) == "suspect", "not gone in one go, however late we look"
    table.expire(2.1)
    assert endpoint_state(table) == "none"
    table.apply(Report(INSTANCE, Load(2, running=3, requests_by_gateway={"g": 2, "other": 1})), 5.0)
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    assert (endpoint.remote_load, endpoint.abandoned, endpoint.outstanding()) == (1, 2, 3)
    table.apply(Report(INSTANCE, Load(3, running=1, requests_by_gateway={"other": 1})), 6.0)
    assert endpoint.outstanding() == 1


def test_reports_do_not_change_static_endpoints() -> None:
    table = EndpointTable()
    table.add_static(Instance("ase", "ocr", "a:1"), 0.0)
    assert table.apply(make_report(1), 1.0) == []
    assert table.apply(make_report(2, ServingState.DOWN), 2.0) == []
    assert len(table) == 1


def test_periodic_reporter_is_silent_after_half_the_ttl() -> None:
    table = EndpointTable(silence_timeout=0.15, ttl=3.0)
    periodic = Instance("ase", "ocr", "a:1", 7, total=4, report_mode=ReportMode.PERIODIC)
    table.apply(make_report(1, instance=periodic), 0.0)
    assert table.expire(1.4) == []
    assert transitions(table.expire(1.6)) == [("up", "suspect", "silent")]
    assert table.expire(2.9) == []
    assert transitions(table.expire(3.1)) == [("suspect", "gone", "expired")], (
        "3 s after its last word"
    )


def test_silent_endpoint_gets_at_least_median_load() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=9.0)
    for index, running in enumerate((0, 3, 5), 1):
        instance = Instance("ase", "ocr", f"a:{index}", 7, total=4)
        table.apply(
            make_report(1, instance=instance, running=running), 0.0 if running == 0 else 5.0
        )
    table.expire(5.0)
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    assert (endpoint.state, endpoint.remote_load) == (EndpointState.SUSPECT, 3)


def test_pool_is_rebuilt_when_membership_changes() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=9.0)
    other = Instance("ase", "ocr", "a:2", 7, total=4)
    table.apply(make_report(1), 0.0)
    first_pool = table.pool("ocr", "")
    assert table.pool("ocr", "") is first_pool
    table.apply(make_report(2, running=3), 0.1)
    assert table.pool("ocr", "") is first_pool, "a report alone changes nobody's place"
    table.apply(make_report(1, instance=other), 0.2)
    second_pool = table.pool("ocr", "")
    assert [endpoint.instance.addr for endpoint in second_pool.members] == ["a:1", "a:2"]
    table.apply(make_report(2, ServingState.DRAINING, instance=other), 0.3)
    assert len(table.pool("ocr", "").members) == 1
    table.apply(make_report(3, ServingState.DOWN, instance=other), 0.4)
    table.apply(make_report(3, ServingState.DOWN), 0.5)
    assert table.pool("ocr", "").members == []
    assert first_pool.members == second_pool.members == [], "an old pool holds nobody"


def test_fleet_medians_are_recomputed_over_time() -> None:
    table = EndpointTable(silence_timeout=None)
    for index in range(1, 4):
        instance = Instance("ase", "ocr", f"a:{index}", 7, total=4)
        table.apply(Report(instance, Load(1)), 0.0)
        table.apply(Report(instance, Load(2, service_ms=10.0 * index, served=50)), 0.1)
    table.expire(1.0)
    assert [round(endpoint.service_ms) for endpoint in table] == [10, 20, 30]
    newcomer = Instance("ase", "ocr", "a:9", 7, total=4)
    table.apply(Report(newcomer, Load(1)), 1.0)
    endpoint = table.get(newcomer.key)
    assert endpoint is not None
    assert endpoint.service_ms == 20.0, "of a newcomer the fleet's is thought"


def test_static_load_is_applied_and_discarded() -> None:
    table = EndpointTable()
    instance = Instance("ase", "ocr", "s:1", total=4, best=4)
    table.add_static(instance, 0.0)
    (endpoint,) = table
    table.apply_static_load(instance, Load(1, running=3), 1.0)
    assert (endpoint.outstanding(), endpoint.report_mode, endpoint.instance.report_mode) == (
        3,
        ReportMode.PERIODIC,
        ReportMode.NONE,
    )
    table.apply_static_load(instance, Load(1, running=0), 2.0)
    assert endpoint.outstanding() == 3, "a stale one"
    table.discard_reported_load(instance.key)
    assert (endpoint.outstanding(), endpoint.report_mode) == (0, ReportMode.NONE)
    assert table.expire(1e6) == [], "it stays"


def test_only_own_counts_remain_without_the_hub() -> None:
    table = EndpointTable("g", silence_timeout=None)
    table.apply(Report(INSTANCE, Load(1)), 0.0)
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    endpoint.inflight, endpoint.abandoned = 1, 1
    table.apply(Report(INSTANCE, Load(2, running=5, requests_by_gateway={"g": 2})), 0.0)
    assert endpoint.outstanding() == 5
    table.discard_reported_load(INSTANCE.key)
    assert (endpoint.outstanding(), endpoint.report_mode) == (1, ReportMode.NONE)
    table.apply(Report(INSTANCE, Load(3, running=4, requests_by_gateway={"g": 1})), 1.0)
    assert (endpoint.outstanding(), endpoint.report_mode) == (4, ReportMode.ON_CHANGE)


def test_stale_report_of_old_epoch_is_ignored() -> None:
    """A hub that lags still tells of the life before: it must not come back over the living one."""
    table = EndpointTable(silence_timeout=None)
    restarted = Instance("ase", "ocr", "a:1", 8, total=4)
    table.apply(make_report(5), 0.0)
    table.apply(make_report(1, instance=restarted), 1.0)
    assert table.apply(make_report(6), 2.0) == []
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    assert endpoint.instance.epoch == 8
    table.mark_lost(INSTANCE.key, 8, EndpointEvent.STREAM_LOST, 3.0)
    assert table.apply(make_report(7), 4.0), "where nobody knows better, it may come back"


def test_own_stall_makes_no_endpoint_suspect() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=3.0)
    table.apply(make_report(1), 0.0)
    table.compensate_stall(10.0, 10.4)
    assert table.expire(10.5) == []
    table.compensate_stall(0.05, 11.1)
    assert transitions(table.expire(11.2)) == [("up", "suspect", "silent")]


def test_report_that_arrived_at_the_end_of_a_stall_is_not_from_the_future() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=3.0)
    table.apply(make_report(1), 9.9)
    table.compensate_stall(10.0, 10.0)
    endpoint = table.get(INSTANCE.key)
    assert endpoint is not None
    assert endpoint.last_report_at == 10.0


def suspect_after(gaps: list[float], *, running: int = 1) -> float:
    """Return the silence after which an endpoint with such reports is suspect, in seconds."""
    table = EndpointTable(silence_timeout=0.15, ttl=30.0)
    now = 100.0
    table.apply(make_report(1, running=running), now)
    for number, gap in enumerate(gaps, 2):
        for step in range(1, int(gap / 0.02)):
            assert table.expire(now + step * 0.02) == [], f"falsely, within {gap} s"
        now += gap
        table.apply(make_report(number, running=running), now)
    for step in range(1, 200):
        if table.expire(now + step * 0.01):
            return step * 0.01
    raise AssertionError("never")


@pytest.mark.parametrize(
    ("gaps", "seconds"),
    [
        ([], 0.31),  # new: nothing is known
        ([0.05] * 6000, 0.16),  # five quiet minutes
        ([0.05] * 100 + [0.29] + [0.05] * 20, 0.87),  # one hiccup is remembered
        ([0.05] * 100 + [0.29] + [0.05] * 12_000, 0.16),  # and forgotten
        ([0.05, 0.28, 0.6, 0.9, 0.95] * 10, 1.01),  # a very busy machine: at most a second
    ],
)
def test_silence_is_judged_by_the_gaps_between_reports(gaps: list[float], seconds: float) -> None:
    assert suspect_after(gaps) == pytest.approx(seconds, abs=0.011)


@pytest.mark.parametrize(
    ("gaps", "seconds"),
    [
        ([], 0.76),
        ([0.05] * 6000, 0.61),  # of an older loader
        ([0.2] * 1500, 0.61),
        ([0.2] * 100 + [0.4], 1.01),
    ],
)
def test_loader_without_requests_may_be_silent_for_longer(
    gaps: list[float], seconds: float
) -> None:
    assert suspect_after(gaps, running=0) == pytest.approx(seconds, abs=0.011)


def test_loader_that_gets_requests_is_judged_as_before() -> None:
    """Its longer gaps without requests do not count then."""
    table = EndpointTable(silence_timeout=0.15, ttl=30.0)
    now = 0.0
    for number in range(1, 2000):
        table.apply(make_report(number), now)
        now += 0.2
    table.apply(make_report(2000, running=1), now)
    assert table.expire(now + 0.14) == []
    assert transitions(table.expire(now + 0.17)) == [("up", "suspect", "silent")]


def test_irregular_reports_of_half_an_hour_make_no_false_suspect() -> None:
    """As on a laptop at load 4: mostly 50 ms, some 100, a few 250."""
    gaps = [0.25 if n % 701 == 700 else 0.1 if n % 13 == 12 else 0.05 for n in range(30_000)]
    assert suspect_after(gaps) < 0.8


def test_longer_keepalive_raises_timeouts() -> None:
    table = EndpointTable(silence_timeout=0.15, ttl=3.0)
    table.raise_timeouts(1.0)
    table.apply(make_report(1), 0.0)
    assert table.expire(2.9) == []
    assert transitions(table.expire(3.1)) == [("up", "suspect", "silent")]
    assert table.expire(5.9) == []
    assert transitions(table.expire(6.1)) == [("suspect", "gone", "expired")]


def test_extreme_service_time_does_not_affect_others() -> None:
    table = EndpointTable()
    for index, service_ms in ((1, 5e-324), (2, 20.0)):
        instance = Instance("ase", "ocr", f"a:{index}", 7, total=4)
        table.apply(Report(instance, Load(1)), 0.0)
        table.apply(Report(instance, Load(2, service_ms=service_ms, served=99)), 0.1)
    table.expire(0.5)
    assert all(1 <= endpoint.load_weight <= 64 for endpoint in table)


def test_first_reported_service_time_sets_the_median() -> None:
    """Measured by a default, equals whose times differ by a breath would not be equals."""
    table = EndpointTable()
    addrs = ("a:1", "b:1")
    for addr in addrs:
        table.apply(Report(Instance("ase", "ocr", addr, 7, total=4, best=4), Load(1)), 0.0)
    for addr, service_ms in zip(addrs, (0.08, 0.06), strict=True):
        instance = Instance("ase", "ocr", addr, 7, total=4, best=4)
        table.apply(Report(instance, Load(2, service_ms=service_ms, served=40)), 0.01)
    assert {endpoint.service_ms for endpoint in table} == {0.06}


def test_single_slow_request_is_soon_outweighed() -> None:
    table = EndpointTable()
    instances = [Instance("ase", "ocr", addr, 7, total=4, best=4) for addr in ("a:1", "b:1")]
    for instance in instances:
        table.apply(Report(instance, Load(1)), 0.0)
    table.apply(Report(instances[0], Load(2, service_ms=0.9, served=1)), 0.01)
    for seq in range(3, 6):
        for instance, service_ms in zip(instances, (0.12, 0.08), strict=True):
            load = Load(seq, service_ms=service_ms, served=10 * seq)
            table.apply(Report(instance, load), 0.02)
    assert {endpoint.service_ms for endpoint in table} == {0.08}


def test_version_that_is_held_back_is_admitted_if_no_other_one_may_serve() -> None:
    table = EndpointTable()
    old, new = (replace(INSTANCE, addr=f"{v}:1", version=v) for v in ("v1", "v2"))
    for instance in (old, new):
        table.apply(make_report(1, instance=instance), 0.0)
    table.set_traffic(TrafficRules("d", 1, {"v2": 0.0}))

    def admitted() -> list[str]:
        up = table.admitted("ocr", lambda endpoint: endpoint.state is EndpointState.UP)
        return [endpoint.instance.version for endpoint in up]

    assert admitted() == ["v1"]
    table.apply(make_report(2, ServingState.DRAINING, old), 0.0)
    assert admitted() == ["v2"]


def test_rules_that_end_change_the_pools() -> None:
    table = EndpointTable()
    table.apply(make_report(1, instance=replace(INSTANCE, version="v2")), 0.0)
    table.apply(make_report(1, instance=replace(INSTANCE, addr="b:1")), 0.0)
    changes: list[int] = []
    table.on_traffic(lambda: changes.append(1))
    table.update_traffic("hub", [TrafficRules("d", 1, {"v2": 0.0})], 0.0, is_all=True)
    assert len(table.pool("ocr", "").groups) == 1
    table.update_traffic("hub", [], 1.0, is_all=True)
    table.expire(2.0)
    assert len(table.pool("ocr", "").groups) == 1
    table.expire(1.0 + LINGER_S)
    assert table.pool("ocr", "").groups == []
    assert len(changes) == 2
