"""Real etcd members, for benches and tests: one, or a cluster of three."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_TIMEOUT_S = 60.0


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


class EtcdServer:
    """One member; it can be killed and started again with what is on its disk."""

    def __init__(
        self,
        name: str,
        folder: Path,
        client: int,
        peer: int,
        cluster: str,
        tls_flags: tuple[str, ...] = (),
    ) -> None:
        self.address = f"127.0.0.1:{client}"
        self._health_port = free_ports(1)[0]
        url = f"{'https' if tls_flags else 'http'}://{self.address}"
        self._name = name
        self._folder = folder
        self._command = [
            "etcd", "--name", name, "--data-dir", str(folder / name), "--logger", "zap",
            "--listen-client-urls", url, "--advertise-client-urls", url,
            "--listen-metrics-urls", f"http://127.0.0.1:{self._health_port}", *tls_flags,
            "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", cluster, "--initial-cluster-state", "new",
            "--heartbeat-interval", "50", "--election-timeout", "500",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running().pid

    def start(self) -> None:
        """Start the process."""
        log = (self._folder / f"{self._name}.log").open("ab")
        environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        log.close()

    def signal(self, number: int) -> None:
        """Send a signal: SIGKILL ends it, SIGSTOP has it stand still."""
        process = self._running()
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(_TIMEOUT_S)

    def kill(self) -> None:
        """Kill the process, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)

    def wait_ready(self) -> None:
        """Wait until it serves: it has a leader."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._is_healthy():
            if time.monotonic() > deadline:
                log = self._folder / f"{self._name}.log"
                raise RuntimeError(f"etcd is not ready: {log.read_text()}")
            time.sleep(0.05)

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process

    def _is_healthy(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._health_port), 2.0) as connection:
                connection.settimeout(2.0)
                connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                return b'"health":"true"' in connection.recv(4096)
        except OSError:
            return False


@contextlib.contextmanager
def start_etcd(
    folder: Path, size: int = 1, tls_flags: tuple[str, ...] = ()
) -> Iterator[list[EtcdServer]]:
    """Run members until the end, with TLS by these flags.

    Raises FileNotFoundError where etcd is not installed.
    """
    ports = free_ports(2 * size)
    names = [f"m{number}" for number in range(size)]
    cluster = ",".join(
        f"{name}=http://127.0.0.1:{peer}" for name, peer in zip(names, ports[size:], strict=True)
    )
    members = [
        EtcdServer(name, folder, client, peer, cluster, tls_flags)
        for name, client, peer in zip(names, ports[:size], ports[size:], strict=True)
    ]
    try:
        for member in members:
            member.start()
        for member in members:
            member.wait_ready()
        yield members
    finally:
        for member in members:
            member.kill()
