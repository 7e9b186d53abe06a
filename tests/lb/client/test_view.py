"""A view follows a hub by frames alone: joined to a follower with no network between them."""

from dataclasses import replace
from random import Random

import pytest

from lb.client.view import FrameGapError, HubView, ReportingViews
from lb.endpoints.lifecycle import EndpointEvent, StateChange
from lb.endpoints.report import Instance, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import TrafficRules
from lb.hub.subscriber import EncodedLoadCache, Subscriber
from schemas.wire import Frame

INSTANCE = Instance("ase", "ocr", "a:1", 7, "xsf", "d" * 64, 4, 3, max_batch=3)


class HubGatewayPair:
    """A hub's table and a gateway's, joined by serialised frames."""

    def __init__(self) -> None:
        self.hub_table = EndpointTable()
        self.gateway_table = EndpointTable(silence_timeout=None)
        self.view = HubView(self.gateway_table, "g")
        self.subscriber = Subscriber("g", (), [])
        self.load_cache = EncodedLoadCache()
        self.documents = {"d" * 64: b"{}"}

    def report(self, report: Report, now: float = 0.0) -> None:
        for change in self.hub_table.apply(report, now):
            if change.after.value == "gone":
                self.mark_removed(change)
        self.mark_changed(report.instance)

    def mark_changed(self, instance: Instance) -> None:
        self.load_cache.invalidate(instance.key)
        self.subscriber.mark_changed([instance])

    def mark_removed(self, change: StateChange) -> None:
        self.subscriber.mark_removed(change, self.load_cache.remove(change.instance.key))

    def next_frame(self) -> Frame:
        data = self.subscriber.next_frame(self.hub_table, self.load_cache, self.documents, 1, 0.0)
        return Frame.FromString(data)

    def transfer(self, now: float = 0.0) -> list[str]:
        return [
            f"{c.after.value} {c.reason.value}" for c in self.view.apply(self.next_frame(), now)
        ]

    def reconnect(self) -> None:
        self.view.expect_snapshot()
        self.subscriber = Subscriber("g", (), self.hub_table)


def test_gateway_table_mirrors_the_hub() -> None:
    pair = HubGatewayPair()
    pair.report(
        Report(
            INSTANCE,
            Load(
                1,
                running=2,
                queued=1,
                service_ms=12.5,
                requests_by_gateway={"g": 2, "h": 1},
                batch_base_ms=10.5,
                batch_item_ms=0.25,
            ),
        )
    )
    assert pair.transfer() == ["up reported"]
    endpoint = pair.gateway_table.get(INSTANCE.key)
    assert endpoint is not None
    assert endpoint.instance == INSTANCE
    assert endpoint.load == Load(
        1,
        ServingState.UP,
        2,
        1,
        12.5,
        requests_by_gateway={"g": 2},
        batch_base_ms=10.5,
        batch_item_ms=0.25,
    )
    assert pair.view.documents == pair.documents


def test_suspects_and_removals_are_transferred() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(1)))
    pair.transfer()
    pair.hub_table.mark_lost(INSTANCE.key, 7, EndpointEvent.STREAM_LOST, 1.0)
    pair.mark_changed(INSTANCE)
    assert pair.transfer() == ["suspect stream_lost"]
    for change in pair.hub_table.mark_lost(INSTANCE.key, 7, EndpointEvent.EXPIRED, 2.0):
        pair.mark_removed(change)
    assert pair.transfer() == ["gone expired"]
    assert len(pair.gateway_table) == 0


def test_missing_frame_raises_frame_gap() -> None:
    pair = HubGatewayPair()
    pair.transfer()
    pair.next_frame()
    with pytest.raises(FrameGapError):
        pair.transfer()


def test_first_frame_must_be_a_snapshot() -> None:
    pair = HubGatewayPair()
    pair.transfer()
    pair.view.expect_snapshot()
    with pytest.raises(FrameGapError):
        pair.transfer()


def test_empty_new_hub_makes_suspects_and_removes_nothing() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(5)))
    pair.transfer()
    pair.hub_table = EndpointTable()
    pair.reconnect()
    assert pair.transfer(10.0) == ["suspect hub_forgot"]
    assert pair.gateway_table.expire(12.9) == []
    pair.report(Report(INSTANCE, Load(6)))
    assert pair.transfer(13.0) == ["up reported"], "the loader has found the new hub"


def test_a_reconnect_to_the_same_hub_changes_nothing() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(5)))
    pair.transfer()
    pair.reconnect()
    assert pair.transfer() == []


