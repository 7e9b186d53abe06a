"""The product as a user runs it: real processes on free ports, told apart by what they log.

Nothing sleeps to wait: a process is ready when it says so, and a test waits for log lines.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self, TextIO
from urllib.parse import urlsplit

import httpx

from tests.prefork import ForkedProcess, ForkServer

ROOT = Path(__file__).parent.parent
PROBE = "tests/wrappers/probe.py:Probe"
TIMEOUT_S = float(os.environ.get("ASE_TEST_TIMEOUT", "30"))
_SAVE_TIMEOUT_S = 5.0


@cache
def _fork_server() -> ForkServer:
    return ForkServer()


def _start(
    args: tuple[str, ...], cwd: Path, env: dict[str, str], prefix: tuple[str, ...]
) -> tuple[subprocess.Popen[bytes] | ForkedProcess, TextIO, TextIO]:
    """Start `asectl`; return the process and the read ends of its stdout and stderr."""
    (stdout_read, stdout), (stderr_read, stderr) = os.pipe(), os.pipe()
    process: subprocess.Popen[bytes] | ForkedProcess
    with Path(os.devnull).open() as stdin, os.fdopen(stdout, "wb"), os.fdopen(stderr, "wb"):
        if prefix:
            command = [*prefix, sys.executable, "-m", "asectl", *args]
            process = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr
            )
        else:
            process = _fork_server().start(list(args), cwd, env, stdin.fileno(), stdout, stderr)
    return process, os.fdopen(stdout_read), os.fdopen(stderr_read)


def run_asectl(
    *args: str,
    cwd: Path = ROOT,
    environ: dict[str, str] | None = None,
    timeout: float = 2 * TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Run `asectl` to its end; return its exit code and output. `environ` is all it gets."""
    with (
        Path(os.devnull).open() as stdin,
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
    ):
        streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
        process = _fork_server().start(
            list(args), cwd, dict(os.environ) if environ is None else environ, *streams
        )
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(args, code, stdout.read(), stderr.read())


