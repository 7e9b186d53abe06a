"""`python -m bench lb micro`: what a pick, a release, a report, a frame and a hub cost.

A pick is the product's `acquire`: the choice, the ticket, the counts. Run in a process of its own,
`python -m bench.lb.micro` prints the figures as JSON.
"""

import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from bench.lb import grid, hubload
from bench.lb.stats import quantile
from bench.machine import pin
from lb.arms import policy_factories
from lb.balancer import Balancer
from lb.follower import EncodedLoadCache, Subscriber
from lb.meter import ConcurrencyLimiter
from lb.report import Instance, Load, Report, decode_report, encode_report
from lb.table import EndpointTable
from lb.trigger import ReportSchedule
from lb.view import HubView
from schemas.wire import Frame, LoadReport

SIZES = (8, 16, 64, 256, 1024, 4096)
_SERVICE = "bench"


def run(*, quick: bool, compiled: bool) -> dict[str, Any]:
    """Return the figures, in nanoseconds unless they say otherwise."""
    words = [sys.executable, "-m", "bench.lb.micro", "quick" if quick else "whole"]
    env = grid.environment(compiled=compiled)
    told = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    loaders, seconds = ((20,), 1.0) if quick else ((100, 1000), 10.0)
    crowds = {n: hubload.measured(n, seconds, compiled=compiled) for n in loaders}
    hubs = {str(n): figures for n, figures in crowds.items()}
    return {"compiled": compiled, **json.loads(told.stdout), "hub": hubs}


