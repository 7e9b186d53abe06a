"""Virtual time: in order, at its time, and not what was cancelled."""

from bench.lb.world import VirtualTimeLoop


def test_things_happen_in_order_and_time_jumps() -> None:
    world, seen = VirtualTimeLoop(), list[tuple[float, str]]()

    def see(name: str) -> None:
        seen.append((world.now, name))

    world.call_at(2.0, see, "late")
    world.call_at(1.0, see, "first")
    world.call_at(1.0, see, "second")
    world.call_later(0.5, lambda: see("soon"))
    world.call_later(1.5, lambda: see("never")).cancel()
    world.run(lambda: True)
    assert seen == [(0.5, "soon"), (1.0, "first"), (1.0, "second"), (2.0, "late")]


def test_it_stops_when_told() -> None:
    world, seen = VirtualTimeLoop(), list[float]()
    for time in range(10):
        world.call_at(float(time), lambda: seen.append(world.now))
    world.run(lambda: len(seen) < 3)
    assert seen == [0.0, 1.0, 2.0]
    assert world.clock() == 2.0
