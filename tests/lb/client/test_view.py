"""A view follows a hub by frames alone: joined to a follower with no network between them."""

from random import Random

import pytest

from lb.client.view import FrameGapError, HubView, ReportingViews
from lb.endpoints.lifecycle import EndpointEvent, StateChange
from lb.endpoints.report import Instance, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable
from lb.hub.subscriber import EncodedLoadCache, Subscriber
from schemas.wire import Frame

ONE = Instance("ase", "ocr", "a:1", 7, "xsf", "d" * 64, 4, 3)


class Pair:
    """A hub's table and a gateway's, joined by serialised frames."""

    def __init__(self) -> None:
        self.hub = EndpointTable()
        self.here = EndpointTable(silence_timeout=None)
        self.view = HubView(self.here, "g")
        self.follower = Subscriber("g", (), [])
        self.figures = EncodedLoadCache()
        self.documents = {"d" * 64: b"{}"}

    def report(self, report: Report, now: float = 0.0) -> None:
        for change in self.hub.apply(report, now):
            if change.after.value == "gone":
                self.left(change)
        self.touched(report.instance)

    def touched(self, instance: Instance) -> None:
        self.figures.invalidate(instance.key)
        self.follower.mark_changed([instance])

    def left(self, change: StateChange) -> None:
        self.follower.mark_removed(change, self.figures.remove(change.instance.key))

    def frame(self) -> Frame:
        taken = self.follower.next_frame(self.hub, self.figures, self.documents, 1, 0.0)
        return Frame.FromString(taken)

    def flow(self, now: float = 0.0) -> list[str]:
        return [f"{c.after.value} {c.reason.value}" for c in self.view.apply(self.frame(), now)]

    def again(self) -> None:
        self.view.expect_snapshot()
        self.follower = Subscriber("g", (), self.hub)


def test_what_the_hub_knows_the_gateway_knows() -> None:
    pair = Pair()
    pair.report(
        Report(
            ONE, Load(1, running=2, queued=1, service_ms=12.5, requests_by_gateway={"g": 2, "h": 1})
        )
    )
    assert pair.flow() == ["up reported"]
    entry = pair.here.get(ONE.key)
    assert entry is not None
    assert entry.instance == ONE
    assert entry.load == Load(1, ServingState.UP, 2, 1, 12.5, requests_by_gateway={"g": 2})
    assert pair.view.documents == pair.documents


def test_suspects_and_departures_come_through() -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(1)))
    pair.flow()
    pair.hub.mark_lost(ONE.key, 7, EndpointEvent.STREAM_LOST, 1.0)
    pair.touched(ONE)
    assert pair.flow() == ["suspect stream_lost"]
    for change in pair.hub.mark_lost(ONE.key, 7, EndpointEvent.EXPIRED, 2.0):
        pair.left(change)
    assert pair.flow() == ["gone expired"]
    assert len(pair.here) == 0


def test_a_missing_frame_is_a_gap() -> None:
    pair = Pair()
    pair.flow()
    pair.frame()
    with pytest.raises(FrameGapError):
        pair.flow()


def test_a_frame_that_is_no_snapshot_cannot_begin() -> None:
    pair = Pair()
    pair.flow()
    pair.view.expect_snapshot()
    with pytest.raises(FrameGapError):
        pair.flow()


def test_a_new_hub_that_knows_nobody_makes_suspects_not_holes() -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(5)))
    pair.flow()
    pair.hub = EndpointTable()
    pair.again()
    assert pair.flow(10.0) == ["suspect hub_forgot"]
    assert pair.here.expire(12.9) == []
    pair.report(Report(ONE, Load(6)))
    assert pair.flow(13.0) == ["up reported"], "the loader has found the new hub"


def test_a_reconnect_to_the_same_hub_changes_nothing() -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(5)))
    pair.flow()
    pair.again()
    assert pair.flow() == []


def test_static_instances_are_not_the_hub_s_to_forget() -> None:
    pair = Pair()
    pair.here.add_static(Instance("ase", "ocr", "s:1"), 0.0)
    assert pair.flow() == []
    assert len(pair.here) == 1


def test_random_histories_end_alike() -> None:
    rng = Random(5)
    pair = Pair()
    fleet = [Instance("ase", "ocr", f"a:{n}", 7, total=4) for n in range(1, 6)]
    seq = dict.fromkeys(fleet, 0)
    for _ in range(2000):
        instance = rng.choice(fleet)
        seq[instance] += 1
        live = ServingState.DOWN if rng.random() < 0.1 else ServingState.UP
        pair.report(Report(instance, Load(seq[instance], live, running=rng.randrange(5))))
        if rng.random() < 0.3:
            pair.flow()
        if rng.random() < 0.02:
            pair.again()
            pair.flow()
    pair.flow()
    shown = [
        {e.instance: (e.state, e.load.seq, e.load.running) for e in table}
        for table in (pair.hub, pair.here)
    ]
    assert shown[0] == shown[1]


def test_one_that_left_and_came_back_within_a_frame_is_there() -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(1)))
    pair.flow()
    for change in pair.hub.remove(ONE.key, 7, EndpointEvent.EXPIRED):
        pair.left(change)
    pair.report(Report(ONE, Load(2)))
    assert pair.flow() == ["gone expired", "up reported"]
    assert pair.view.documents == pair.documents