def measured(*, quick: bool) -> dict[str, Any]:
    """Return the figures of this process's product."""
    sizes, picks = ((8, 64), 2_000) if quick else (SIZES, 100_000)
    result: dict[str, Any] = {"pick_ns": {}, "release_ns": {}, "timer_ns": _timer()}
    for size in sizes:
        pick, release = _picks(size, picks, "ours")
        result["pick_ns"][str(size)] = pick
        result["release_ns"][str(size)] = release
    result["picks_per_second"] = _rate(64, picks * 2)
    policies = policy_factories(Random(1), _no_probe)  # noqa: S311
    names = [name for name in policies if name not in ("ours", "prequal")]
    result["pick_ns_16"] = {name: _picks(16, picks // 10, name)[0] for name in names}
    result["report_hook_ns"] = _hook(picks)
    result["apply_ns"] = _apply(64, picks)
    result["frame_us"] = {str(count): _frame(count, quick=quick) for count in (16, 100, 1000)}
    result["bytes_per_loader"] = _memory(1000)
    return result


def fleet(size: int) -> tuple[EndpointTable, list[Instance]]:
    """Return a gateway's table of so many loaders."""
    table = EndpointTable("g", silence_timeout=None)
    instances = [
        Instance("ase", _SERVICE, f"10.0.{n // 250}.{n % 250}:8240", 7, total=10_000, best=4)
        for n in range(size)
    ]
    for instance in instances:
        table.apply(
            Report(instance, Load(1, service_ms=20.0, served=99, requests_by_gateway={})), 0.0
        )
    table.expire(1.0)
    return table, instances


def _balancer(size: int, policy: str) -> Balancer:
    rng = Random(1)  # noqa: S311 (draws)
    made = policy_factories(rng, _no_probe)[policy]
    table, _ = fleet(size)
    return Balancer(table, made, clock=time.monotonic, rng=rng, call_later=_never)


def _picks(size: int, count: int, policy: str) -> tuple[dict[str, int], dict[str, int]]:
    """Time picks and releases one by one, with two requests per loader under way."""
    acquire, clock = _balancer(size, policy).acquire, time.perf_counter_ns
    held = deque(acquire(_SERVICE, "") for _ in range(2 * size))
    picks, releases = [], []
    gc.disable()
    for _ in range(count + 1000):
        began = clock()
        ticket = acquire(_SERVICE, "", ())
        ended = clock()
        held.append(ticket)
        oldest = held.popleft()
        back = clock()
        oldest.release()
        over = clock()
        picks.append(ended - began)
        releases.append(over - back)
    gc.enable()
    return _summary(picks[1000:]), _summary(releases[1000:])


def _rate(size: int, count: int) -> int:
    """Return the picks per second of a loop that only picks; the releases are not timed."""
    acquire = _balancer(size, "ours").acquire
    rates = []
    for _ in range(5):
        spent, done = 0, 0
        while done < count:
            began = time.perf_counter_ns()
            tickets = [acquire(_SERVICE, "", ()) for _ in range(500)]
            spent += time.perf_counter_ns() - began
            done += 500
            for ticket in tickets:
                ticket.release()
        rates.append(done / spent * 1e9)
    return int(sorted(rates)[2])


def _hook(count: int) -> int:
    """Return what a loader spends on a change that is not worth a report.

    It is the difference of two loops, so they take turns and the quickest round of each counts:
    timed once each, whatever else the machine did would be told as the hook's.
    """
    trigger = ReportSchedule()

    def look() -> None:
        trigger.should_report(meter)

    idle, meter = ConcurrencyLimiter(100, _nothing, best=64), ConcurrencyLimiter(100, look, best=64)
    for told in (idle, meter):
        told.try_acquire("g")
        told.release("g", 10.0, succeeded=True)
    trigger.mark_sent(meter, 0.0)
    rounds = [(_each(meter, count // 5), _each(idle, count // 5)) for _ in range(20)]
    return min(took for took, _ in rounds) - min(took for _, took in rounds)


def _each(meter: ConcurrencyLimiter, count: int) -> int:
    began = time.perf_counter_ns()
    for _ in range(count):
        meter.try_acquire("g")
        meter.release("g", 10.0, succeeded=True)
    return (time.perf_counter_ns() - began) // (2 * count)


def _apply(size: int, count: int) -> dict[str, int]:
    """Return what a report costs at the hub (read and applied), and at a gateway (applied)."""
    table, instances = fleet(size)
    wires = [
        encode_report(
            Report(
                i,
                Load(
                    2,
                    running=3,
                    service_ms=20.0,
                    requests_by_gateway={f"g{n}": 1 for n in range(3)},
                ),
            )
        )
        for i in instances
    ]
    data = [wire.SerializeToString() for wire in wires]
    read_ns, applied_ns, rounds = 0, 0, max(1, count // size // 10)
    for seq in range(3, rounds + 3):
        began = time.perf_counter_ns()
        reports = [decode_report(LoadReport.FromString(one)) for one in data]
        middle = time.perf_counter_ns()
        fresh = [
            Report(
                told.instance,
                Load(seq, running=3, service_ms=20.0, served=99, requests_by_gateway={"g": 1}),
            )
            for told in reports
        ]
        later = time.perf_counter_ns()
        for told in fresh:
            table.apply(told, 1.0)
        applied_ns += time.perf_counter_ns() - later
        read_ns += middle - began
    return {"read": read_ns // (rounds * size), "apply": applied_ns // (rounds * size)}


def _frame(changed: int, *, quick: bool) -> dict[str, float]:
    """Return what a frame of so many changed loaders costs: made at the hub, read and applied."""
    hub, instances = fleet(changed)
    view = HubView(EndpointTable("g", silence_timeout=None), "g")
    follower = Subscriber("g", (), hub)
    figures = EncodedLoadCache()
    view.apply(Frame.FromString(follower.next_frame(hub, figures, {}, 1, 0.0)), 0.0)
    made = applied = 0
    rounds = 3 if quick else 100
    for seq in range(2, rounds + 2):
        for instance in instances:
            hub.apply(Report(instance, Load(seq, running=2, requests_by_gateway={"g": 1})), 1.0)
            figures.invalidate(instance.key)
        follower.mark_changed(instances)
        began = time.perf_counter_ns()
        data = follower.next_frame(hub, figures, {}, 1, 1.0)
        middle = time.perf_counter_ns()
        view.apply(Frame.FromString(data), 1.0)
        applied += time.perf_counter_ns() - middle
        made += middle - began
    size = len(data)
    return {
        "made": round(made / rounds / 1000, 1),
        "applied": round(applied / rounds / 1000, 1),
        "bytes": size,
    }


def _memory(size: int) -> int:
    """Return the bytes that a loader takes in a gateway's table, its pool and its levels."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    table, _ = fleet(size)
    table.pool(_SERVICE, "", 0.0)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used // size


def _timer() -> int:
    """Return what reading the clock adds to every single time."""
    times = []
    for _ in range(10_000):
        began = time.perf_counter_ns()
        times.append(time.perf_counter_ns() - began)
    return int(quantile(sorted(times), 0.5))


def _summary(times: list[int]) -> dict[str, int]:
    times.sort()
    return {"p50": int(quantile(times, 0.5)), "p99": int(quantile(times, 0.99))}


def _nothing() -> None:
    """Do nothing."""


def _never(_seconds: float, _call: Callable[[], None]) -> Any:
    """Take in what is to be called later: nothing waits here."""


def _no_probe(_entry: Any, _answer: Any) -> None:
    """Ask nobody."""


def table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"compiled: {result['compiled']}; reading the clock adds {result['timer_ns']} ns"]
    for size, told in result["pick_ns"].items():
        back = result["release_ns"][size]
        lines.append(
            f"pick of {size:>4}: p50 {told['p50']:>5} ns, p99 {told['p99']:>5} ns; "
            f"release p50 {back['p50']} ns"
        )
    lines.append(f"picks per second: {result['picks_per_second']:,}")
    others = ", ".join(f"{name} {told['p50']}" for name, told in result["pick_ns_16"].items())
    lines.append(f"others of 16, p50 ns: {others}")
    lines.append(f"report hook: {result['report_hook_ns']} ns; apply: {result['apply_ns']}")
    lines.append(f"frames, us: {result['frame_us']}")
    lines.append(f"memory per loader: {result['bytes_per_loader']} bytes")
    for loaders, hub in result["hub"].items():
        lines.append(
            f"a hub with {loaders} loaders, 64 gateways: {hub['cpu']} cores, "
            f"{hub['reports_per_second']:,.0f} reports and {hub['frames_per_second']:,.0f} frames "
            f"a second, age p50 {hub['age_p50_ms']:.1f} ms, p99 {hub['age_p99_ms']:.1f} ms"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    pin("1")
    print(json.dumps(measured(quick=sys.argv[1] == "quick")))
