"""What differs between the files of two releases. Pure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.records import Files

# The time of a diff grows with the square of the lines; of a larger file only the name is told.
_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class FileDiff:
    """A file that differs. `change` is added, removed or changed.

    `lines` are those of a unified diff, empty for a file that is no text, or large.
    """

    file: str
    change: str
    lines: list[str]


def diff_files(old: Files, new: Files, contents: Mapping[str, bytes]) -> list[FileDiff]:
    """Return the files that differ, ordered by name; `contents` are by digest."""
    diffs = []
    for file in sorted({*old, *new}):
        before, after = old.get(file), new.get(file)
        if before == after:
            continue
        change = "added" if before is None else "removed" if after is None else "changed"
        texts = [contents[ref.digest] if ref is not None else b"" for ref in (before, after)]
        diffs.append(FileDiff(file, change, _unified_diff(file, *texts)))
    return diffs


def _unified_diff(file: str, before: bytes, after: bytes) -> list[str]:
    if max(len(before), len(after)) > _MAX_BYTES:
        return []
    try:
        old_lines, new_lines = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        return []
    return list(
        difflib.unified_diff(old_lines, new_lines, f"a/{file}", f"b/{file}", n=3, lineterm="")
    )
