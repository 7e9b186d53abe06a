"""What processes of this host use, read from /proc (https://docs.kernel.org/filesystems/proc.html)."""

import os
from dataclasses import dataclass
from pathlib import Path

from rpc.bounded_cache import BoundedCache

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_GROUP_FIELD, _SESSION_FIELD = 2, 3  # of `stat`, after the name
_MIN_INTERVAL_S = 0.2
_MAX_PROCESSES = 10_000


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU time and the memory of the processes of one session."""

    cpu_s: float = 0.0
    memory: int = 0


class UsageMeter:
    """Turns CPU times into CPUs in use; `_before` has the last time of each process, and when."""

    def __init__(self) -> None:
        self._before: BoundedCache[int, tuple[float, float]] = BoundedCache(_MAX_PROCESSES)

    def cpus(self, pid: int, usage: Usage, now: float) -> float:
        """Return the CPUs in use since `pid` was looked at before; `now` is monotonic."""
        before_s, at = self._before.entries.get(pid, (usage.cpu_s, now))
        if now - at >= _MIN_INTERVAL_S or pid not in self._before.entries:
            self._before.add(pid, (usage.cpu_s, now))
        return (usage.cpu_s - before_s) / (now - at) if now > at else 0.0


def read_usage_by_session() -> dict[int, Usage]:
    """Return the usage of each session, by its id: the pid of the process that leads it."""
    return _read_usage(_SESSION_FIELD)


def read_usage_by_group() -> dict[int, Usage]:
    """Return the usage of each process group, by its id: the pid of the process that leads it."""
    return _read_usage(_GROUP_FIELD)


def _read_usage(leader_field: int) -> dict[int, Usage]:
    """Return the usage by a field of `stat`. Pages that are shared count for the leader alone."""
    by_leader: dict[int, Usage] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            stat = Path(entry.path, "stat").read_text("utf-8", "replace")
            statm = Path(entry.path, "statm").read_text("ascii").split()
        except OSError:  # it has ended
            continue
        fields = stat.rpartition(")")[2].split()  # a name may have blanks and parentheses
        leader, ticks = int(fields[leader_field]), int(fields[11]) + int(fields[12])
        resident, shared = int(statm[1]), int(statm[2])
        pages = resident if int(entry.name) == leader else resident - shared
        sum_before = by_leader.get(leader, Usage())
        by_leader[leader] = Usage(
            sum_before.cpu_s + ticks / _TICKS_PER_S, sum_before.memory + pages * _PAGE_BYTES
        )
    return by_leader


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
