"""A real podman for tests, with a store of images of its own, and its API on a socket."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.container_image import build_image

IMAGE = "localhost/ase-test:latest"
# As root, without systemd: what a container host of a CI looks like.
_CONTAINERS = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
_START_TIMEOUT_S = 30.0


@contextlib.contextmanager
def running_podman(wrapper: str) -> Iterator[str]:
    """Yield the address of the API of a podman that has the image `IMAGE`.

    Skips the test where podman or runc is not installed, or where no container can run.
    """
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, which is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="ase", dir="/tmp"))  # its path must be short
    (folder / "containers.conf").write_text(_CONTAINERS)
    environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    command = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run",
               "--storage-driver", "vfs"]  # fmt: skip
    try:
        build_image(command, environment, IMAGE, wrapper)
        trial = subprocess.run(
            [*command, "run", "--rm", "--network", "host", IMAGE, "--help"],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        if trial.returncode:
            pytest.skip(f"no container can run here: {trial.stderr.strip()[-200:]}")
        socket = folder / "podman.sock"
        with subprocess.Popen(
            [*command, "system", "service", "--time", "0", f"unix://{socket}"],
            stdin=subprocess.DEVNULL, env=environment,
        ) as service:  # fmt: skip
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not socket.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            yield f"unix://{socket}"
            service.send_signal(signal.SIGTERM)
        subprocess.run(
            [*command, "rm", "--all", "--force"], check=False, capture_output=True, env=environment
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
