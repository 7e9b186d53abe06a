"""Processes of the product that start in milliseconds: forks of one that has imported it already.

`asectl gateway` needs most of a second of CPU to import its modules. A fork server imports them
once per test worker and forks for each process that a test starts. Such a process has its own pid,
signals, descriptors, environment and exit code; only its imports are shared. Tests of start-up
itself run `python -m asectl`.
"""

import contextlib
import gc
import importlib
import json
import os
import queue
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from coverage import Coverage

ROOT = Path(__file__).parent.parent
_MODULES = (
    "aseloader", "aseloader.run", "asectl.api", "asectl.call", "asectl.gateway", "asectl.main",
    "gateway.server", "gateway.workers", "httpx", "lb.hub.service", "uvloop",
    "uvicorn.protocols.http.httptools_impl",
)  # fmt: skip
_MAX_MESSAGE = 1 << 20
# `coverage` puts its configuration here; a process that finds it measures itself.
COVERAGE_CONFIG = "COVERAGE_PROCESS_CONFIG"
# The configuration if the tests run under `coverage`. A test may remove it from the environment.
_COVERAGE = {name: os.environ[name] for name in (COVERAGE_CONFIG,) if name in os.environ}


class ForkedProcess:
    """A process that the fork server started; the part of `subprocess.Popen` that tests use.

    `is_measured`: it runs under `coverage`, and saves what it ran when it exits or gets SIGUSR1.
    """

    def __init__(self, pid: int, exit_code: "Future[int]", is_measured: bool) -> None:
        self.pid = pid
        self.is_measured = is_measured
        self._exit_code = exit_code

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._exit_code.result() if self._exit_code.done() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code, -N if signal N ended it. Raises TimeoutError."""
        return self._exit_code.result(timeout)

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The client of the fork server: it starts processes and receives their exit codes."""

    def __init__(self) -> None:
        self._control, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with server_end:
            descriptor = server_end.fileno()
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.prefork", str(descriptor)],
                cwd=ROOT,
                env={**os.environ, **_COVERAGE},
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._start_lock = threading.Lock()
        self._started: queue.Queue[ForkedProcess | None] = queue.Queue()
        threading.Thread(target=self._receive, daemon=True).start()

    def start(
        self, args: list[str], cwd: Path, env: dict[str, str], stdin: int, stdout: int, stderr: int
    ) -> ForkedProcess:
        """Run `asectl` with `args` in a process whose standard streams are these descriptors."""
        is_measured = COVERAGE_CONFIG in os.environ
        message = {"args": args, "cwd": str(cwd), "env": env, "is_measured": is_measured}
        request = json.dumps(message).encode()
        with self._start_lock:
            socket.send_fds(self._control, [request], [stdin, stdout, stderr])
            process = self._started.get()
        if process is None:
            raise AssertionError("the fork server has ended; its error is on stderr")
        return process

    def _receive(self) -> None:
        exit_codes: dict[int, Future[int]] = {}
        while data := self._control.recv(_MAX_MESSAGE):
            message = json.loads(data)
            pid = message["pid"]
            if "exit_code" in message:
                exit_codes.pop(pid).set_result(message["exit_code"])
            else:
                exit_codes[pid] = Future()
                process = ForkedProcess(pid, exit_codes[pid], message["is_measured"])
                self._started.put(process)
        self._started.put(None)


def _serve(control: socket.socket) -> list[str]:
    """Fork for each request until the client has gone. Returns in a child only: its arguments."""
    wakeup_read, wakeup_write = os.pipe()
    os.set_blocking(wakeup_read, False)
    os.set_blocking(wakeup_write, False)
    signal.set_wakeup_fd(wakeup_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wakeup_read, selectors.EVENT_READ)
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if wakeup_read in ready:
            os.read(wakeup_read, 4096)
            _report_exits(control)
        if control not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, _MAX_MESSAGE, 3)
        if not data:
            os._exit(0)
        request = json.loads(data)
        pid = os.fork()
        if pid == 0:
            selector.close()
            control.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A shell starts what runs in its background with SIGINT ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.close(wakeup_read)
            os.close(wakeup_write)
            _set_up_child(request, descriptors)
            return list(request["args"])
        for descriptor in descriptors:
            os.close(descriptor)
        started = {"pid": pid, "is_measured": request["is_measured"]}
        control.send(json.dumps(started).encode())


def _report_exits(control: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            exit_code = os.waitstatus_to_exitcode(status)
            control.send(json.dumps({"pid": pid, "exit_code": exit_code}).encode())


def _set_up_child(request: dict[str, Any], descriptors: list[int]) -> None:
    """Set what `python -m asectl` would have had from the start."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    if not sys.flags.safe_path:
        sys.path[0] = request["cwd"]
    coverage = Coverage.current()
    if request["is_measured"]:
        # What a process ran is written when it exits, which a killed one does not.
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(128 + signal.SIGUSR1))
    elif coverage is not None:
        coverage.stop()


def main() -> None:
    """Import the product, then fork; in a child, run `asectl`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for module in _MODULES:
        importlib.import_module(module)
    coverage = Coverage.current()
    if coverage is not None:  # What the imports ran is written here, and by no child again.
        coverage.stop()
        coverage.save()
        coverage.start()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork copies one thread alone"
    gc.collect()
    gc.freeze()
    sys.argv[1:] = _serve(control)
    runpy.run_module("asectl", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
