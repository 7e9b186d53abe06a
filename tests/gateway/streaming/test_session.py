"""One session, its loader and its client played by hand: retries, faults of ours, silence."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aseloader import declare
from config.options import AuthOptions, GatewayOptions, SessionOptions
from gateway.access.limits import UsageLimiter
from gateway.request.answer_store import AnswerStore
from gateway.request.interfaces import Dependencies
from gateway.request.record import RequestRecord
from gateway.services.catalog import Catalog, build_contract
from gateway.streaming.envelopes import EnvelopeReader
from gateway.streaming.session import Session
from schemas.model.errors import INTERNAL, LOADER_FULL, NO_INSTANCE, UNREACHABLE, AseError
from schemas.model.session import SessionEvent, SessionState
from schemas.wire import LoaderOutput
from tests.fakes import FakeLoaderStream, FakeOperation, FakeSlot, new_authenticator
from tests.wrappers.talker import Talker

CONTRACT = build_contract(declare.schema(Talker), "file", {}, 5.0)


@dataclass
class FakeDependencies:
    """All that a session is handed."""

    client_raises: bool = False
    client_writable: bool = True
    keys: list[str] = field(default_factory=list)
    slots: list[FakeSlot] = field(default_factory=list)
    streams: list[FakeLoaderStream] = field(default_factory=list)
    internal_errors: list[Exception] = field(default_factory=list)
    sent_to_client: list[Any] = field(default_factory=list)
    closed_events: list[SessionEvent] = field(default_factory=list)
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    waits: list[tuple[float, bool]] = field(default_factory=list)
    pending: list[FakeOperation] = field(default_factory=list)
    retry_budget: int = 9
    instances: int = 9
    slot_timeout: float = 0.0
    now: float = 100.0

    # The picker, and the caller.

    def acquire(self, _service: str, _digest: str, _exclude: Any, affinity_key: str) -> FakeSlot:
        self.keys.append(affinity_key)
        if len(_exclude) >= self.instances:
            raise AseError(NO_INSTANCE)
        self.slots.append(FakeSlot(f"loader-{len(self.slots)}"))
        return self.slots[-1]

    def wait(self, *args: Any) -> FakeOperation:
        self.waits.append(args[4:6])
        self.pending.append(FakeOperation(FakeSlot("late"), args[-1]))
        self.slots.append(self.pending[-1].result)
        return self.pending[-1]

    def try_acquire_retry(self) -> bool:
        self.retry_budget -= 1
        return self.retry_budget >= 0

    def open_session(
        self, _target: Any, _handle: str, _timeout: float, wake: Callable[[], None]
    ) -> FakeLoaderStream:
        self.streams.append(FakeLoaderStream(wake))
        return self.streams[-1]

    def start_call(self, *_: Any) -> Any:
        raise AssertionError

    # The client.

    def writable(self) -> bool:
        return self.client_writable

    def send_result(self, _session: Session, payload: bytes, status: int) -> None:
        if self.client_raises:
            raise ValueError("what no client should do")
        self.sent_to_client.append((payload, status))

    def send_error(self, _session: Session, error: AseError) -> None:
        self.sent_to_client.append(error.spec)

    def on_closed(self, _session: Session, event: SessionEvent) -> None:
        self.closed_events.append(event)

    def pause_reading(self, _session: Session) -> None:
        pass

    def resume_reading(self, _session: Session) -> None:
        pass


class FakeTimer:
    def cancel(self) -> None:
        pass


def new_session(fake: FakeDependencies) -> Session:
    def call_later(delay: float, callback: Callable[[], None]) -> FakeTimer:
        fake.timers.append((delay, callback))
        return FakeTimer()

    dependencies = Dependencies(
        GatewayOptions(),
        Catalog([CONTRACT], {}, 5.0),
        fake,
        fake.slot_timeout,
        fake,
        lambda: fake.now,
        lambda: "b" * 32,
        lambda _sid, error: fake.internal_errors.append(error),
        AnswerStore(60.0, 1 << 20),
        new_authenticator(AuthOptions()),
        UsageLimiter({}, {}, lambda: fake.now, lambda: fake.now),
    )
    record = RequestRecord("a" * 32, time.monotonic())
    return Session(
        CONTRACT,
        record,
        dependencies,
        fake,
        EnvelopeReader(CONTRACT, {}, SessionOptions()),
        call_later,
        read_timeout=15.0,
        lifetime=150.0,
        max_queued_frames=8,
    )


def new_envelope(status: int) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(
        '{"header": {"app_id": "t"}, "payload": {"text": {"text": "aGk="}}}'
    )
    envelope["header"]["status"] = status
    return envelope


def test_retry_resends_all_frames_to_another_loader() -> None:
    fake = FakeDependencies()
    session = new_session(fake)
    session.receive_envelope(new_envelope(0), True, "user-7")
    session.receive_envelope(new_envelope(1), True)
    session.receive_envelope({"header": {"status": 2}}, True)
    first = fake.streams[0]
    assert (len(first.sent_frames), first.finished) == (3, True)
    first.fail_with(AseError(LOADER_FULL))
    second = fake.streams[1]
    assert second.sent_frames == first.sent_frames
    assert second.finished, "it would wait for more"
    assert fake.keys == ["user-7", "user-7"]
    second.push_result(LoaderOutput.END)
    assert fake.closed_events == [SessionEvent.LAST_RESULT]
    assert [slot.errors for slot in fake.slots] == [[LOADER_FULL], [None]]


def test_rejected_session_waits_for_a_slot_and_needs_no_retry_budget() -> None:
    fake = FakeDependencies(retry_budget=0, instances=2, slot_timeout=1.0)
    session = new_session(fake)
    session.receive_envelope(new_envelope(0), True)
    fake.streams[0].fail_with(AseError(LOADER_FULL))
    fake.now += 0.25
    fake.streams[1].fail_with(AseError(LOADER_FULL))
    assert fake.waits == [(0.75, True)], "for the rest of the time, before others"
    fake.now += 0.5
    fake.pending[0].finish()
    assert fake.streams[2].sent_frames == fake.streams[0].sent_frames
    fake.streams[2].fail_with(AseError(LOADER_FULL))
    assert fake.waits[1:] == [(0.25, True)]
    fake.now += 0.25
    fake.pending[1].finish()
    fake.streams[3].fail_with(AseError(LOADER_FULL))
    assert fake.sent_to_client == [LOADER_FULL], "the time is over"
    assert [slot.errors for slot in fake.slots] == [[LOADER_FULL]] * 4


def test_session_that_found_no_connection_needs_no_retry_budget() -> None:
    fake = FakeDependencies(retry_budget=0, slot_timeout=1.0)
    new_session(fake).receive_envelope(new_envelope(0), True)
    for number in range(3):
        fake.streams[number].fail_with(AseError(UNREACHABLE))
    assert fake.sent_to_client == []
    assert len(fake.streams) == 4


def test_internal_error_closes_the_session_and_releases_everything() -> None:
    for status in (LoaderOutput.CONTINUE, LoaderOutput.END):
        fake = FakeDependencies(client_raises=True)
        session = new_session(fake)
        session.receive_envelope(new_envelope(0), True)
        fake.streams[0].push_result(status)
        assert [str(error) for error in fake.internal_errors] == ["what no client should do"]
        assert fake.sent_to_client == [INTERNAL]
        assert fake.closed_events == [SessionEvent.FAILED]
        assert fake.streams[0].cancelled
        assert [len(slot.errors) for slot in fake.slots] == [1]
        assert session.state is SessionState.CLOSED


def test_read_timeout_is_paused_by_backpressure() -> None:
    fake = FakeDependencies(client_writable=False)
    session = new_session(fake)
    session.receive_envelope(new_envelope(0), True)
    _, check_read_timeout = fake.timers[0]
    fake.now += 16.0
    check_read_timeout()
    assert session.state is SessionState.OPEN
    fake.client_writable = True
    fake.now += 16.0
    fake.timers[-1][1]()
    assert session.state is SessionState.CLOSED