def free_port() -> int:
    """Return a port that nothing uses, below those that the system gives away meanwhile."""
    while True:
        port = random.randrange(10_240, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Process:
    """`asectl ...` in a process of its own; its log lines as they come.

    At its end, none of the `secrets` that a test has added may be in what it has written.
    """

    def __init__(
        self,
        *args: str,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        """Start it; `prefix` is a command that runs it, such as `prlimit`."""
        self.args = args
        self.process, self._stdout, self._stderr = _start(
            args, cwd, {**os.environ, **(env or {})}, prefix
        )
        self._condition = threading.Condition()
        self.lines: list[dict[str, Any]] = []
        self.text: list[str] = []
        self.output: list[str] = []
        self.secrets: list[str] = []
        self._open_pipes = 2
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        written = [*map(json.dumps, self.lines), *self.text, *self.output]
        leaks = [line for line in written for secret in self.secrets if secret in line]
        assert not leaks, f"a secret was written: {leaks[:3]}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_event(self, message: str, **fields: Any) -> dict[str, Any]:
        """Wait for a log line with that message and those fields; return it."""

        def fits(line: dict[str, Any]) -> bool:
            return line["message"] == message and all(line.get(k) == v for k, v in fields.items())

        return self._wait(lambda: next((line for line in self.lines if fits(line)), None), message)

    def count(self, message: str, **fields: Any) -> int:
        """Return how many such lines there are now."""
        with self._condition:
            return sum(
                line["message"] == message and all(line.get(k) == v for k, v in fields.items())
                for line in self.lines
            )

    def wait_for_output(self, part: str) -> str:
        """Wait for a line on stdout that holds `part`; return it."""
        return self._wait(lambda: next((x for x in self.output if part in x), None), part)

    def wait_for_text(self, part: str) -> str:
        """Wait for a line on stderr that is not JSON and holds `part`; return it."""
        return self._wait(lambda: next((x for x in self.text if part in x), None), part)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_for_exit(self) -> int:
        """Wait for the end of the process; return its exit code."""
        code = self.process.wait(TIMEOUT_S)
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait_for_exit()

    def kill(self) -> None:
        is_measured = isinstance(self.process, ForkedProcess) and self.process.is_measured
        if self.process.poll() is None and is_measured:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGUSR1)
            with contextlib.suppress(TimeoutError):
                self.process.wait(_SAVE_TIMEOUT_S)
        if self.process.poll() is None:
            self.process.kill()
        self.wait_for_exit()
        self._stdout.close()
        self._stderr.close()

    def _wait(self, find: Callable[[], Any], description: str) -> Any:
        with self._condition:
            notified = self._condition.wait_for(
                lambda: find() is not None or not self._open_pipes, TIMEOUT_S
            )
            result = find()
        if result is None:
            reason = "ended" if notified else f"said nothing of it in {TIMEOUT_S:g} s"
            captured_output = "\n".join(
                [*self.text, *map(json.dumps, self.lines[-15:]), *self.output]
            )
            raise AssertionError(
                f"{' '.join(self.args)}: waited for {description!r}; {reason}\n{captured_output}"
            )
        return result

    def _read_log(self) -> None:
        for raw in self._stderr:
            with self._condition:
                try:
                    self.lines.append(json.loads(raw))
                except ValueError:
                    self.text.append(raw.rstrip())
                self._condition.notify_all()
        self._mark_pipe_closed()

    def _read_output(self) -> None:
        for raw in self._stdout:
            with self._condition:
                self.output.append(raw.rstrip())
                self._condition.notify_all()
        self._mark_pipe_closed()

    def _mark_pipe_closed(self) -> None:
        with self._condition:
            self._open_pipes -= 1
            self._condition.notify_all()


# Of a gateway that is not meant to start: it must not find the ports of another one.
FREE_PORTS = ("--gateway-port", "0", "--gateway-admin-port", "0", "--lb-port", "0")


class Gateway(Process):
    """A gateway on free ports, its hub inside; loaders may bring their schemas."""

    def __init__(
        self,
        *flags: str,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            "gateway",
            "--gateway-port",
            "0",
            "--gateway-admin-port",
            "0",
            "--lb-port",
            "0",
            "--lb-accept-schemas",
            "true",
            "--gateway-lame-duck",
            "0",
            *flags,
            cwd=cwd,
            env=env,
            prefix=prefix,
        )
        listening = self.wait_for_event("listening")
        self.url, self.admin, self.lb = listening["gateway"], listening["admin"], listening["lb"]
        self.grpc: str = listening["grpc"]
        self.http = httpx.Client(base_url=self.url, timeout=TIMEOUT_S, trust_env=False)

    def __exit__(self, *_: object) -> None:
        self.http.close()
        super().__exit__()

    def call(self, service: str = "probe", **parameters: Any) -> httpx.Response:
        """Ask a service that takes one text."""
        return self.post(make_envelope(service, **parameters), service)

    def post(self, envelope: Any, service: str = "probe", **request_options: Any) -> httpx.Response:
        return self.http.post(f"/v1/private/{service}", json=envelope, **request_options)

    def state(self) -> list[dict[str, Any]]:
        response_body = httpx.get(f"{self.admin}/lb/state", trust_env=False).json()
        instances: list[dict[str, Any]] = response_body["instances"]
        return instances

    def metrics(self) -> str:
        return httpx.get(f"{self.admin}/metrics", trust_env=False).text

    def wait_until_up(self, loader: "Loader") -> None:
        """Wait until a loader has joined and passed its health check."""
        self.wait_for_event("instance admitted", instance=loader.addr)


class Loader(Process):
    """A loader process on a free port."""

    def __init__(
        self, lb: str, spec: str = PROBE, *flags: str, env: dict[str, str] | None = None
    ) -> None:
        super().__init__("loader", "run", spec, "--lb", lb, "--port", "0", *flags, env=env)
        self.addr: str = self.wait_for_event("listening")["addr"]


class Hub(Process):
    """`asectl lb` on free ports."""

    def __init__(self, *flags: str, env: dict[str, str] | None = None) -> None:
        super().__init__("lb", "--lb-port", "0", "--lb-admin-port", "0", *flags, env=env)
        listening = self.wait_for_event("listening")
        self.lb, self.admin = listening["lb"], listening["admin"]


def make_envelope(service: str = "probe", **parameters: Any) -> dict[str, Any]:
    """Return a valid envelope for a service that takes one text; "aGVsbG8=" is "hello"."""
    return {
        "header": {"app_id": "tests", "status": 3},
        "parameter": {service: parameters},
        "payload": {"text": {"encoding": "utf8", "status": 3, "text": "aGVsbG8="}},
    }


@contextlib.contextmanager
def occupied_slot(
    gateway: Gateway, loader: Loader, request_id: str, service: str = "probe"
) -> Iterator[socket.socket]:
    """Hold a licence: a request that runs until its connection, given here, is closed."""
    envelope = make_envelope(service, act="hold")
    envelope["header"]["request_id"] = request_id
    data = json.dumps(envelope).encode()
    head = (
        f"POST /v1/private/{service} HTTP/1.1\r\nHost: tests\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(head.encode() + data)
        loader.wait_for_event("held", request_id=request_id)
        yield sock
