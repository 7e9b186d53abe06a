"""Runs a container of a loader for a while, by docker or podman."""

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Final

from asectl.main import EXIT_UNREACHABLE, Failure
from atom.grpc_health import check_health

BUILDERS: Final = ("docker", "podman")
_PORT: Final = "8240/tcp"
_START_TIMEOUT_S: Final = 120.0
_POLL_INTERVAL_S: Final = 0.2
_CHECK_TIMEOUT_S: Final = 1.0


def find_builder() -> str:
    """Return the first of docker and podman that works here, "" if none does."""
    for name in BUILDERS:
        if shutil.which(name) is not None:
            result = subprocess.run([name, "info"], capture_output=True, check=False)  # noqa: S603
            if result.returncode == 0:
                return name
    return ""


@contextlib.contextmanager
def running_image(image: str, config: list[str]) -> Iterator[str]:
    """Run an image of a loader, and yield its address when it serves. Raises Failure.

    `config` are entries KEY=VALUE of the config of `init`.
    """
    builder = find_builder()
    if not builder:
        raise Failure("--image needs docker or podman, and neither works here")
    settings = [word for entry in config for word in ("--set", entry)]
    command = [builder, "run", "--detach", "--rm", "--publish", f"127.0.0.1::{_PORT}"]
    container = _output([*command, image, "--lb", "", *settings])
    try:
        address = _output([builder, "port", container, _PORT]).splitlines()[0]
        _wait_until_serving(address, builder, container)
        yield address
    finally:
        subprocess.run(  # noqa: S603 (its own command line)
            [builder, "rm", "--force", container], capture_output=True, check=False
        )


def _output(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        raise Failure(f"{' '.join(command[:3])}: {result.stderr.strip()}")
    return result.stdout.strip()


def _wait_until_serving(address: str, builder: str, container: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while asyncio.run(check_health(address, _CHECK_TIMEOUT_S)):
        if time.monotonic() > deadline:
            logs = _output([builder, "logs", "--tail", "20", container])
            raise Failure(f"{address}: the image does not serve:\n{logs}", EXIT_UNREACHABLE)
        time.sleep(_POLL_INTERVAL_S)
