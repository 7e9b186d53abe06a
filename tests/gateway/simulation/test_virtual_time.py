"""Virtual time: in order, at its time, and not what was cancelled."""

from gateway.simulation.virtual_time import VirtualTimeLoop


def test_callbacks_run_in_order_and_time_jumps() -> None:
    loop, events = VirtualTimeLoop(), list[tuple[float, str]]()

    def record(name: str) -> None:
        events.append((loop.now, name))

    loop.call_at(2.0, record, "late")
    loop.call_at(1.0, record, "first")
    loop.call_at(1.0, record, "second")
    loop.call_later(0.5, lambda: record("soon"))
    loop.call_later(1.5, lambda: record("never")).cancel()
    loop.run(lambda: True)
    assert events == [(0.5, "soon"), (1.0, "first"), (1.0, "second"), (2.0, "late")]


def test_run_stops_when_condition_is_false() -> None:
    loop, events = VirtualTimeLoop(), list[float]()
    for time in range(10):
        loop.call_at(float(time), lambda: events.append(loop.now))
    loop.run(lambda: len(events) < 3)
    assert events == [0.0, 1.0, 2.0]
    assert loop.clock() == 2.0
