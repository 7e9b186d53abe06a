"""A gateway is replaced by a new process, of the same version or another, without a lost request.

Both processes have the same listening sockets, and a socket pair between them:

    new: `listening`   its config is right, its parts are there, its hub listens
    old: {instances,   those that serve; their loaders now connect to the new hub
          traffic}     the shares of versions that its hub knows
    new: `ready`       it knows them too, and accepts requests
                       the old process accepts no more, and ends when its requests have ended

Until `ready` the old process serves on. If the new one ends before, or takes too long, it takes its
loaders back.
"""

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

from gateway.sockets import ListeningSockets
from lb.endpoints.traffic import TrafficRules

_logger = logging.getLogger("ase.gateway")

OBSTACLE_DRAINED = (
    "an operator has drained it, and the new process would not be: drain --undo first"
)

_LISTENING, _READY = "listening", "ready"
_START_TIMEOUT_S = 60.0
_EXIT_TIMEOUT_S = 5.0

# The id of its service, and its address.
KnownInstance = tuple[str, str]


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a process gives to the one that replaces it: the instances that serve.

    `traffic` are the rules of a hub in the process: the new one begins with none, and would have
    versions serve that are held back.
    """

    instances: list[KnownInstance]
    traffic: list[TrafficRules] = field(default_factory=list)

    def to_line(self) -> bytes:
        """Return it as a line of JSON."""
        rules = [[each.owner, each.revision, dict(each.shares)] for each in self.traffic]
        return json.dumps({"instances": self.instances, "traffic": rules}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return what a line says."""
        tree = json.loads(line)
        instances = [(service, addr) for service, addr in tree["instances"]]
        return cls(instances, [TrafficRules(*rules) for rules in tree["traffic"]])


# Starts the new process, with the sockets and with one more descriptor, its end of the socket pair.
StartSuccessor = Callable[[ListeningSockets, int], "subprocess.Popen[bytes]"]


class ReplaceError(Exception):
    """The process was not replaced; the message says why."""


class TakeoverError(Exception):
    """The new process cannot take over; the message says why. The old one serves on."""


class Replaceable(Protocol):
    """A process that another one can replace."""

    sockets: ListeningSockets

    def find_obstacle(self) -> str:
        """Return why it must not be replaced now, or ""."""

    async def hand_over_reports(self) -> HandedOver:
        """Send the loaders that report here to the new process; return what that has to know."""

    async def take_back_reports(self) -> None:
        """Receive the reports of the loaders again."""


async def replace(
    process: Replaceable, start_successor: StartSuccessor, timeout_s: float = _START_TIMEOUT_S
) -> "subprocess.Popen[bytes]":
    """Start a new process and give it the work of this one; return it once it serves.

    Raises ReplaceError if it does not come to that within `timeout_s`; this process then serves on.
    """
    try:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            successor = start_successor(process.sockets, theirs.fileno())
            undo.pop_all()
    except OSError as error:
        raise ReplaceError(f"no process can be started: {error}") from None
    _logger.info("upgrade started", extra={"new_pid": successor.pid})
    try:
        await _hand_over(process, successor, ours, timeout_s)
    except BaseException:  # this process may be told to stop meanwhile: the new one must not go on
        successor.kill()
        raise
    _logger.info("replaced by a new process", extra={"new_pid": successor.pid})
    return successor


async def _hand_over(
    process: Replaceable,
    successor: "subprocess.Popen[bytes]",
    ours: socket.socket,
    timeout_s: float,
) -> None:
    """Give the work to a new process at the other end of the socket. Raises ReplaceError."""
    has_reports = True
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        async with asyncio.timeout(timeout_s):
            await _expect(reader, _LISTENING)
            has_reports = False
            writer.write((await process.hand_over_reports()).to_line())
            await _expect(reader, _READY)
    except (TimeoutError, ConnectionError) as error:
        if not has_reports:
            await process.take_back_reports()
        reason = str(error) or f"it was not ready within {timeout_s:g} s"
        code = await _end(successor, kill=isinstance(error, TimeoutError))
        message = f"the new process, pid {successor.pid}: {reason} (exit code {code})"
        raise ReplaceError(message) from None
    finally:
        writer.close()


async def _end(successor: "subprocess.Popen[bytes]", *, kill: bool) -> int:
    """Wait until a process that has failed ends, or kill it; return its exit code."""
    if not kill:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return await asyncio.to_thread(successor.wait, _EXIT_TIMEOUT_S)
    successor.kill()
    return await asyncio.to_thread(successor.wait)


async def _expect(reader: asyncio.StreamReader, message: str) -> None:
    """Raise ConnectionError unless `message` is the next one."""
    line = await reader.readline()
    if line.decode().strip() != message:
        raise ConnectionError(f"it ended before it was {message}; its lines in the log say why")


class Predecessor:
    """What the new process says to the one that it replaces, by its end of the socket pair."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    async def announce_listening(self) -> HandedOver:
        """Say that loaders may report here; return what the old process hands over.

        Raises ConnectionError if the old process has ended.
        """
        self._socket.setblocking(False)
        try:
            await self._send(_LISTENING)
            line = b""
            while not line.endswith(b"\n"):
                chunk = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
                if not chunk:
                    raise ConnectionError("the process to be replaced has ended")
                line += chunk
        except ConnectionError:
            self._socket.close()
            raise
        return HandedOver.from_line(line)

    async def announce_ready(self) -> None:
        """Say that requests are accepted here: the old process accepts no more.

        If it has ended meanwhile, this process serves all the same: it has the sockets.
        """
        with self._socket:
            try:
                await self._send(_READY)
            except ConnectionError:
                _logger.warning("the process to be replaced has ended before")

    async def _send(self, message: str) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, f"{message}\n".encode())
