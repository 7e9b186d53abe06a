"""A child process of `asectl up`: its command, its log on stderr, its end."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

_MAX_LINE_BYTES = 1024 * 1024
_LAST_LINES_S = 1.0  # for the output that an ended process has left in the pipe


class Child:
    """A running `asectl` command, as a child process that ends with this one.

    `exited` is set once it has exited and its output has been read; `exit_code` is valid then.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.exited = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, name: str, command: list[str], on_line: "Callable[[Child, str], None]"
    ) -> "Child":
        """Start `asectl` with `command`; call `on_line` with each line of its stderr."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "asectl",
            *command,
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C signals this process alone, which stops them in order
        )
        child = cls(name, process)
        child._following = asyncio.create_task(child._follow(on_line))
        return child

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    @property
    def exit_code(self) -> int:
        """Return the exit code, negative for a signal; 0 while it runs."""
        return self.process.returncode or 0

    def stop(self) -> None:
        """Ask it to finish its requests and end, by closing its stdin."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    async def wait(self, timeout: float) -> bool:
        """Wait for its end; kill it after `timeout` seconds. Return False if it was killed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.exited.wait()
                return True
        self._kill_group()
        await self.exited.wait()
        return False

    async def _follow(self, on_line: "Callable[[Child, str], None]") -> None:
        """Read its output until its end, then end what it has started and left running."""
        reading = asyncio.create_task(self._read_output(on_line))
        try:
            await self.process.wait()
            self._kill_group()
            await asyncio.wait((reading,), timeout=_LAST_LINES_S)
        finally:
            reading.cancel()
            self.exited.set()

    async def _read_output(self, on_line: "Callable[[Child, str], None]") -> None:
        stderr = self.process.stderr
        assert stderr is not None  # noqa: S101 (it is a pipe)
        async for line in _read_lines(stderr):
            try:
                on_line(self, line)
            except Exception:  # noqa: BLE001 (unread, the pipe would fill and the child stand still)
                traceback.print_exc()

    def _kill_group(self) -> None:
        """Kill it and its descendants; it leads a process group of its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def parse_log_line(line: str) -> dict[str, Any] | None:
    """Return the fields of a JSON log line; None for other output, such as a wrapper prints."""
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        names = ("time", "level", "logger", "message")
        if isinstance(record, dict) and all(isinstance(record.get(n), str) for n in names):
            return record
    return None


async def _read_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield the lines that are not blank.

    A carriage return ends a line too (progress bars). A line longer than 1 MiB is split.
    """
    rest = b""
    while chunk := await stream.read(65536):
        *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        lines, rest = ([*lines, rest], b"") if len(rest) > _MAX_LINE_BYTES else (lines, rest)
        for line in lines:
            if line.strip():
                yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")
