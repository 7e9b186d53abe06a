"""A real Ray cluster of one node for tests."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from deploy.shimlets.ports import free_port
from tests.harness import ROOT


@contextlib.contextmanager
def running_ray() -> Iterator[str]:
    """Run Ray with its dashboard; yield the dashboard's address."""
    dashboard = free_port("127.0.0.1")
    ports = {
        "--port": free_port("127.0.0.1"),
        "--dashboard-port": dashboard,
        "--dashboard-agent-listen-port": free_port("127.0.0.1"),
        "--ray-client-server-port": free_port("127.0.0.1"),
        "--min-worker-port": 0,
        "--max-worker-port": 0,
    }
    ray = Path(sys.executable).with_name("ray")
    process = subprocess.Popen(
        [
            str(ray), "start", "--head", "--block", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--num-cpus=4",
            "--object-store-memory=80000000",
            *(f"{flag}={port}" for flag, port in ports.items()),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            # When Serve says that a replica waits for resources, in seconds.
            "SERVE_SLOW_STARTUP_WARNING_S": "1",
            "SERVE_SLOW_STARTUP_WARNING_PERIOD_S": "1",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{dashboard}"
    try:
        while process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                url = f"{address}/api/serve/applications/"
                if httpx.get(url, trust_env=False, timeout=5.0).is_success:
                    break
        assert process.poll() is None, "ray did not start"
        yield address
    finally:
        # Its processes end with the raylet; on SIGTERM it would wait for them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
