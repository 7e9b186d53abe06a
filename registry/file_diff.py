"""What differs between the files of two releases. Pure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from registry.records import Files


@dataclass(frozen=True, slots=True)
class FileDiff:
    """A file that differs. `change` is added, removed or changed.

    `lines` are those of a unified diff, empty for a file that is no text.
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
    try:
        old_lines, new_lines = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        return []
    return list(
        difflib.unified_diff(old_lines, new_lines, f"a/{file}", f"b/{file}", n=3, lineterm="")
    )
