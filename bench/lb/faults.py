"""`python -m bench lb faults`: how soon a gateway knows that a loader died, froze, a hub is back.

Real processes: a hub, a gateway that follows it, loaders; times are from the signal to the line in
the gateway's log. Requests go on all the while; only what ran on the killed loader may fail.
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

from bench.arms import Ground, asectl, said
from bench.lb import grid

_SPEC = str(Path(__file__).with_name("sleeper.py")) + ":Sleeper"
_BODY = {"header": {"app_id": "bench", "status": 3}, "parameter": {"bench": {"ms": 1}}}
_PATIENCE_S = 15.0


def run(rounds: int) -> dict[str, Any]:
    """Return the median and the longest of each time, in milliseconds."""
    found: dict[str, list[float]] = {}
    failed = requests = 0
    for _ in range(rounds):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stage = _Stage(Ground(folder, 0, stack))
            for name, seconds in stage.faults().items():
                found.setdefault(name, []).append(seconds * 1000)
            failed += stage.failed
            requests += stage.requests
    times = {
        name: {"median_ms": round(median(told), 1), "longest_ms": round(max(told), 1)}
        for name, told in found.items()
    }
    return {"rounds": rounds, "times": times, "requests": requests, "failed": failed}


class _Stage:
    """The processes of one round."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._env = grid.environment(compiled=True)
        self.requests = self.failed = 0
        self._hub, told = self._start("hub", ["lb", "--lb-port", "0", "--lb-admin-port", "0"])
        self._lb = told["lb"]
        loader = ["loader", "run", _SPEC, "--lb", self._lb, "--port", "0", "--total", "4"]
        self._loaders = [self._start(f"loader-{n}", loader) for n in range(4)]
        words = ["gateway", "--gateway-port", "0", "--gateway-admin-port", "0", "--lb-hub",
                 self._lb, "--lb-accept-schemas", "true", "--gateway-lame-duck", "0"]  # fmt: skip
        _, told = self._start("gateway", words)
        self._url = f"{told['gateway']}/v1/private/bench"
        for _, facts in self._loaders:
            self._line("instance up", instance=facts["addr"])

    def faults(self) -> dict[str, float]:
        """Return how long each took, in seconds."""
        over = threading.Event()
        client = threading.Thread(target=self._load, args=(over,))
        client.start()
        try:
            return {**self._crash(), **self._hang(), **self._restart()}
        finally:
            over.set()
            client.join()

    def _crash(self) -> dict[str, float]:
        process, facts = self._loaders[0]
        at = time.time()
        process.send_signal(signal.SIGKILL)
        seen = self._line("instance suspect", instance=facts["addr"])
        return {"crash noticed": seen - at}

    def _hang(self) -> dict[str, float]:
        process, facts = self._loaders[1]
        at = time.time()
        process.send_signal(signal.SIGSTOP)
        suspect = self._line("instance suspect", instance=facts["addr"])
        gone = self._line("instance gone", instance=facts["addr"])
        process.send_signal(signal.SIGCONT)
        return {"hang suspected": suspect - at, "hang out": gone - at}

    def _restart(self) -> dict[str, float]:
        """Kill the hub, and start it anew on its port; live reports are those of all who live."""
        self._hub.kill()
        self._hub.wait()
        self._line("hub lost; trying on")
        at = time.time()
        port = self._lb.rpartition(":")[2]
        self._start("hub-2", ["lb", "--lb-port", port, "--lb-admin-port", "0"])
        listening = time.time()
        back = self._line("hub followed", after=at)
        return {"hub back": back - listening, "hub back, with its start": back - at}

    def _load(self, over: threading.Event) -> None:
        with httpx.Client(timeout=_PATIENCE_S, trust_env=False) as http:
            while not over.is_set():
                answer = http.post(self._url, json=_BODY)
                self.requests += 1
                # What ran on the killed loader is lost; nothing else may be.
                self.failed += answer.status_code != 200
                time.sleep(0.002)

    def _start(self, name: str, words: list[str]) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        log = self._ground.folder / f"{name}.log"
        process = asectl(self._ground, "0,1", words, log, self._env)
        self._ground.stack.callback(_free, process)
        return process, said(log, "listening")

    def _line(self, message: str, after: float = 0.0, **fields: str) -> float:
        """Return when the gateway logged such a line, in seconds since 1970; wait for it."""

        def fits(line: dict[str, Any]) -> bool:
            same = all(line.get(key) == value for key, value in fields.items())
            return line.get("message") == message and same and _at(line) >= after

        return _waited(self._ground.folder / "gateway.log", fits, message)


def _waited(log: Path, fits: Callable[[dict[str, Any]], bool], what: str) -> float:
    ends = time.monotonic() + _PATIENCE_S
    while time.monotonic() < ends:
        for text in log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if fits(line):
                    return _at(line)
        time.sleep(0.02)
    raise RuntimeError(f"the gateway said nothing of {what!r}")


def _at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def _free(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{result['requests']} requests, {result['failed']} failed"]
    lines += [
        f"{name:<26} median {told['median_ms']:>8.1f} ms, longest {told['longest_ms']:>8.1f} ms"
        for name, told in result["times"].items()
    ]
    return "\n".join(lines)
