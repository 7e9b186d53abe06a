"""Shimlets and pipelines of other packages: found by their entry points."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT

MODULE = """\
from deploy.engine.pipeline import pipeline
from tests.deploy.fake_shimlet import FakeShimlet

mine = pipeline("mine").step(lambda context: None, name="nothing")
"""
LIST = """\
from pathlib import Path
from deploy.pipelines.catalog import load_pipelines
from deploy.shimlets.catalog import load_shimlets
print(*load_shimlets({}), *sorted(load_pipelines("mine", Path())[0]))
"""


def list_plugins(folder: Path, shimlet: str) -> subprocess.CompletedProcess[str]:
    info = folder / "other-1.0.dist-info"
    info.mkdir()
    (folder / "other.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[athena_serving.shimlets]\nfake = {shimlet}\n"
        "[athena_serving.pipelines]\nmine = other:mine\n"
    )
    environ = {"PYTHONPATH": f"{folder}:{ROOT}"}
    command = [sys.executable, "-c", LIST]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_they_are_found_by_name(tmp_path: Path) -> None:
    result = list_plugins(tmp_path, "other:FakeShimlet")
    assert result.stdout.split() == ["fake", "edge", "mine", "opensourcellm", "wrapper"]


@pytest.mark.parametrize("shimlet", ["other:none", "missing:X"])
def test_one_that_cannot_be_loaded_is_named(tmp_path: Path, shimlet: str) -> None:
    result = list_plugins(tmp_path, shimlet)
    assert f"ShimletLoadError: shimlet fake of {shimlet}: " in result.stderr
