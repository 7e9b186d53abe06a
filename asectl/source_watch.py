"""Changes of the Python files in a folder, found by their times and sizes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

_PERIOD_S = 0.5
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "venv", "site-packages"})

Snapshot = dict[Path, tuple[int, int]]


def take_snapshot(folder: Path) -> Snapshot:
    """Return (time of the last change in ns, size) of each Python file in `folder` and below it.

    Folders whose names begin with a dot, and those of installed packages, are left out.
    """
    files: Snapshot = {}
    pending = [folder]
    while pending:
        try:
            entries = list(pending.pop().iterdir())
        except OSError:  # it was removed, or may not be read
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _SKIPPED_FOLDERS:
                continue
            try:
                if entry.is_dir() and not entry.is_symlink():
                    pending.append(entry)
                elif entry.suffix == ".py":
                    stat = entry.stat()
                    files[entry] = (stat.st_mtime_ns, stat.st_size)
            except OSError:
                continue
    return files


def changed_files(before: Snapshot, after: Snapshot) -> list[Path]:
    """Return the files that are new, changed or gone, sorted."""
    paths = {*before, *after}
    return sorted(path for path in paths if before.get(path) != after.get(path))


async def watch_folder(folder: Path) -> AsyncIterator[list[Path]]:
    """Yield the changed files of a folder, each time there are some; look twice a second.

    Files that change while the caller handles the earlier changes are yielded next.
    """
    loop = asyncio.get_running_loop()
    before = await loop.run_in_executor(None, take_snapshot, folder)
    while True:
        await asyncio.sleep(_PERIOD_S)
        after = await loop.run_in_executor(None, take_snapshot, folder)
        changed = changed_files(before, after)
        before = after
        if changed:
            yield changed
