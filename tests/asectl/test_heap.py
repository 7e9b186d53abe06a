"""Memory of a burst goes back to the system, though small objects lie behind it."""

import ctypes
import gc
import threading
import time

import pytest

from asectl.heap import GnuHeap, HeapUsage, TrimPolicy, freeze_objects, trim_regularly

MIB = 1 << 20
PATIENCE_S = 30.0


@pytest.mark.parametrize(
    ("usages", "trims"),
    [
        ([HeapUsage(60 * MIB, 55 * MIB)], [False]),
        ([HeapUsage(330 * MIB, 310 * MIB)], [True]),
        # What a trim leaves is not trimmed again, until as much is unused beyond it.
        ([HeapUsage(80 * MIB, 40 * MIB)] * 3, [True, False, False]),
        ([HeapUsage(80 * MIB, 40 * MIB), HeapUsage(97 * MIB, 40 * MIB)], [True, True]),
        # Memory that Python gave back itself is available again.
        (
            [HeapUsage(80 * MIB, 40 * MIB), HeapUsage(50 * MIB, 45 * MIB), HeapUsage(
                65 * MIB, 40 * MIB
            )],
            [True, False, True],
        ),
    ],
    ids=["little unused", "burst freed", "untrimmable", "more beyond it", "untrimmable shrank"],
)  # fmt: skip
def test_trim_is_due_when_it_gains_something(usages: list[HeapUsage], trims: list[bool]) -> None:
    policy = TrimPolicy(16 * MIB)
    decisions = []
    for usage in usages:
        decisions.append(policy.should_trim(usage))
        if decisions[-1]:
            policy.on_trimmed(usage, usage)
    assert decisions == trims


def test_what_is_freed_during_a_trim_is_trimmed_next() -> None:
    policy = TrimPolicy(16 * MIB)
    before, after = HeapUsage(300 * MIB, 200 * MIB), HeapUsage(210 * MIB, 40 * MIB)
    assert policy.should_trim(before)
    policy.on_trimmed(before, after)
    assert policy.should_trim(after)


def fragment_heap(size: int) -> list[int]:
    """Allocate blocks of 64 KiB, and free them but each 64th; return the addresses that are left.

    The C library can give nothing back by itself: the last block is in use.
    """
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    blocks = []
    for _ in range(size // 65536):
        blocks.append(library.malloc(ctypes.c_size_t(65536 - 16)))
        ctypes.memset(blocks[-1], 1, 65536 - 16)
    for index, block in enumerate(blocks[:-1]):
        if index % 64:
            library.free(ctypes.c_void_p(block))
    return [*blocks[:-1:64], blocks[-1]]


def test_freed_blocks_return_to_the_system() -> None:
    heap = GnuHeap()
    with trim_regularly(interval=0.01):
        before = heap.usage()
        kept = fragment_heap(128 * MIB)
        deadline = time.monotonic() + PATIENCE_S
        while heap.usage().resident > before.resident + 32 * MIB:
            assert time.monotonic() < deadline, f"{heap.usage()} is kept, before {before}"
            threading.Event().wait(0.01)
    library = ctypes.CDLL(None)
    for block in kept:
        library.free(ctypes.c_void_p(block))


def test_nothing_runs_where_the_heap_cannot_be_trimmed() -> None:
    def no_heap() -> GnuHeap:
        raise OSError("no such function")

    threads = threading.active_count()
    with trim_regularly(0.01, no_heap):
        assert threading.active_count() == threads


def test_what_is_frozen_is_not_collected_again() -> None:
    alive: list[object] = [[]]
    assert any(item is alive for item in gc.get_objects())
    try:
        freeze_objects()
        assert not any(item is alive for item in gc.get_objects())
    finally:
        gc.unfreeze()
