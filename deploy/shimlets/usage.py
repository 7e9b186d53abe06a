"""What processes of this host use, read from /proc (https://docs.kernel.org/filesystems/proc.html)."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU time and the memory of the processes of one session."""

    cpu_s: float = 0.0
    memory: int = 0


def read_usage_by_session() -> dict[int, Usage]:
    """Return the usage of each session, by its id: the pid of the process that leads it.

    Pages that processes share count for the leader alone.
    """
    by_session: dict[int, Usage] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            stat = Path(entry.path, "stat").read_text("utf-8", "replace")
            statm = Path(entry.path, "statm").read_text("ascii").split()
        except OSError:  # it has ended
            continue
        fields = stat.rpartition(")")[2].split()  # a name may have blanks and parentheses
        session, ticks = int(fields[3]), int(fields[11]) + int(fields[12])
        resident, shared = int(statm[1]), int(statm[2])
        pages = resident if int(entry.name) == session else resident - shared
        sum_before = by_session.get(session, Usage())
        by_session[session] = Usage(
            sum_before.cpu_s + ticks / _TICKS_PER_S, sum_before.memory + pages * _PAGE_BYTES
        )
    return by_session


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
