"""What runs on a Ray cluster: a Serve deployment whose replica is one loader.

Ray Serve imports this module on its nodes, by the import path `deploy.shimlets.ray_app:build`. It
must not need more than Ray and this package. The loader is a process of its own, with the Python of
the node; what the deployer has to know of it (its address, its end) are lines of the replica's log.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import ray
from ray import serve

from deploy.shimlets.ray_marks import ADDRESS_MARK, END_MARK

_logger = logging.getLogger("ray.serve")


class LoaderReplica:
    """One loader. `launch` has `wrapper`, `folder`, `hubs`, `env`, `settings` and `grace`."""

    def __init__(self, launch: dict[str, Any]) -> None:
        self._grace_s: float = launch["grace"]
        host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        with socket.socket() as listener:  # the port is free now; if not then, Serve starts anew
            listener.bind((host, 0))
            port = listener.getsockname()[1]
        command = [
            sys.executable, "-P", "-m", "asectl", "loader", "run", launch["wrapper"],
            "--host", host, "--port", str(port), "--lb", launch["hubs"], *launch["settings"],
        ]  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 (the loader of a deployment)
            command,
            cwd=launch["folder"],
            env={**os.environ, **launch["env"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._copy_output, daemon=True).start()
        _logger.info("%s%s:%d %d", ADDRESS_MARK, host, port, self._process.pid)

    def check_health(self) -> None:
        """Raise RuntimeError if the loader has ended; Serve starts another replica then."""
        code = self._process.poll()
        if code is not None:
            description = (
                f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
            )
            _logger.error("%s%s", END_MARK, description)
            raise RuntimeError(f"the loader has ended {description}")

    def __del__(self) -> None:
        """Have the loader finish its requests, and end it."""
        process = getattr(self, "_process", None)
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            process.kill()

    def _copy_output(self) -> None:
        for line in self._process.stdout or ():
            _logger.info("%s", line.rstrip("\n"))


def build(launch: dict[str, Any]) -> Any:
    """Return the application of one loader."""
    deployment = serve.deployment(
        name="Loader",
        num_replicas=1,
        ray_actor_options=launch["resources"],
        health_check_period_s=1.0,
        health_check_timeout_s=10.0,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=launch["grace"] + 5.0,
    )
    return deployment(LoaderReplica).bind(launch)
