from rpc.timer import CallLater
from tests.inprocess import VirtualLoop


def test_an_event_loop_provides_timers_that_can_be_cancelled() -> None:
    loop, calls = VirtualLoop(), list[str]()
    call_later: CallLater = loop.call_later
    call_later(1.0, lambda: calls.append("kept"))
    call_later(1.0, lambda: calls.append("cancelled")).cancel()
    loop.sleep(2.0)
    loop.close()
    assert calls == ["kept"]
