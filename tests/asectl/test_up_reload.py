"""`asectl up` keeps loaders running: a crash, a change of the source, a change that breaks it."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from asectl.source_watch import changed_files, take_snapshot
from tests.harness import TIMEOUT_S, Process, run_asectl

SOURCE = """from aseloader import service


@service("greet")
def greet(text: str) -> str:
    return "GREETING " + text
"""


def write(folder: Path, greeting: str) -> Path:
    path = folder / "greeting.py"
    path.write_text(SOURCE.replace("GREETING", greeting), encoding="utf-8")
    return path


def call(running: Process, folder: Path) -> str:
    url = running.wait_for_output("gateway  http").split()[1]
    (folder / "name").write_text("you", encoding="utf-8")
    arguments = ("call", "greet", "--url", url, "--file", str(folder / "name"))
    return run_asectl(*arguments).stdout


def wait_for_answer(running: Process, folder: Path, part: str) -> None:
    """Call until an answer has `part`: the loader before serves until it has been told to stop."""
    deadline = time.monotonic() + TIMEOUT_S
    while part not in (answer := call(running, folder)):
        assert time.monotonic() < deadline, answer


def wait_for_new_line(running: Process, act: Callable[[], object], part: str) -> str:
    """Return the first line with `part` that is printed after `act` began."""
    count = len(running.output)
    act()
    return running._wait(
        lambda: next((line for line in running.output[count:] if part in line), None), part
    )


def test_crashed_loader_is_started_again(tmp_path: Path) -> None:
    path = write(tmp_path, "hello")
    with Process("up", str(path), "--each", "1", "--port", "0") as running:
        joined = running.wait_for_output("joined (pid")
        match = re.search(r"pid (\d+)", joined)
        assert match is not None
        pid = int(match[1])
        again = wait_for_new_line(running, lambda: os.kill(pid, signal.SIGKILL), "joined (pid")
        assert f"(pid {pid})" not in again
        assert running.wait_for_output("killed by signal 9").startswith("greeting-1")
        running.wait_for_output("greeting-1 starts again in ")
        assert "hello you" in call(running, tmp_path)
        assert running.stop() == 0


def test_loader_that_never_joined_is_not_started_again(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_that_name\n", encoding="utf-8")
    with Process("up", str(path), "--each", "1", "--port", "0") as running:
        assert running.wait_for_exit() == 1
        assert not any("starts again" in line for line in running.output)
        assert "no loader is left" in running.output


def test_reload_replaces_loaders_and_keeps_them_if_the_source_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path, "hello")
    with Process("up", str(path), "--each", "2", "--port", "0", "--reload") as running:
        running.wait_for_output("Ctrl-C ends everything")
        assert "hello you" in call(running, tmp_path)
        wait_for_new_line(running, lambda: write(tmp_path, "good day"), "greeting-2 127")
        wait_for_answer(running, tmp_path, "good day you")

        def break_it() -> None:
            path.write_text(SOURCE + "\ndef", encoding="utf-8")

        wait_for_new_line(running, break_it, "greeting-1 stays as it is; change the file again")
        assert "good day you" in call(running, tmp_path)
        wait_for_new_line(running, lambda: write(tmp_path, "bye"), "greeting-2 127")
        wait_for_answer(running, tmp_path, "bye you")
        assert running.stop() == 0


def test_a_source_that_hangs_can_be_corrected(tmp_path: Path) -> None:
    path = write(tmp_path, "hello")
    hanging = "import time\ntime.sleep(3600)\n"
    with Process("up", str(path), "--each", "1", "--port", "0", "--reload") as running:
        running.wait_for_output("Ctrl-C ends everything")

        def hang() -> None:
            path.write_text(hanging, encoding="utf-8")

        wait_for_new_line(running, hang, "greeting.py changed")
        wait_for_new_line(running, lambda: write(tmp_path, "bye"), "greeting-1 127")
        wait_for_answer(running, tmp_path, "bye you")
        assert running.stop() == 0


def test_a_subprocess_of_a_crashed_loader_does_not_hold_it(tmp_path: Path) -> None:
    path = write(tmp_path, "hello")
    source = path.read_text(encoding="utf-8")
    start = "import subprocess\nsubprocess.Popen(['sleep', '3600'])\n"
    path.write_text(f"import logging\n{start}{source}", encoding="utf-8")
    with Process("up", str(path), "--each", "1", "--port", "0") as running:
        match = re.search(r"pid (\d+)", running.wait_for_output("joined (pid"))
        assert match is not None
        pid = int(match[1])
        wait_for_new_line(running, lambda: os.kill(pid, signal.SIGKILL), "joined (pid")
        assert running.stop() == 0


def test_records_of_the_author_are_no_events(tmp_path: Path) -> None:
    path = write(tmp_path, "hello")
    source = path.read_text(encoding="utf-8")
    noise = "import logging\nlogging.warning('init runs')\nlogging.warning('listening')\n"
    path.write_text(noise + source, encoding="utf-8")
    with Process("up", str(path), "--each", "1", "--port", "0") as running:
        running.wait_for_output("Ctrl-C ends everything")
        assert "hello you" in call(running, tmp_path)


def test_snapshot_shows_changes(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.py", "sub/c.txt", ".hidden/d.py", "__pycache__/e.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x = 1\n", encoding="utf-8")
    before = take_snapshot(tmp_path)
    assert [path.name for path in sorted(before)] == ["a.py", "b.py"]
    assert changed_files(before, take_snapshot(tmp_path)) == []
    (tmp_path / "a.py").unlink()
    (tmp_path / "sub/b.py").write_text("x = 12\n", encoding="utf-8")
    (tmp_path / "new.py").touch()
    changed = changed_files(before, take_snapshot(tmp_path))
    assert [path.name for path in changed] == ["a.py", "new.py", "b.py"]
    assert take_snapshot(tmp_path / "missing") == {}
