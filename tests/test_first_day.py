"""An operator's first day, in docs/first-day.md: each command runs, and prints what is shown."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import pytest

from tests.harness import ROOT, TIMEOUT_S, free_port

PAGE = ROOT / "docs" / "first-day.md"
# The ports of the page; here each is a free one.
PORTS = ("8200", "8220", "8240", "8241", "8290", "8291", "8300", "8390")
DEFAULT_PORTS = {
    "ASE_GATEWAY_ADMIN_PORT": "8290",
    "ASE_LB_PORT": "8220",
    "ASE_LB_ADMIN_PORT": "8291",
}
# Commands that ask a default port, unless `--url` names another.
DEFAULT_URLS = {"call": "8200", "explain|eject|lb state|reload|upgrade": "8290"}
# What depends on the machine, or on whether the product is compiled.
MACHINE = re.compile(r"^(?:(?:ok|warn) +(?:compiled|open files)| {10,}|\d+ checks)")


class Shell:
    """A bash in a folder, as an operator has one."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # All that it started, and what replaced it, is in its process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, command: str) -> list[str]:
        """Return what a command prints. One that does not end is killed, and the test fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho; echo END\n")
        self._process.stdin.flush()
        timer = threading.Timer(2 * TIMEOUT_S, os.killpg, (self._process.pid, signal.SIGKILL))
        timer.start()
        output = []
        try:
            while (line := self._process.stdout.readline()) != "END\n":
                assert line, f"{command}: does not end; it printed {output}"
                output.append(line.rstrip())
        finally:
            timer.cancel()
        return [line for line in output if line]


def shape(lines: list[str]) -> set[str]:
    """Return the lines without what differs from run to run: numbers, ids, ages, blanks."""
    return {re.sub(r"\s+", " ", _NUMBERS.sub("N", line)).strip() for line in lines}


_NUMBERS = re.compile(
    r"\b[0-9a-f]{32}\b|\bk[0-9a-z]{9}\b|\d[\d:.T+-]*(?:ms|s|m|h)?\b|\b(?:yes|no)\b"
)


@pytest.mark.unmeasured
@pytest.mark.peer("curl")
def test_first_day_runs_as_it_stands(tmp_path: Path) -> None:
    ports = {port: str(free_port()) for port in PORTS}

    env = {
        **os.environ,
        **{name: ports[port] for name, port in DEFAULT_PORTS.items()},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    blocks = re.findall(r"```(console|yaml)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with Shell(tmp_path, env) as shell:
        for kind, block in blocks:
            if kind == "yaml":
                (tmp_path / "ase.yaml").write_text(localize(block, ports))
                continue
            for command, expected in re.findall(r"\$ (.*)\n((?:(?!\$ ).*\n)*)", block):
                run_as_written(shell, command, expected.splitlines(), ports)


def localize(text: str, ports: dict[str, str]) -> str:
    """Return the text with these ports instead of those of the page."""
    return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: ports[match[1]], text)


def run_as_written(shell: Shell, command: str, expected: list[str], ports: dict[str, str]) -> None:
    """Run a command of the page at these ports; what it prints is what the page shows."""
    local = localize(command, ports)
    local = re.sub(r"\basectl loader run\b", rf"\g<0> --lb 127.0.0.1:{ports['8220']}", local)
    if "--url" not in local:
        for names, port in DEFAULT_URLS.items():
            url = f"http://127.0.0.1:{ports[port]}"
            local = re.sub(rf"\basectl ({names})\b", rf"asectl \1 --url {url}", local)
    output = [line for line in shell.run(local) if not MACHINE.match(line)]
    wanted = [line for line in expected if line and not MACHINE.match(line)]
    assert shape(output) == shape(wanted), command
    if "uniq -c" in command or "grep -c" in command:
        assert output == wanted, command
