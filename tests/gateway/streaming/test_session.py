"""One session, its loader and its client played by hand: retries, faults of ours, silence."""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aseloader import declare
from config.options import GatewayOptions, SessionOptions
from gateway.request.interfaces import Dependencies
from gateway.request.record import RequestRecord
from gateway.services.catalog import Catalog, build_contract
from gateway.streaming.envelopes import EnvelopeReader
from gateway.streaming.session import Session
from schemas.model.errors import INTERNAL, LOADER_FULL, AseError, ErrorSpec
from schemas.model.session import SessionEvent, SessionState
from schemas.wire import LoaderOutput
from tests.wrappers.talker import Talker

CONTRACT = build_contract(declare.schema(Talker), "file", {}, 5.0)


class Stream:
    """What was sent to a loader, and what it answers."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.sent: list[bytes] = []
        self.inbox: deque[bytes] = deque()
        self.finished = self.cancelled = False
        self.error: AseError | None = None

    def can_send(self) -> bool:
        return True

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def finish_sending(self) -> None:
        self.finished = True

    def pop_result(self) -> bytes | None:
        return self.inbox.popleft() if self.inbox else None

    def is_finished(self) -> bool:
        return self.error is not None

    def failure(self) -> AseError | None:
        return self.error

    def cancel(self) -> None:
        self.cancelled = True

    def ends(self, error: AseError) -> None:
        self.error = error
        self.wake()

    def answers(self, status: int) -> None:
        self.inbox.append(LoaderOutput(status=status).SerializeToString())
        self.wake()


@dataclass
class Instance:
    addr: str


class Place:
    def __init__(self, addr: str) -> None:
        self.instance = Instance(addr)
        self.released: list[tuple[ErrorSpec | None, bool]] = []

    def release_unused(self) -> None:
        raise AssertionError

    def release(
        self,
        error_spec: ErrorSpec | None = None,
        *,
        abandoned: bool = False,
        is_session: bool = False,
    ) -> None:
        assert is_session
        self.released.append((error_spec, abandoned))


@dataclass
class World:
    """All that a session is handed."""

    broken: bool = False
    reads: bool = True
    keys: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    ended: list[SessionEvent] = field(default_factory=list)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    now: float = 100.0

    # The picker, and the caller.

    def acquire(self, _service: str, _digest: str, _exclude: Any, key: str) -> Place:
        self.keys.append(key)
        self.places.append(Place(f"loader-{len(self.places)}"))
        return self.places[-1]

    def wait(self, *_: Any) -> Any:
        raise AssertionError

    def try_acquire_retry(self) -> bool:
        return True

    def open_session(
        self, _target: Any, _handle: str, _seconds: float, wake: Callable[[], None]
    ) -> Stream:
        self.streams.append(Stream(wake))
        return self.streams[-1]

    def start_call(self, *_: Any) -> Any:
        raise AssertionError

    # The client.

    def writable(self) -> bool:
        return self.reads

    def send_result(self, _session: Session, payload: bytes, status: int) -> None:
        if self.broken:
            raise ValueError("what no client should do")
        self.told.append((payload, status))

    def send_error(self, _session: Session, error: AseError) -> None:
        self.told.append(error.spec)

    def on_closed(self, _session: Session, event: SessionEvent) -> None:
        self.ended.append(event)

    def pause_reading(self, _session: Session) -> None:
        pass

    def resume_reading(self, _session: Session) -> None:
        pass


class Timer:
    def cancel(self) -> None:
        pass


def session(world: World) -> Session:
    def later(seconds: float, call: Callable[[], None]) -> Timer:
        world.later.append((seconds, call))
        return Timer()

    parts = Dependencies(
        GatewayOptions(),
        Catalog([CONTRACT], {}, 5.0),
        world,
        0.0,
        world,
        lambda: world.now,
        lambda: "b" * 32,
        lambda _sid, fault: world.faults.append(fault),
    )
    record = RequestRecord("a" * 32, time.monotonic())
    return Session(
        CONTRACT,
        record,
        parts,
        world,
        EnvelopeReader(CONTRACT, {}, SessionOptions()),
        later,
        read_timeout=15.0,
        lifetime=150.0,
        max_queued_frames=8,
    )


def frame(status: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        '{"header": {"app_id": "t"}, "payload": {"text": {"text": "aGk="}}}'
    )
    told["header"]["status"] = status
    return told


def test_another_loader_hears_all_that_the_first_one_did() -> None:
    world = World()
    told = session(world)
    told.receive_envelope(frame(0), True, "user-7")
    told.receive_envelope(frame(1), True)
    told.receive_envelope({"header": {"status": 2}}, True)
    first = world.streams[0]
    assert (len(first.sent), first.finished) == (3, True)
    first.ends(AseError(LOADER_FULL))
    second = world.streams[1]
    assert second.sent == first.sent
    assert second.finished, "it would wait for more"
    assert world.keys == ["user-7", "user-7"]
    second.answers(LoaderOutput.END)
    assert world.ended == [SessionEvent.LAST_RESULT]
    assert [place.released for place in world.places] == [[(LOADER_FULL, False)], [(None, False)]]


def test_a_fault_of_ours_ends_this_session_alone_and_leaves_nothing() -> None:
    for status in (LoaderOutput.CONTINUE, LoaderOutput.END):
        world = World(broken=True)
        told = session(world)
        told.receive_envelope(frame(0), True)
        world.streams[0].answers(status)
        assert [str(fault) for fault in world.faults] == ["what no client should do"]
        assert world.told == [INTERNAL]
        assert world.ended == [SessionEvent.FAILED]
        assert world.streams[0].cancelled
        assert [len(place.released) for place in world.places] == [1]
        assert told.state is SessionState.CLOSED


def test_a_client_that_is_held_back_is_not_silent() -> None:
    world = World(reads=False)
    told = session(world)
    told.receive_envelope(frame(0), True)
    _, tick = world.later[0]
    world.now += 16.0
    tick()
    assert told.state is SessionState.OPEN
    world.reads = True
    world.now += 16.0
    world.later[-1][1]()
    assert told.state is SessionState.CLOSED