def test_a_document_goes_with_its_last_instance_and_comes_again() -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(1)))
    pair.flow()
    assert pair.view.documents == pair.documents
    for change in pair.hub.remove(ONE.key, 7, EndpointEvent.REPORTED_DOWN):
        pair.left(change)
    pair.flow()
    assert pair.view.documents == {}
    reborn = Instance("ase", "ocr", "a:1", 8, digest="d" * 64, total=4)
    pair.report(Report(reborn, Load(1)))
    pair.flow()
    assert pair.view.documents == pair.documents


def test_a_reason_of_a_newer_hub_is_read_as_left() -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(1)))
    pair.flow()
    for change in pair.hub.remove(ONE.key, 7, EndpointEvent.REPORTED_DOWN):
        pair.left(change)
    frame = pair.frame()
    frame.gone[0].reason = "abducted"
    (change,) = pair.view.apply(frame, 0.0)
    assert change.reason is EndpointEvent.REPORTED_DOWN


@pytest.mark.parametrize(
    "event", [EndpointEvent.SILENT, EndpointEvent.STREAM_LOST], ids=lambda e: e.value
)
def test_why_one_is_suspect_comes_through(event: EndpointEvent) -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(1)))
    pair.flow()
    pair.hub.mark_lost(ONE.key, 7, event, 1.0)
    pair.touched(ONE)
    assert pair.flow() == [f"suspect {event.value}"]


def test_who_tells_nothing_by_gateway_and_how_reports_come_come_through() -> None:
    pair = Pair()
    slow = Instance("ase", "ocr", "a:1", 7, total=4, report_mode=ReportMode.PERIODIC)
    pair.report(Report(slow, Load(1, running=2)))
    pair.flow()
    entry = pair.here.get(slow.key)
    assert entry is not None
    assert (entry.load.requests_by_gateway, entry.instance.report_mode) == (
        None,
        ReportMode.PERIODIC,
    )


def test_while_the_hub_is_away_reports_fade() -> None:
    pair = Pair()
    pair.report(Report(ONE, Load(1, running=2, requests_by_gateway={"h": 2})))
    pair.flow()
    entry = pair.here.get(ONE.key)
    assert entry is not None
    assert entry.outstanding() == 2
    pair.view.mark_hub_lost()
    assert (entry.outstanding(), entry.state.value) == (0, "up")


class Two:
    """One gateway that follows two hubs; a loader that reports to both."""

    def __init__(self) -> None:
        self.here = EndpointTable(silence_timeout=None)
        vouchers: ReportingViews = {}
        self.pairs = [Pair(), Pair()]
        for pair in self.pairs:
            pair.here, pair.view = self.here, HubView(self.here, "g", vouchers)

    def report(self, seq: int, *hubs: int) -> None:
        for hub in hubs:
            self.pairs[hub].report(Report(ONE, Load(seq, running=seq)))
            self.pairs[hub].flow()

    def lose(self, hub: int, event: EndpointEvent = EndpointEvent.STREAM_LOST) -> list[str]:
        pair = self.pairs[hub]
        pair.hub.mark_lost(ONE.key, 7, event, 1.0)
        pair.touched(ONE)
        return pair.flow(1.0)

    def expire(self, hub: int) -> list[str]:
        pair = self.pairs[hub]
        for change in pair.hub.mark_lost(ONE.key, 7, EndpointEvent.EXPIRED, 9.0):
            pair.left(change)
        return pair.flow(9.0)

    @property
    def seen(self) -> tuple[str, int]:
        entry = self.here.get(ONE.key)
        return (entry.state.value, entry.load.seq) if entry is not None else ("none", 0)


def test_of_two_hubs_the_later_figure_counts() -> None:
    two = Two()
    two.report(5, 0)
    two.report(4, 1)
    assert two.seen == ("up", 5)
    two.report(6, 1)
    assert two.seen == ("up", 6)


def test_what_one_hub_loses_the_other_still_has() -> None:
    two = Two()
    two.report(1, 0, 1)
    assert two.lose(0) == []
    assert two.expire(0) == []
    assert two.seen == ("up", 1)
    two.report(2, 1)
    assert two.seen == ("up", 2)
    assert two.lose(1) == ["suspect stream_lost"]
    assert two.expire(1) == ["gone expired"]


def test_a_farewell_to_one_is_one_to_all() -> None:
    two = Two()
    two.report(1, 0, 1)
    pair = two.pairs[0]
    pair.report(Report(ONE, Load(2, ServingState.DOWN)))
    assert pair.flow() == ["gone left"]


def test_when_one_hub_goes_nothing_fades() -> None:
    two = Two()
    two.report(3, 0, 1)
    entry = two.here.get(ONE.key)
    assert entry is not None
    two.pairs[0].view.mark_hub_lost()
    assert entry.outstanding() == 3
    two.pairs[1].view.mark_hub_lost()
    assert entry.outstanding() == 0


def test_a_hub_that_starts_anew_and_knows_nobody_makes_no_suspects_of_the_other_s() -> None:
    two = Two()
    two.report(3, 0, 1)
    two.pairs[0].view.mark_hub_lost()
    two.pairs[0].hub = EndpointTable()
    two.pairs[0].again()
    assert two.pairs[0].flow() == []
    assert two.seen == ("up", 3)
