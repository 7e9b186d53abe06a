"""`python -m bench lb micro`: the cost of a pick, a release, a report, a frame and a hub.

A pick is a call of `Balancer.acquire`: the choice, the lease and the counters. It is measured in a
process of its own: `python -m bench.lb.micro quick|whole` prints the figures as JSON.
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
from lb.balancer.balancer import Balancer
from lb.balancer.policies import policy_factories
from lb.client.view import HubView
from lb.endpoints.report import Instance, Load, Report, decode_report, encode_report
from lb.endpoints.table import EndpointTable
from lb.hub.subscriber import EncodedLoadCache, Subscriber
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.schedule import ReportSchedule
from schemas.wire import Frame, LoadReport

SIZES = (8, 16, 64, 256, 1024, 4096)
_SERVICE = "bench"


def run(*, quick: bool, compiled: bool) -> dict[str, Any]:
    """Return all figures, in nanoseconds unless the key names another unit.

    `quick` measures fewer sizes, with fewer picks. The hub is measured here, all else in a child
    process with the product compiled or not.
    """
    command = [sys.executable, "-m", "bench.lb.micro", "quick" if quick else "whole"]
    env = grid.environment(compiled=compiled)
    completed = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    loader_counts, seconds = ((20,), 1.0) if quick else ((100, 1000), 10.0)
    hub_figures = {n: hubload.measure_hub(n, seconds, compiled=compiled) for n in loader_counts}
    hub_rows = {str(n): figures for n, figures in hub_figures.items()}
    return {"compiled": compiled, **json.loads(completed.stdout), "hub": hub_rows}


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the figures of the product as this process imports it, without the hub."""
    sizes, pick_count = ((8, 64), 2_000) if quick else (SIZES, 100_000)
    result: dict[str, Any] = {"pick_ns": {}, "release_ns": {}, "timer_ns": _clock_overhead_ns()}
    for size in sizes:
        pick, release = _time_picks(size, pick_count, "ours")
        result["pick_ns"][str(size)] = pick
        result["release_ns"][str(size)] = release
    result["picks_per_second"] = _picks_per_second(64, pick_count * 2)
    policies = policy_factories(Random(1), _no_probe)  # noqa: S311
    names = [name for name in policies if name not in ("ours", "prequal")]
    result["pick_ns_16"] = {name: _time_picks(16, pick_count // 10, name)[0] for name in names}
    result["report_hook_ns"] = _time_report_hook_ns(pick_count)
    result["apply_ns"] = _time_report_ns(64, pick_count)
    result["frame_us"] = {
        str(count): _time_frame_us(count, quick=quick) for count in (16, 100, 1000)
    }
    result["bytes_per_loader"] = _bytes_per_loader(1000)
    return result


def make_fleet(size: int) -> tuple[EndpointTable, list[Instance]]:
    """Return a gateway's table with `size` loaders that have reported, and their instances."""
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


def _make_balancer(size: int, policy: str) -> Balancer:
    rng = Random(1)  # noqa: S311 (draws)
    policy_factory = policy_factories(rng, _no_probe)[policy]
    table, _ = make_fleet(size)
    return Balancer(table, policy_factory, clock=time.monotonic, rng=rng, call_later=_ignore_timer)


def _time_picks(size: int, count: int, policy: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the percentiles of single picks and releases in ns, two requests per loader in flight.

    The first 1,000 are dropped. The cost of reading the clock (`timer_ns`) is included.
    """
    acquire, clock = _make_balancer(size, policy).acquire, time.perf_counter_ns
    leases = deque(acquire(_SERVICE, "") for _ in range(2 * size))
    picks, releases = [], []
    gc.disable()
    for _ in range(count + 1000):
        pick_start = clock()
        lease = acquire(_SERVICE, "", ())
        pick_end = clock()
        leases.append(lease)
        oldest = leases.popleft()
        release_start = clock()
        oldest.release()
        release_end = clock()
        picks.append(pick_end - pick_start)
        releases.append(release_end - release_start)
    gc.enable()
    return _percentiles(picks[1000:]), _percentiles(releases[1000:])


def _picks_per_second(size: int, count: int) -> int:
    """Return the picks per second of a loop that only picks: the median of five runs.

    The releases are not timed.
    """
    acquire = _make_balancer(size, "ours").acquire
    rates = []
    for _ in range(5):
        elapsed_ns, pick_count = 0, 0
        while pick_count < count:
            started_at = time.perf_counter_ns()
            leases = [acquire(_SERVICE, "", ()) for _ in range(500)]
            elapsed_ns += time.perf_counter_ns() - started_at
            pick_count += 500
            for lease in leases:
                lease.release()
        rates.append(pick_count / elapsed_ns * 1e9)
    return int(sorted(rates)[2])


def _time_report_hook_ns(count: int) -> int:
    """Return the time in ns that a loader needs to find that a change needs no report.

    It is the difference between two loops, with and without `should_report`. The loops alternate,
    and the fastest round of each counts. Otherwise a disturbance by another process would be
    attributed to the hook.
    """
    schedule = ReportSchedule()

    def on_change() -> None:
        schedule.should_report(limiter)

    idle_limiter, limiter = (
        ConcurrencyLimiter(100, _do_nothing, best=64),
        ConcurrencyLimiter(100, on_change, best=64),
    )
    for warmed_limiter in (idle_limiter, limiter):
        warmed_limiter.try_acquire("g")
        warmed_limiter.release("g", 10.0, succeeded=True)
    schedule.mark_sent(limiter, 0.0)
    rounds = [
        (
            _time_acquire_release_ns(limiter, count // 5),
            _time_acquire_release_ns(idle_limiter, count // 5),
        )
        for _ in range(20)
    ]
    return min(duration_ns for duration_ns, _ in rounds) - min(
        duration_ns for _, duration_ns in rounds
    )


def _time_acquire_release_ns(limiter: ConcurrencyLimiter, count: int) -> int:
    started_at = time.perf_counter_ns()
    for _ in range(count):
        limiter.try_acquire("g")
        limiter.release("g", 10.0, succeeded=True)
    return (time.perf_counter_ns() - started_at) // (2 * count)


def _time_report_ns(size: int, count: int) -> dict[str, int]:
    """Return the mean time in ns to read a report and to apply one to a table of `size` loaders.

    A hub reads and applies each report; a gateway only applies it.
    """
    table, instances = make_fleet(size)
    messages = [
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
    encoded_reports = [message.SerializeToString() for message in messages]
    read_ns, apply_ns, rounds = 0, 0, max(1, count // size // 10)
    for seq in range(3, rounds + 3):
        read_start = time.perf_counter_ns()
        reports = [decode_report(LoadReport.FromString(encoded)) for encoded in encoded_reports]
        read_end = time.perf_counter_ns()
        fresh_reports = [
            Report(
                report.instance,
                Load(seq, running=3, service_ms=20.0, served=99, requests_by_gateway={"g": 1}),
            )
            for report in reports
        ]
        apply_start = time.perf_counter_ns()
        for report in fresh_reports:
            table.apply(report, 1.0)
        apply_ns += time.perf_counter_ns() - apply_start
        read_ns += read_end - read_start
    return {"read": read_ns // (rounds * size), "apply": apply_ns // (rounds * size)}


def _time_frame_us(changed_count: int, *, quick: bool) -> dict[str, float]:
    """Return the mean cost of a frame with `changed_count` changed loaders.

    `made` is the time of the hub to encode it and `applied` the time of a gateway to decode and
    apply it, both in microseconds. `bytes` is its size.
    """
    hub_table, instances = make_fleet(changed_count)
    view = HubView(EndpointTable("g", silence_timeout=None), "g")
    subscriber = Subscriber("g", (), hub_table)
    load_cache = EncodedLoadCache()
    view.apply(Frame.FromString(subscriber.next_frame(hub_table, load_cache, {}, 1, 0.0)), 0.0)
    encode_ns = apply_ns = 0
    rounds = 3 if quick else 100
    for seq in range(2, rounds + 2):
        for instance in instances:
            hub_table.apply(
                Report(instance, Load(seq, running=2, requests_by_gateway={"g": 1})), 1.0
            )
            load_cache.invalidate(instance.key)
        subscriber.mark_changed(instances)
        encode_start = time.perf_counter_ns()
        data = subscriber.next_frame(hub_table, load_cache, {}, 1, 1.0)
        encode_end = time.perf_counter_ns()
        view.apply(Frame.FromString(data), 1.0)
        apply_ns += time.perf_counter_ns() - encode_end
        encode_ns += encode_end - encode_start
    size = len(data)
    return {
        "made": round(encode_ns / rounds / 1000, 1),
        "applied": round(apply_ns / rounds / 1000, 1),
        "bytes": size,
    }


def _bytes_per_loader(size: int) -> int:
    """Return the bytes of memory per loader in a gateway's table, with its pool and its levels."""
    gc.collect()
    tracemalloc.start()
    bytes_before = tracemalloc.get_traced_memory()[0]
    table, _ = make_fleet(size)
    table.pool(_SERVICE, "")
    gc.collect()
    bytes_used = tracemalloc.get_traced_memory()[0] - bytes_before
    tracemalloc.stop()
    return bytes_used // size


def _clock_overhead_ns() -> int:
    """Return the median time in ns that reading the clock adds to each measurement."""
    times = []
    for _ in range(10_000):
        started_at = time.perf_counter_ns()
        times.append(time.perf_counter_ns() - started_at)
    return int(quantile(sorted(times), 0.5))


def _percentiles(times: list[int]) -> dict[str, int]:
    times.sort()
    return {"p50": int(quantile(times, 0.5)), "p99": int(quantile(times, 0.99))}


def _do_nothing() -> None:
    """Ignore a change of a limiter."""


def _ignore_timer(_seconds: float, _callback: Callable[[], None]) -> Any:
    """Ignore a timer; no request of this bench waits."""


def _no_probe(_endpoint: Any, _on_answer: Any) -> None:
    """Send no probe."""


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as lines of text."""
    lines = [f"compiled: {result['compiled']}; reading the clock adds {result['timer_ns']} ns"]
    for size, percentiles in result["pick_ns"].items():
        release_percentiles = result["release_ns"][size]
        lines.append(
            f"pick of {size:>4}: p50 {percentiles['p50']:>5} ns, p99 {percentiles['p99']:>5} ns; "
            f"release p50 {release_percentiles['p50']} ns"
        )
    lines.append(f"picks per second: {result['picks_per_second']:,}")
    others = ", ".join(
        f"{name} {percentiles['p50']}" for name, percentiles in result["pick_ns_16"].items()
    )
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
    print(json.dumps(measure(quick=sys.argv[1] == "quick")))
