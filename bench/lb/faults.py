"""`python -m bench lb faults`: the time until a gateway detects a fault.

The faults are a killed loader, a stopped loader and a restarted hub. All are real processes: a hub,
a gateway that follows it, and loaders. Times are from the signal to the record in the gateway's
log. A client sends requests throughout; only those on the killed loader may fail.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bench.arms import BenchContext, start_asectl, wait_for_log_record
from bench.lb import grid

_WRAPPER_SPEC = str(Path(__file__).with_name("sleeper.py")) + ":Sleeper"
_BODY = {"header": {"app_id": "bench", "status": 3}, "parameter": {"bench": {"ms": 1}}}
_PATIENCE_S = 15.0


def run(rounds: int) -> dict[str, Any]:
    """Return the median and the longest of each time in milliseconds, over `rounds` rounds.

    `requests` and `failed` count the requests of the client and those without status 200.
    """
    samples: dict[str, list[float]] = {}
    failed = requests = 0
    for _ in range(rounds):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            cluster = _Cluster(BenchContext(folder, 0, stack))
            for name, seconds in cluster.measure_faults().items():
                samples.setdefault(name, []).append(seconds * 1000)
            failed += cluster.failed
            requests += cluster.requests
    times = {
        name: {"median_ms": round(median(values), 1), "longest_ms": round(max(values), 1)}
        for name, values in samples.items()
    }
    return {"rounds": rounds, "times": times, "requests": requests, "failed": failed}


class _Cluster:
    """The processes of one round: a hub, four loaders of four slots, and a gateway.

    `requests` and `failed` are written by the thread of the client. `__init__` returns when the
    gateway has logged every loader as up.
    """

    def __init__(self, context: BenchContext) -> None:
        self._context = context
        self._env = grid.environment(compiled=True)
        self.requests = self.failed = 0
        self._hub, endpoints = self._start_command(
            "hub", ["lb", "--lb-port", "0", "--lb-admin-port", "0"]
        )
        self._hub_addr = endpoints["lb"]
        loader_args = [
            "loader",
            "run",
            _WRAPPER_SPEC,
            "--lb",
            self._hub_addr,
            "--port",
            "0",
            "--total",
            "4",
        ]
        self._loaders = [self._start_command(f"loader-{n}", loader_args) for n in range(4)]
        gateway_args = [
            "gateway", "--gateway-port", "0", "--gateway-admin-port", "0", "--lb-hub",
            self._hub_addr, "--lb-accept-schemas", "true", "--gateway-lame-duck", "0",
        ]  # fmt: skip
        _, endpoints = self._start_command("gateway", gateway_args)
        self._url = f"{endpoints['gateway']}/v1/private/bench"
        for _, loader_endpoints in self._loaders:
            self._wait_for_log_record("instance up", instance=loader_endpoints["addr"])

    def measure_faults(self) -> dict[str, float]:
        """Cause each fault while a client sends requests; return the times in seconds, by name."""
        stop_event = threading.Event()
        client = threading.Thread(target=self._send_requests, args=(stop_event,))
        client.start()
        try:
            return {**self._measure_crash(), **self._measure_hang(), **self._measure_hub_restart()}
        finally:
            stop_event.set()
            client.join()

    def _measure_crash(self) -> dict[str, float]:
        process, endpoints = self._loaders[0]
        killed_at = time.time()
        process.send_signal(signal.SIGKILL)
        noticed_at = self._wait_for_log_record("instance suspect", instance=endpoints["addr"])
        return {"crash noticed": noticed_at - killed_at}

    def _measure_hang(self) -> dict[str, float]:
        process, endpoints = self._loaders[1]
        stopped_at = time.time()
        process.send_signal(signal.SIGSTOP)
        suspected_at = self._wait_for_log_record("instance suspect", instance=endpoints["addr"])
        removed_at = self._wait_for_log_record("instance gone", instance=endpoints["addr"])
        process.send_signal(signal.SIGCONT)
        return {"hang suspected": suspected_at - stopped_at, "hang out": removed_at - stopped_at}

    def _measure_hub_restart(self) -> dict[str, float]:
        """Kill the hub, restart it on its port, and wait until the gateway follows it.

        The new hub starts with an empty table, which the reports of the running loaders fill.
        Returns the times from when it listens and from its start.
        """
        self._hub.kill()
        self._hub.wait()
        self._wait_for_log_record("hub lost; trying on")
        restarted_at = time.time()
        port = self._hub_addr.rpartition(":")[2]
        self._start_command("hub-2", ["lb", "--lb-port", port, "--lb-admin-port", "0"])
        listening_at = time.time()
        followed_at = self._wait_for_log_record("hub followed", after=restarted_at)
        return {
            "hub back": followed_at - listening_at,
            "hub back, with its start": followed_at - restarted_at,
        }

    def _send_requests(self, stop_event: threading.Event) -> None:
        with httpx.Client(timeout=_PATIENCE_S, trust_env=False) as client:
            while not stop_event.is_set():
                response = client.post(self._url, json=_BODY)
                self.requests += 1
                # Only the requests on the killed loader may fail.
                self.failed += response.status_code != 200
                time.sleep(0.002)

    def _start_command(
        self, name: str, args: list[str]
    ) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        log = self._context.folder / f"{name}.log"
        process = start_asectl(self._context, "0,1", args, log, self._env)
        self._context.exit_stack.callback(_resume_process, process)
        return process, wait_for_log_record(log, "listening")

    def _wait_for_log_record(self, message: str, after: float = 0.0, **fields: str) -> float:
        """Wait for a matching record in the gateway's log; return its time in Unix seconds.

        A record matches if it has the message and the fields, and is not older than `after`. Raises
        RuntimeError after 15 s.
        """

        def matches(record: dict[str, Any]) -> bool:
            fields_match = all(record.get(key) == value for key, value in fields.items())
            return record.get("message") == message and fields_match and _timestamp(record) >= after

        return _wait_for_record(self._context.folder / "gateway.log", matches, message)


def _wait_for_record(
    log: Path, matches: Callable[[dict[str, Any]], bool], description: str
) -> float:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for raw_line in log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(raw_line)
                if matches(record):
                    return _timestamp(record)
        time.sleep(0.02)
    raise RuntimeError(f"the gateway said nothing of {description!r}")


def _timestamp(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["time"]).timestamp()


def _resume_process(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per fault."""
    lines = [f"{result['requests']} requests, {result['failed']} failed"]
    lines += [
        f"{name:<26} median {figures['median_ms']:>8.1f} ms, "
        f"longest {figures['longest_ms']:>8.1f} ms"
        for name, figures in result["times"].items()
    ]
    return "\n".join(lines)