def test_snapshot_does_not_affect_static_instances() -> None:
    pair = HubGatewayPair()
    pair.gateway_table.add_static(Instance("ase", "ocr", "s:1"), 0.0)
    assert pair.transfer() == []
    assert len(pair.gateway_table) == 1


def test_random_histories_converge() -> None:
    rng = Random(5)
    pair = HubGatewayPair()
    fleet = [Instance("ase", "ocr", f"a:{n}", 7, total=4) for n in range(1, 6)]
    seq = dict.fromkeys(fleet, 0)
    for _ in range(2000):
        instance = rng.choice(fleet)
        seq[instance] += 1
        serving_state = ServingState.DOWN if rng.random() < 0.1 else ServingState.UP
        pair.report(Report(instance, Load(seq[instance], serving_state, running=rng.randrange(5))))
        if rng.random() < 0.3:
            pair.transfer()
        if rng.random() < 0.02:
            pair.reconnect()
            pair.transfer()
    pair.transfer()
    table_states = [
        {e.instance: (e.state, e.load.seq, e.load.running) for e in table}
        for table in (pair.hub_table, pair.gateway_table)
    ]
    assert table_states[0] == table_states[1]


def test_instance_removed_and_re_added_within_a_frame_is_present() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(1)))
    pair.transfer()
    for change in pair.hub_table.remove(INSTANCE.key, 7, EndpointEvent.EXPIRED):
        pair.mark_removed(change)
    pair.report(Report(INSTANCE, Load(2)))
    assert pair.transfer() == ["gone expired", "up reported"]
    assert pair.view.documents == pair.documents


def test_document_is_dropped_with_its_last_instance_and_sent_again() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(1)))
    pair.transfer()
    assert pair.view.documents == pair.documents
    for change in pair.hub_table.remove(INSTANCE.key, 7, EndpointEvent.REPORTED_DOWN):
        pair.mark_removed(change)
    pair.transfer()
    assert pair.view.documents == {}
    restarted = Instance("ase", "ocr", "a:1", 8, digest="d" * 64, total=4)
    pair.report(Report(restarted, Load(1)))
    pair.transfer()
    assert pair.view.documents == pair.documents


def test_unknown_removal_reason_is_read_as_down() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(1)))
    pair.transfer()
    for change in pair.hub_table.remove(INSTANCE.key, 7, EndpointEvent.REPORTED_DOWN):
        pair.mark_removed(change)
    frame = pair.next_frame()
    frame.gone[0].reason = "abducted"
    (change,) = pair.view.apply(frame, 0.0)
    assert change.reason is EndpointEvent.REPORTED_DOWN


@pytest.mark.parametrize(
    "event", [EndpointEvent.SILENT, EndpointEvent.STREAM_LOST], ids=lambda e: e.value
)
def test_reason_of_suspicion_is_transferred(event: EndpointEvent) -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(1)))
    pair.transfer()
    pair.hub_table.mark_lost(INSTANCE.key, 7, event, 1.0)
    pair.mark_changed(INSTANCE)
    assert pair.transfer() == [f"suspect {event.value}"]


def test_missing_gateway_counts_and_report_mode_are_transferred() -> None:
    pair = HubGatewayPair()
    periodic = Instance("ase", "ocr", "a:1", 7, total=4, report_mode=ReportMode.PERIODIC)
    pair.report(Report(periodic, Load(1, running=2)))
    pair.transfer()
    endpoint = pair.gateway_table.get(periodic.key)
    assert endpoint is not None
    assert (endpoint.load.requests_by_gateway, endpoint.instance.report_mode) == (
        None,
        ReportMode.PERIODIC,
    )


def test_reported_load_is_discarded_without_the_hub() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(1, running=2, requests_by_gateway={"h": 2})))
    pair.transfer()
    endpoint = pair.gateway_table.get(INSTANCE.key)
    assert endpoint is not None
    assert endpoint.outstanding() == 2
    pair.view.mark_hub_lost()
    assert (endpoint.outstanding(), endpoint.state.value) == (0, "up")


