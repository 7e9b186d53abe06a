"""Virtual time: in order, at its time, and not what was cancelled."""

from bench.lb.world import World


def test_things_happen_in_order_and_time_jumps() -> None:
    world, seen = World(), list[tuple[float, str]]()

    def see(name: str) -> None:
        seen.append((world.now, name))

    world.at(2.0, see, "late")
    world.at(1.0, see, "first")
    world.at(1.0, see, "second")
    world.later(0.5, lambda: see("soon"))
    world.later(1.5, lambda: see("never")).cancel()
    world.run(lambda: True)
    assert seen == [(0.5, "soon"), (1.0, "first"), (1.0, "second"), (2.0, "late")]


def test_it_stops_when_told() -> None:
    world, seen = World(), list[float]()
    for time in range(10):
        world.at(float(time), lambda: seen.append(world.now))
    world.run(lambda: len(seen) < 3)
    assert seen == [0.0, 1.0, 2.0]
    assert world.clock() == 2.0
