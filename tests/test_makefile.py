"""`make install` with the Python that a machine has: too old, missing, right after a wrong one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

# Stands for a Python: it has a version, and makes an environment whose pip installs nothing.
FAKE_PYTHON = """#!/bin/sh
case "$1" in
    --version) echo "Python {version}" ;;
    -c) exit {is_new} ;;
    -m) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/pip ;;
esac
"""


def write_python(path: Path, version: str) -> Path:
    is_new = int(int(version.split(".")[1]) >= 11)
    path.write_text(FAKE_PYTHON.format(version=version, is_new=is_new))
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make_install(checkout: Path, python: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", f"PYTHON={python}", "install"],
        cwd=checkout, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("version", ["3.9.18", "3.10.1"])
def test_python_that_is_too_old_is_named_with_the_cure(checkout: Path, version: str) -> None:
    old = write_python(checkout / "old", version)
    result = make_install(checkout, str(old))
    assert result.returncode != 0
    cure = "name 3.11 or later: make PYTHON=python3.11 install"
    assert f"Python {version} is too old; {cure}" in result.stdout
    assert not (checkout / ".venv").exists()


def test_missing_python_is_named_with_the_cure(checkout: Path) -> None:
    result = make_install(checkout, "no-such-python")
    assert result.returncode != 0
    assert "there is no no-such-python; name Python 3.11 or later" in result.stdout


@pytest.mark.parametrize("broken", [False, True], ids=["of an old Python", "half-made"])
def test_environment_of_a_wrong_python_is_made_again(checkout: Path, broken: bool) -> None:
    bin_folder = checkout / ".venv/bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "leftover").touch()
    if not broken:
        for name in ("python", "pip"):
            write_python(bin_folder / name, "3.9.18")
    new = write_python(checkout / "new", "3.12.0")
    result = make_install(checkout, str(new))
    assert result.returncode == 0, result.stderr
    assert (checkout / ".venv/.installed").exists()
    assert not (bin_folder / "leftover").exists()


def test_right_environment_is_kept(checkout: Path) -> None:
    new = write_python(checkout / "new", "3.11.2")
    assert make_install(checkout, str(new)).returncode == 0
    (checkout / ".venv/kept").touch()
    (checkout / ".venv/.installed").unlink()
    assert make_install(checkout, str(new)).returncode == 0
    assert (checkout / ".venv/kept").exists()
