"""Plays the loss of power of a machine: what a killed process had not synced is undone.

`kill -9` alone loses nothing that was written, since the kernel has it. `unsynced.c` remembers what
was overwritten since the last sync of each file.
"""

import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct("<cIQQI")
_SOURCE = Path(__file__).with_name("unsynced.c")


@dataclass(frozen=True, slots=True)
class _Record:
    kind: bytes
    path: str
    offset: int
    size: int
    old: bytes


def build_recorder(folder: Path) -> Path:
    """Compile the recorder and return the library to preload. Raises CalledProcessError."""
    library = folder / "unsynced.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run([*command, "-lpthread"], check=True)
    return library


def recorder_environment(
    library: Path, folder: Path, journal: Path, *, ignores_syncs: bool
) -> dict[str, str]:
    """Return the variables of a process whose writes below `folder` are recorded.

    `ignores_syncs` takes the syncs out of it.
    """
    environ = {
        "LD_PRELOAD": str(library),
        "UNSYNCED_FOLDER": str(folder.resolve()),
        "UNSYNCED_JOURNAL": str(journal),
    }
    return environ | ({"UNSYNCED_IGNORE": "1"} if ignores_syncs else {})


def lose_unsynced(journal: Path) -> int:
    """Undo what a dead process had not synced; return how many writes. The journal is used up."""
    records = list(_read(journal.read_bytes())) if journal.exists() else []
    lost, synced = 0, set()
    for record in reversed(records):
        if record.kind == b"s":
            synced.add(record.path)
        elif record.path not in synced and Path(record.path).exists():
            _restore(record)
            lost += 1
    journal.unlink(missing_ok=True)
    return lost


def _read(data: bytes) -> Iterator[_Record]:
    """Yield the records; the last one may be cut short by the kill, its write was not done."""
    at = 0
    while at + _HEAD.size <= len(data):
        kind, path_length, offset, size, old_length = _HEAD.unpack_from(data, at)
        path_at = at + _HEAD.size
        end = path_at + path_length + old_length
        if end > len(data):
            return
        old_at = path_at + path_length
        yield _Record(kind, data[path_at:old_at].decode(), offset, size, data[old_at:end])
        at = end


def _restore(record: _Record) -> None:
    descriptor = os.open(record.path, os.O_RDWR)
    try:
        if record.old:
            os.pwrite(descriptor, record.old, record.offset)
        os.ftruncate(descriptor, record.size)
    finally:
        os.close(descriptor)
