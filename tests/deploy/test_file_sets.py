"""The sets of files, against the folders of the package."""

from importlib import resources
from pathlib import Path

import pytest

from deploy.file_sets import FILE_SETS, FileSet, list_files

PACKAGE = resources.files("deploy")


def test_folder_and_file_are_put_where_the_set_says(tmp_path: Path) -> None:
    (tmp_path / "a/b/__pycache__").mkdir(parents=True)
    (tmp_path / "a/b/__pycache__/x.pyc").write_text("x")
    (tmp_path / "a/b/one.txt").write_text("one")
    (tmp_path / "a/two.txt").write_text("two")
    (tmp_path / "three.txt").write_text("three")
    file_set = FileSet((("a", ""), ("a/b", "copy"), ("three.txt", "d/e.txt")), ())
    assert list_files(file_set, tmp_path) == {
        "b/one.txt": b"one",
        "two.txt": b"two",
        "copy/one.txt": b"one",
        "d/e.txt": b"three",
    }


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("starter", {"ase.yaml", "wrapper.py"}),
        ("compose", {"compose.yaml", "ase.yaml", "kong.yaml", "observability/alerts.yaml"}),
        ("helm", {"athena-serving/Chart.yaml", "athena-serving/files/alerts.yaml"}),
        ("systemd", {"README.md", "athena-gateway.service", "athena-gateway.socket"}),
    ],
)
def test_each_set_has_its_files(name: str, files: set[str]) -> None:
    assert files <= set(list_files(FILE_SETS[name], PACKAGE))