class GatewayWithTwoHubs:
    """One gateway that follows two hubs; a loader that reports to both."""

    def __init__(self) -> None:
        self.table = EndpointTable(silence_timeout=None)
        reporting_views: ReportingViews = {}
        self.pairs = [HubGatewayPair(), HubGatewayPair()]
        for pair in self.pairs:
            pair.gateway_table, pair.view = self.table, HubView(self.table, "g", reporting_views)

    def report(self, seq: int, *hubs: int) -> None:
        for hub in hubs:
            self.pairs[hub].report(Report(INSTANCE, Load(seq, running=seq)))
            self.pairs[hub].transfer()

    def mark_lost(self, hub: int, event: EndpointEvent = EndpointEvent.STREAM_LOST) -> list[str]:
        pair = self.pairs[hub]
        pair.hub_table.mark_lost(INSTANCE.key, 7, event, 1.0)
        pair.mark_changed(INSTANCE)
        return pair.transfer(1.0)

    def expire(self, hub: int) -> list[str]:
        pair = self.pairs[hub]
        for change in pair.hub_table.mark_lost(INSTANCE.key, 7, EndpointEvent.EXPIRED, 9.0):
            pair.mark_removed(change)
        return pair.transfer(9.0)

    @property
    def endpoint_state(self) -> tuple[str, int]:
        endpoint = self.table.get(INSTANCE.key)
        return (endpoint.state.value, endpoint.load.seq) if endpoint is not None else ("none", 0)


def test_latest_load_of_two_hubs_counts() -> None:
    gateway = GatewayWithTwoHubs()
    gateway.report(5, 0)
    gateway.report(4, 1)
    assert gateway.endpoint_state == ("up", 5)
    gateway.report(6, 1)
    assert gateway.endpoint_state == ("up", 6)


def test_endpoint_stays_up_while_another_hub_reports_it() -> None:
    gateway = GatewayWithTwoHubs()
    gateway.report(1, 0, 1)
    assert gateway.mark_lost(0) == []
    assert gateway.expire(0) == []
    assert gateway.endpoint_state == ("up", 1)
    gateway.report(2, 1)
    assert gateway.endpoint_state == ("up", 2)
    assert gateway.mark_lost(1) == ["suspect stream_lost"]
    assert gateway.expire(1) == ["gone expired"]


def test_down_report_to_one_hub_removes_the_endpoint() -> None:
    gateway = GatewayWithTwoHubs()
    gateway.report(1, 0, 1)
    pair = gateway.pairs[0]
    pair.report(Report(INSTANCE, Load(2, ServingState.DOWN)))
    assert pair.transfer() == ["gone left"]


def test_load_is_kept_while_one_hub_remains() -> None:
    gateway = GatewayWithTwoHubs()
    gateway.report(3, 0, 1)
    endpoint = gateway.table.get(INSTANCE.key)
    assert endpoint is not None
    gateway.pairs[0].view.mark_hub_lost()
    assert endpoint.outstanding() == 3
    gateway.pairs[1].view.mark_hub_lost()
    assert endpoint.outstanding() == 0


def test_restarted_empty_hub_makes_no_suspects_of_the_other_hub() -> None:
    gateway = GatewayWithTwoHubs()
    gateway.report(3, 0, 1)
    gateway.pairs[0].view.mark_hub_lost()
    gateway.pairs[0].hub_table = EndpointTable()
    gateway.pairs[0].reconnect()
    assert gateway.pairs[0].transfer() == []
    assert gateway.endpoint_state == ("up", 3)


def test_traffic_rules_reach_the_gateway_once_and_outlive_the_hub() -> None:
    pair = HubGatewayPair()
    pair.report(Report(replace(INSTANCE, version="v2"), Load(1)))
    pair.hub_table.set_traffic(TrafficRules("deployer", 4, {"v2": 0.5}))
    pair.transfer()
    endpoint = pair.gateway_table.get(INSTANCE.key)
    assert endpoint is not None
    assert endpoint.instance.version == "v2"
    assert pair.gateway_table.traffic.shares == {"v2": 0.5}
    pair.hub_table.set_traffic(TrafficRules("deployer", 5, {}))
    assert not pair.next_frame().traffic  # nobody has told the subscriber
    pair.reconnect()
    pair.transfer()
    assert pair.gateway_table.traffic.shares == {}
    pair.gateway_table.set_traffic(TrafficRules("deployer", 6, {"v3": 0.0}))
    pair.reconnect()
    pair.transfer()  # of a hub that knows older rules
    assert pair.gateway_table.traffic.shares == {"v3": 0.0}


def test_rules_that_cannot_be_read_do_not_stop_the_view() -> None:
    pair = HubGatewayPair()
    pair.report(Report(INSTANCE, Load(1)))
    frame = pair.next_frame()
    frame.traffic.add(owner="", revision=1)
    pair.view.apply(frame, 0.0)
    assert pair.gateway_table.get(INSTANCE.key) is not None
