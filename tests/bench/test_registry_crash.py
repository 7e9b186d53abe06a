"""The check of killed registries finds losses where there are some, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.registry import crash
from bench.registry.power_loss import build_recorder, lose_unsynced, recorder_environment

pytestmark = pytest.mark.peer("cc")


def test_kills_lose_no_acknowledged_release() -> None:
    result = crash.run(3, "sqlite", syncs=True)
    assert result["kills"] == 3
    assert result["acknowledged"] > 0
    assert (result["lost"], result["half"]) == ([], [])


def test_without_its_syncs_the_store_loses_releases() -> None:
    assert crash.run(3, "sqlite", syncs=False)["lost"]


def test_what_was_not_synced_is_undone(tmp_path: Path) -> None:
    library, journal = build_recorder(tmp_path), tmp_path / "journal"
    folder = tmp_path / "data"
    folder.mkdir()
    script = f"""
import os
fd = os.open("{folder}/file", os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"synced", 0)
os.fsync(fd)
os.pwrite(fd, b"LOST", 1)
os.pwrite(fd, b"more", 6)
os.ftruncate(fd, 2)
other = os.open("{folder}/other", os.O_RDWR | os.O_CREAT)
os.pwrite(other, b"kept", 0)
os.fdatasync(other)
"""
    environ = recorder_environment(library, folder, journal, ignores_syncs=False)
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, **environ})
    assert (folder / "file").read_bytes() == b"sL"
    assert lose_unsynced(journal) == 3
    assert (folder / "file").read_bytes() == b"synced"
    assert (folder / "other").read_bytes() == b"kept"
