"""The machine and the versions of a run, and helpers for cores and memory (Linux only)."""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("starlette", "uvicorn", "grpcio", "protobuf", "jsonschema-rs", "jiter")


def describe_machine() -> dict[str, object]:
    """Return processor, cores, versions, date and git revision, for the result of a run."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": dict(_installed_versions()),
        "date": datetime.now(UTC).date().isoformat(),
        "revision": _revision(),
    }


def _installed_versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _revision() -> str:
    completed = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return completed.stdout.strip()


@contextlib.contextmanager
def hardware_counters(pids: Iterable[int]) -> Iterator[dict[str, int]]:
    """Count instructions and cache misses of processes; the dict is filled at the end.

    It stays empty where there is no `perf`, or the machine has no such counters.
    """
    counts: dict[str, int] = {}
    if shutil.which("perf") is None:
        yield counts
        return
    command = ["perf", "stat", "-x,", "-e", "instructions,cache-misses", "-p"]
    command.append(",".join(map(str, pids)))
    perf = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield counts
    finally:
        perf.send_signal(signal.SIGINT)
        counts.update(parse_perf_stat(perf.communicate()[1]))


def parse_perf_stat(output: str) -> dict[str, int]:
    """Return the counts by event in the output of `perf stat -x,`, of those that were counted.

    An event without the kernel's part ends in `:u`.
    """
    fields = [line.split(",") for line in output.splitlines()]
    return {row[2]: int(row[0]) for row in fields if row[0].isdigit()}


def pin(core: str) -> None:
    """Pin this process to the core with the number `core`."""
    os.sched_setaffinity(0, {int(core)})


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    stat_fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(stat_fields[11]) + int(stat_fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
