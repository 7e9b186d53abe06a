"""Kills a registry while releases are published, and checks what is left.

One client publishes one release after the other and writes down what was acknowledged. The
registry, or a member of its etcd, is killed at any moment and started again. Of SQLite's file
everything that was not synced is lost then, as with the power. The checker then reads the registry:

- every acknowledged release is there, with its content;
- of no release a part is missing: its files have their contents, and what is published exists.

With `--without-fsync` the syncs are taken out: the checker has to find losses.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.arms import wait_for_log_record
from bench.registry.etcd_server import EtcdServer, start_etcd
from bench.registry.power_loss import build_recorder, lose_unsynced, recorder_environment

_VERSION = "/v1/versions/shop/web/gateway/1.0.0"
_TIMEOUT_S = 60.0
_MIN_LIFE_S, _MAX_LIFE_S = 0.05, 0.5
# Content of a file, so that a commit is more than one page.
_FILLER = "x" * 3000


@dataclass(slots=True)
class _Outcome:
    """What the client was told: contents by the number of their release, and what was unknown."""

    acknowledged: dict[int, str] = field(default_factory=dict)
    attempts: int = 0


class _Publisher:
    """Publishes without a pause; keeps on when the registry is away."""

    def __init__(self, url: str) -> None:
        self.outcome = _Outcome()
        self._url = url
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._is_done.set()
        self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=20.0) as client:
            while not self._is_done.is_set():
                self.outcome.attempts += 1
                with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                    self._publish(client, f"{self.outcome.attempts} {_FILLER}")

    def _publish(self, client: httpx.Client, content: str) -> None:
        client.put(f"{_VERSION}/files/a.txt", content=content).raise_for_status()
        response = client.post(f"{_VERSION}/releases").raise_for_status()
        self.outcome.acknowledged[response.json()["last_release"]] = content


def run(kills: int, store: str, *, syncs: bool) -> dict[str, Any]:
    """Return what was killed, acknowledged, and lost; `store` is `sqlite` or `etcd`."""
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as stack:
        folder = Path(text)
        counts = {"kills": 0, "unsynced_writes_lost": 0}
        target = (
            _SqliteTarget(folder, syncs=syncs) if store == "sqlite" else _EtcdTarget(folder, stack)
        )
        stack.callback(target.stop)
        target.start()
        publisher = _Publisher(target.url)
        stack.callback(publisher.stop)
        rng = random.Random(1)  # noqa: S311 (moments of kills)
        while counts["kills"] < kills:
            time.sleep(rng.uniform(_MIN_LIFE_S, _MAX_LIFE_S))
            counts["unsynced_writes_lost"] += target.kill()
            counts["kills"] += 1
            target.start()
        publisher.stop()
        faults = _check(target.url, publisher.outcome)
    return {
        "store": store,
        "syncs": syncs,
        **counts,
        "published": publisher.outcome.attempts,
        "acknowledged": len(publisher.outcome.acknowledged),
        "lost": faults["lost"],
        "half": faults["half"],
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    taken_out = "" if result["syncs"] else ", its syncs taken out"
    return "\n".join(
        [
            f"{result['store']}{taken_out}: killed {result['kills']} times",
            f"unsynced writes lost by that: {result['unsynced_writes_lost']}",
            f"releases tried {result['published']}, acknowledged {result['acknowledged']}",
            f"acknowledged and lost: {len(result['lost'])} {result['lost'][:5]}",
            f"half: {len(result['half'])} {result['half'][:5]}",
        ]
    )


def _check(url: str, outcome: _Outcome) -> dict[str, list[str]]:
    """Return the acknowledged releases that are lost, and those of which a part is missing."""
    lost, half = [], []
    with httpx.Client(base_url=url, trust_env=False, timeout=_TIMEOUT_S) as client:
        releases = {
            release["number"]: release
            for release in client.get(f"{_VERSION}/releases").json().get("releases", [])
        }
        for number, content in outcome.acknowledged.items():
            response = client.get(f"{_VERSION}/files/a.txt", params={"release": str(number)})
            if number not in releases or response.text != content:
                lost.append(f"release {number}")
        for number in releases:
            response = client.get(f"{_VERSION}/files/a.txt", params={"release": str(number)})
            if response.status_code != 200:
                half.append(f"release {number}: {response.text[:80]}")
        version = client.get(_VERSION).json()
        if version.get("stable", 0) not in {0, *releases}:
            half.append(f"stable {version['stable']} does not exist")
        if sorted(releases) != [*range(1, len(releases) + 1)]:
            half.append("numbers have gaps")
    return {"lost": lost, "half": half}


class _RegistryProcess:
    """`asectl registry` with its store in a folder, on ports that stay the same."""

    def __init__(self, folder: Path, environ: dict[str, str], *flags: str) -> None:
        self._folder = folder
        self._environ = {**os.environ, **environ}
        self._flags = flags
        self._ports = ("0", "0")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        log = self._folder / "registry.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "asectl", "registry", "--registry-port", self._ports[0]]
        command += ["--registry-http-port", self._ports[1], *self._flags]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=self._environ, stdout=file, stderr=file
            )
        record = wait_for_log_record(log, "listening")
        self.url = record["api"]
        ports = [record[name].rpartition(":")[2] for name in ("registry", "api")]
        self._ports = (ports[0], ports[1])

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_TIMEOUT_S)


class _SqliteTarget:
    """A registry whose machine loses its power."""

    def __init__(self, folder: Path, *, syncs: bool) -> None:
        self._journal = folder / "journal"
        data = folder / "data"
        data.mkdir()
        environ = recorder_environment(
            build_recorder(folder), data, self._journal, ignores_syncs=not syncs
        )
        self._registry = _RegistryProcess(folder, environ, "--registry-store", "data/r.sqlite")

    @property
    def url(self) -> str:
        return self._registry.url

    def start(self) -> None:
        self._registry.start()

    def kill(self) -> int:
        self._registry.kill()
        return lose_unsynced(self._journal)

    def stop(self) -> None:
        self._registry.kill()


class _EtcdTarget:
    """A registry on a cluster of three, one of which is killed each time, or the registry."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._members: list[EtcdServer] = stack.enter_context(start_etcd(folder, 3))
        addresses = ",".join(member.address for member in self._members)
        self._registry = _RegistryProcess(folder, {}, "--registry-etcd", addresses)
        self._restarts: Iterator[Callable[[], None]] = iter(())
        self._turn = 0
        self._killed: EtcdServer | None = None
        self._is_started = False

    @property
    def url(self) -> str:
        return self._registry.url

    def start(self) -> None:
        if self._killed is not None:
            self._killed.start()
            self._killed.wait_ready()
            self._killed = None
        else:
            self._registry.start()

    def kill(self) -> int:
        self._turn += 1
        if self._turn % 4 == 0:
            self._registry.kill()
        else:
            self._killed = self._members[self._turn % 4 - 1]
            self._killed.kill()
        return 0

    def stop(self) -> None:
        self._registry.kill()
