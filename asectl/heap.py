"""Return the memory of a burst to the system, which the C library keeps.

The C library reuses what a process frees, and gives back only what lies at the end of its heap. One
small object behind 300 MiB of freed request bodies keeps all of them resident.
"""

import contextlib
import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_INTERVAL_S: Final = 4.0
# Less than this is not worth a trim: the pages are soon used again.
_MIN_GAIN: Final = 16 << 20


class HeapUsage(NamedTuple):
    """Anonymous memory of a process: bytes resident, and bytes of them that the program holds."""

    resident: int
    allocated: int

    @property
    def unused(self) -> int:
        """Return the resident bytes that the C library does not count as allocated.

        Python's own arenas are among them, which no trim returns.
        """
        return max(0, self.resident - self.allocated)


class TrimPolicy:
    """Decides when a trim of the heap gains something. Pure.

    `_untrimmable` are the unused bytes that the last trim left.
    """

    def __init__(self, min_gain: int = _MIN_GAIN) -> None:
        self._min_gain = min_gain
        self._untrimmable = 0

    def should_trim(self, usage: HeapUsage) -> bool:
        """Return whether at least `min_gain` bytes are unused beyond what a trim cannot return."""
        self._untrimmable = min(self._untrimmable, usage.unused)
        return usage.unused - self._untrimmable >= self._min_gain

    def on_trimmed(self, before: HeapUsage, after: HeapUsage) -> None:
        """Remember what a trim left, except what was freed meanwhile."""
        freed_meanwhile = max(0, before.allocated - after.allocated)
        self._untrimmable = max(0, after.unused - freed_meanwhile)


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of the GNU C library."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    )  # fmt: skip


class GnuHeap:
    """The heap of the GNU C library 2.33 or later. Raises OSError without it, and without Linux."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        try:
            self._mallinfo, self._trim = library.mallinfo2, library.malloc_trim
        except AttributeError as error:
            raise OSError(f"this C library cannot trim its heap: {error}") from None
        self._mallinfo.restype = _MallInfo
        self.usage()

    def usage(self) -> HeapUsage:
        """Return the memory that is resident, and what is allocated of it."""
        info = self._mallinfo()
        return HeapUsage(_resident_anonymous_bytes(), info.uordblks + info.hblkhd)

    def trim(self) -> None:
        """Return unused pages to the system; other threads wait for it if they allocate much."""
        self._trim(0)


def _resident_anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_bytes().splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/self/status has no RssAnon")


def freeze_objects() -> None:
    """Keep what is alive now out of later collections: call it when a process is ready.

    Each full collection would traverse it, and delay what is in progress by 15 to 40 ms
    (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def trim_regularly(
    interval: float = _INTERVAL_S, create_heap: Callable[[], GnuHeap] = GnuHeap
) -> Iterator[None]:
    """Trim the heap every `interval` seconds, if that gains something, until the context ends.

    It does nothing where the C library cannot do that.
    """
    try:
        heap = create_heap()
    except OSError:
        yield
        return
    stop = threading.Event()
    threading.Thread(
        target=_run, args=(heap, interval, stop), name="heap-trimmer", daemon=True
    ).start()
    try:
        yield
    finally:
        stop.set()


def _run(heap: GnuHeap, interval: float, stop: threading.Event) -> None:
    policy = TrimPolicy()
    while not stop.wait(interval):
        usage = heap.usage()
        if policy.should_trim(usage):
            heap.trim()
            policy.on_trimmed(usage, heap.usage())
