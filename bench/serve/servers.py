"""Starts the servers of the bench, each on one core and configured as its documentation advises."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import product
from bench.arms import (
    ARM_CORE,
    Arm,
    BenchContext,
    PeerUnavailableError,
    free_port,
    start_asectl,
    start_pinned,
)
from bench.gateway import process_tree
from bench.serve.cases import request_for
from bench.serve.environments import InstallError, ensure_environment

_PEERS = Path(__file__).parent / "peers"


def start_server(context: BenchContext, name: str, case: str, product_folder: Path) -> Arm:
    """Start a server with the service of a case; ours from `product_folder`.

    Raises PeerUnavailableError if it is not here.
    """
    try:
        environment = ensure_environment(name)
    except InstallError as error:
        raise PeerUnavailableError(f"{name}: {error}") from error
    folder = context.folder / f"{name}-{case}"
    shutil.copytree(_PEERS, folder)
    if name == "ours":
        return _start_ours(context, environment, folder, case, product_folder)
    return _PEER_STARTERS[name](context, environment, folder, case)


def code_lines(server: str) -> int:
    """Return the lines of the forest service with batches that a user writes, blank ones apart."""
    text = (_PEERS / f"forest_{server}.py").read_text(encoding="utf-8")
    return sum(bool(line.strip()) for line in text.splitlines())


def _program(case: str, server: str) -> str:
    return f"forest_{server}" if case == "forest_batch" else f"{server}_app"


def _start(
    context: BenchContext, name: str, case: str, port: int, command: list[str], env: dict[str, str]
) -> Arm:
    process = start_pinned(context, ARM_CORE, command, env)
    context.exit_stack.callback(_kill_all, process)
    return Arm(name, process.pid, f"http://127.0.0.1:{port}", request_for(name, case))


def _kill_all(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a server, and kill those of its processes that outlive it."""
    members = process_tree(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def _start_ours(
    context: BenchContext, environment: Path, folder: Path, case: str, product_folder: Path
) -> Arm:
    """Start a gateway and one loader, compiled; the gateway's access log is off."""
    env = product.import_environment(product_folder)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    env["PYTHONPATH"] += os.pathsep + os.pathsep.join((str(folder), str(packages)))
    log, loader_log = folder / "gateway.log", folder / "loader.log"
    port, lb_port = free_port(), free_port()
    args = ["gateway", "--gateway-port", str(port), "--lb-port", str(lb_port)]
    args += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0"]
    args += ["--lb-accept-schemas", "true", "--log-level", "warning"]
    gateway = start_asectl(context, ARM_CORE, args, log, env)
    function = {"forest": ":predict", "forest_batch": ":predict"}.get(case, f":{case}")
    spec = f"{folder / _program(case, 'ours')}.py{function}"
    loader_args = ["loader", "run", spec, "--lb", f"127.0.0.1:{lb_port}"]
    loader = start_asectl(context, ARM_CORE, loader_args, loader_log, env)
    url = f"http://127.0.0.1:{port}"
    return Arm("ours", gateway.pid, url, request_for("ours", case), (loader.pid,))


def _start_fastapi(context: BenchContext, environment: Path, folder: Path, case: str) -> Arm:
    port = free_port()
    command = [str(environment / "bin" / "uvicorn"), f"{_program(case, 'fastapi')}:app"]
    command += ["--port", str(port), "--no-access-log", "--app-dir", str(folder)]
    return _start(context, "fastapi", case, port, command, {})


def _start_litserve(context: BenchContext, environment: Path, folder: Path, case: str) -> Arm:
    port = free_port()
    program = str(folder / f"{_program(case, 'litserve')}.py")
    args = [str(port)] if case == "forest_batch" else [case, str(port)]
    command = [str(environment / "bin" / "python"), program, *args]
    return _start(context, "litserve", case, port, command, {})


def _start_bentoml(context: BenchContext, environment: Path, folder: Path, case: str) -> Arm:
    port = free_port()
    command = [str(environment / "bin" / "bentoml"), "serve", f"{_program(case, 'bentoml')}:Bench"]
    command += ["--port", str(port), "--working-dir", str(folder)]
    env = {
        "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / "bentoml"),
    }
    return _start(context, "bentoml", case, port, command, env)


def _start_mlserver(context: BenchContext, environment: Path, folder: Path, case: str) -> Arm:
    port = free_port()
    classes = {"image": "Image", "echo_async": "Echo", "echo_sync": "Echo"}
    module = "mlserver_app" if case in classes else "forest_mlserver"
    settings = {
        "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(),
        "parallel_workers": 0, "debug": False,
    }  # fmt: skip
    model = {"name": case, "implementation": f"{module}.{classes.get(case, 'Forest')}"}
    if case == "forest_batch":
        model |= {"max_batch_size": 64, "max_batch_time": 0.005}  # type: ignore[dict-item]
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    command = [str(environment / "bin" / "mlserver"), "start", str(folder)]
    return _start(context, "mlserver", case, port, command, {"PYTHONPATH": str(folder)})


def _start_ray(context: BenchContext, environment: Path, folder: Path, case: str) -> Arm:
    port = free_port()
    env = {"PYTHONPATH": str(folder), "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    if case == "forest_batch":
        (folder / "serve.yaml").write_text(
            f"http_options: {{port: {port}}}\n"
            "applications: [{name: bench, route_prefix: /, import_path: 'forest_ray:app'}]\n",
            encoding="utf-8",
        )
        command = [str(environment / "bin" / "serve"), "run", str(folder / "serve.yaml")]
    else:
        program = str(folder / "ray_app.py")
        command = [str(environment / "bin" / "python"), program, case, str(port)]
    return _start(context, "ray", case, port, command, env)


_PEER_STARTERS: dict[str, Callable[[BenchContext, Path, Path, str], Arm]] = {
    "fastapi": _start_fastapi,
    "litserve": _start_litserve,
    "bentoml": _start_bentoml,
    "mlserver": _start_mlserver,
    "ray": _start_ray,
}
