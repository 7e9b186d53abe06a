"""What a command does is shown on a terminal, if it takes more than a second, and nowhere else."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest

_PROGRAM = """
import sys, time
from asectl.progress import progress
with progress(lambda: "counting sheep"):
    time.sleep(float(sys.argv[1]))
print("done")
"""


def output(seconds: float, term: str | None = "xterm") -> str:
    """Return what a command of so many seconds writes to a terminal."""
    env = {name: value for name, value in os.environ.items() if name != "TERM"}
    if term is not None:
        env["TERM"] = term
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(seconds)],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env=env,
    )
    os.close(terminal)
    data, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline and select.select([controller], [], [], 30)[0]:
        try:
            data += os.read(controller, 4096)
        except OSError:  # the terminal has no process any more
            break
    os.close(controller)
    assert process.wait(30) == 0
    return data.decode()


def test_line_is_shown_after_a_second_and_erased_at_the_end() -> None:
    text = output(1.6)
    assert "\r\x1b[Kcounting sheep, 1 s" in text
    assert text.endswith("\r\x1b[K")


def test_nothing_is_shown_before() -> None:
    assert output(0.1) == ""


@pytest.mark.parametrize("term", ["dumb", "", None])
def test_nothing_is_shown_on_a_terminal_that_cannot_erase(term: str | None) -> None:
    assert output(1.2, term) == ""


def test_nothing_is_shown_in_a_pipe() -> None:
    command = [sys.executable, "-c", _PROGRAM, "1.2"]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""
