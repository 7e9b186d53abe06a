"""`asectl init`, as a user runs it."""

from pathlib import Path

import pytest

from tests.harness import run_asectl


def test_files_of_the_starter_are_written_and_serve(tmp_path: Path) -> None:
    result = run_asectl("init", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith("ase.yaml\nwrapper.py\n\nNext:\n")
    assert run_asectl("config", "check", cwd=tmp_path).returncode == 0
    schema = run_asectl("loader", "schema", "wrapper.py", cwd=tmp_path)
    assert schema.returncode == 0, schema.stderr
    assert '"words"' in schema.stdout


@pytest.mark.parametrize("name", ["compose", "helm", "systemd"])
def test_each_set_is_written_to_a_new_folder(name: str, tmp_path: Path) -> None:
    result = run_asectl("init", f"--{name}", "deep/er", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    written, _, steps = result.stdout.partition("\n\n")
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == set(written.split("\n"))
    assert steps.startswith("Next, in deep/er:\n  ")


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "wrapper.py").write_text("mine")
    result = run_asectl("init", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr == (
        f"asectl: wrapper.py exists in {tmp_path}, and nothing was written: name another folder, "
        "or move them away\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["wrapper.py"]
    assert (tmp_path / "wrapper.py").read_text() == "mine"


def test_one_set_at_a_time(tmp_path: Path) -> None:
    result = run_asectl("init", "--helm", "--compose", str(tmp_path))
    assert result.returncode == 2
    assert "not allowed with" in result.stderr


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run_asectl("init", str(tmp_path / "file"))
    assert result.returncode == 1
    assert str(tmp_path / "file") in result.stderr
    assert "Traceback" not in result.stderr
