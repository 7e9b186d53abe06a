"""`asectl loader test` and `loader build`, as an author uses them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT, Hub, Loader, free_port, run_asectl

WRAPPER = '''\
from aseloader import Refused, service


@service("shout", total=2)
def shout(text: str, mark: str = "!") -> str:
    """Shout."""
    if not text.strip():
        raise Refused("nothing to shout")
    return text.upper() + mark
'''
CASES = """\
cases:
  - name: a word
    inputs: {text: hello}
    outputs: {result: HELLO!}
  - name: another mark
    parameters: {mark: "?"}
    inputs: {text: {file: word.txt}}
    outputs: {result: {file: golden/word.txt}}
  - name: nothing
    inputs: {text: " "}
    error: 10107
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wrapper.py").write_text(WRAPPER)
    (tmp_path / "cases.yaml").write_text(CASES)
    (tmp_path / "word.txt").write_text("from a file")
    return tmp_path


def test_cases_run_here_and_golden_files_are_written(folder: Path) -> None:
    result = run_asectl("loader", "test", "wrapper.py:shout", cwd=folder)
    assert result.returncode == 1
    assert "FAILED  another mark" in result.stdout
    assert "golden/word.txt: No such file or directory; --update writes it" in result.stdout
    assert result.stdout.splitlines()[-1] == "3 cases, 1 failed"
    result = run_asectl("loader", "test", "wrapper.py:shout", "--update", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (folder / "golden/word.txt").read_text() == "FROM A FILE?"
    result = run_asectl("loader", "test", "wrapper.py:shout", "-o", "json", cwd=folder)
    assert result.returncode == 0
    assert [row["passed"] for row in json.loads(result.stdout)] == [True] * 3


def test_the_same_cases_run_at_a_loader(folder: Path) -> None:
    (folder / "golden").mkdir()
    (folder / "golden/word.txt").write_text("FROM A FILE?")
    wrapper = f"{folder}/wrapper.py:shout"
    with Hub() as hub, Loader(hub.lb, wrapper) as loader:
        result = run_asectl("loader", "test", wrapper, "--loader", loader.addr)
        assert result.returncode == 0, result.stdout + result.stderr
    result = run_asectl("loader", "test", wrapper, "--loader", "127.0.0.1:1")
    assert result.returncode == 4
    assert "127.0.0.1:1: UNAVAILABLE" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("wrapper.py:shout", "--cases", "none.yaml"), 3, "none.yaml: No such file"),
        (("none.py:shout",), 1, "none.py"),
        (("wrapper.py:shout", "--set", "x"), 2, "must be KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    result = run_asectl("loader", "test", *args, cwd=folder)
    assert result.returncode == code
    assert message in result.stderr


def test_invalid_cases_are_shown_with_their_place(folder: Path) -> None:
    (folder / "cases.yaml").write_text("cases: [{name: a, error: 1, input: {}}]")
    result = run_asectl("loader", "test", "wrapper.py:shout", cwd=folder)
    assert result.returncode == 3
    assert "cases.yaml:1:29: error: unknown key 'input'" in result.stderr


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ("loader", "build", "wrapper.py:shout", "--no-image")
    return run_asectl(*command, cwd=folder, timeout=180)


def test_an_image_folder_has_all_that_the_image_needs(folder: Path) -> None:
    (folder / "requirements.txt").write_text("httpx  # any version\n")
    result = run_asectl(
        "loader", "build", "wrapper.py:shout", "--no-image", cwd=folder, timeout=180
    )
    assert result.returncode == 0, result.stderr
    image = folder / "image"
    names = {path.name for path in image.iterdir()}
    wheel = next(name for name in names if name.endswith(".whl"))
    assert {"Dockerfile", "wrapper.py", "requirements.lock", "cases.yaml"} <= names
    dockerfile = (image / "Dockerfile").read_text()
    assert f"COPY {wheel} ." in dockerfile
    assert "pip install --no-cache-dir -r requirements.lock" in dockerfile
    locked = (image / "requirements.lock").read_text().splitlines()
    assert {line.partition("==")[0] for line in locked} >= {"httpx", "httpcore", "certifi"}
    assert (
        "--force writes over it"
        in run_asectl("loader", "build", "wrapper.py:shout", "--no-image", cwd=folder).stderr
    )


def test_what_is_not_installed_cannot_be_locked(folder: Path) -> None:
    (folder / "requirements.txt").write_text("no-such-package-of-ours>=1\n")
    result = run_asectl(
        "loader", "build", "wrapper.py:shout", "--no-image", cwd=folder, timeout=180
    )
    assert result.returncode == 1
    assert "no-such-package-of-ours is not installed here" in result.stderr


PODMAN = """\
#!/bin/sh
# Stands for podman where no container can run: the loader runs beside, as the image would run it.
case "$1" in
  info) exit 0 ;;
  run) echo "$@" > {folder}/run.log
       PYTHONPATH={root} {python} -m asectl loader run {folder}/wrapper.py:shout --lb "" \\
           --port {port} > {folder}/loader.log 2>&1 &
       echo $! > {folder}/pid; echo container-1 ;;
  port) echo 127.0.0.1:{port} ;;
  logs) cat {folder}/loader.log ;;
  rm) kill "$(cat {folder}/pid)" ;;
esac
"""


def test_the_same_cases_run_at_an_image(folder: Path) -> None:
    (folder / "golden").mkdir()
    (folder / "golden/word.txt").write_text("FROM A FILE?")
    program = folder / "bin/podman"
    program.parent.mkdir()
    program.write_text(
        PODMAN.format(folder=folder, root=ROOT, python=sys.executable, port=free_port())
    )
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{program.parent}:/usr/bin:/bin"}
    command = ("loader", "test", "wrapper.py:shout", "--image", "shout", "--set", "a=b")
    result = run_asectl(*command, cwd=folder, environ=environ)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "--publish 127.0.0.1::8240/tcp shout --lb" in (folder / "run.log").read_text()
    pid = int((folder / "pid").read_text())
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        pass  # it was told to end
