"""From the end of `pip install` to the first answer: the wheel in a bare environment.

Everything that a newcomer sees runs as printed: the demo's commands, the page at `/`.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import httpx

from bench import product

_READY = "Ctrl-C ends everything"
_TIMEOUT_S = 120.0


def run(wheel: Path | None) -> dict[str, Any]:
    """Install a wheel with the extra `demo`, and run `asectl up --demo` without a checkout.

    Without `wheel`, that is the compiled one of this checkout. Return {"install_s", "ready_s",
    "first_answer_s", "commands"}: seconds of pip, and from its end until all loaders have joined
    and until the first printed command has an answer; and the printed commands, each of which has
    run. Raises RuntimeError with the output of a step that fails.
    """
    wheel = wheel or next(product.ensure_built().glob("dist/*.whl"))
    with tempfile.TemporaryDirectory() as folder:
        started_at = time.monotonic()
        _check_output([sys.executable, "-m", "venv", "venv"], folder)
        _check_output(["venv/bin/pip", "install", "--quiet", f"{wheel.resolve()}[demo]"], folder)
        installed_at = time.monotonic()
        with _running_demo(folder) as output:
            ready_at = time.monotonic()
            commands = [line.strip() for line in output if line.startswith("  ")]
            _check_output(commands[0], folder)
            answered_at = time.monotonic()
            if not (Path(folder) / "thumbnail.png").read_bytes().startswith(b"\x89PNG"):
                raise RuntimeError(f"`{commands[0]}` brought no picture")
            for command in commands[1:]:
                _check_output(command, folder)
            _check_pages(next(line.split()[1] for line in output if line.startswith("gateway ")))
    return {
        "install_s": round(installed_at - started_at, 1),
        "ready_s": round(ready_at - installed_at, 1),
        "first_answer_s": round(answered_at - installed_at, 1),
        "commands": commands,
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [
        f"pip install took {result['install_s']} s",
        f"from its end the demo was ready after {result['ready_s']} s",
        f"and the first answer came after {result['first_answer_s']} s",
    ]
    return "\n".join([*lines, *(f"ran: {command}" for command in result["commands"])])


@contextlib.contextmanager
def _running_demo(folder: str) -> Iterator[list[str]]:
    """Run the demo until it is ready; the value is the lines of its output."""
    demo = subprocess.Popen(
        ["venv/bin/asectl", "up", "--demo", "--port", "0"],
        cwd=folder, env=_bare_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    stdout = cast("TextIO", demo.stdout)
    watchdog = threading.Timer(_TIMEOUT_S, demo.kill)
    watchdog.start()
    output: list[str] = []
    try:
        for line in stdout:
            output.append(line.rstrip("\n"))
            if _READY in line:
                break
        else:
            raise RuntimeError("the demo ended:\n" + "\n".join(output))
        threading.Thread(target=stdout.read).start()  # its pipe must not fill
        yield output
    finally:
        watchdog.cancel()
        demo.send_signal(signal.SIGINT)
        demo.wait(_TIMEOUT_S)


def _check_pages(gateway: str) -> None:
    """Fetch the page at `/` as a browser and as a program. Raises RuntimeError if one is wrong."""
    page = httpx.get(f"{gateway}/", headers={"accept": "text/html"})
    document = httpx.get(f"{gateway}/", headers={"accept": "application/json"})
    services = sorted(api["service"] for api in document.json()["apis"])
    if page.status_code != 200 or services != ["audio", "image", "vad"]:
        raise RuntimeError(f"the page at / is {page.status_code}, and names {services}")


def _check_output(command: str | list[str], folder: str) -> None:
    """Run a command in `folder`. Raises RuntimeError with its output if it fails."""
    args = command if isinstance(command, list) else shlex.split(command)
    result = subprocess.run(
        args, cwd=folder, env=_bare_environment(), capture_output=True, check=False, timeout=600
    )
    if result.returncode != 0:
        text = (result.stdout + result.stderr).decode("utf-8", "replace")
        raise RuntimeError(f"`{shlex.join(args)}` ended with {result.returncode}:\n{text}")


def _bare_environment() -> dict[str, str]:
    """Return the environment without what points to this checkout or its product."""
    return {
        name: value
        for name, value in os.environ.items()
        if not re.match(r"PYTHON|ASE_|COVERAGE|VIRTUAL_ENV", name)
    }
