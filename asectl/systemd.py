"""What systemd gives a service by environment variables: sd_notify(3), sd_listen_fds(3).

Also sd_watchdog_enabled(3). Without systemd the variables are not there, and nothing is done.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Collection, Mapping

_FIRST_DESCRIPTOR = 3
# Variables that are for one process, and not for those that it starts.
_OWN_VARIABLES = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID")
# With these a process is the one that systemd watches.
_MANAGER_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC")


class SocketNameError(Exception):
    """systemd passes a socket whose name is not known."""


def environment_of_successor(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the process that systemd is to watch in the place of this one."""
    return {name: value for name, value in environ.items() if name not in _OWN_VARIABLES}


def environment_of_child(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that systemd does not watch."""
    removed = (*_OWN_VARIABLES, *_MANAGER_VARIABLES)
    return {name: value for name, value in environ.items() if name not in removed}


def notify(environ: Mapping[str, str], state: str, timeout_s: float = 1.0) -> None:
    """Tell systemd the state of this process, as `READY=1`; do nothing if nobody listens.

    A manager that does not read stops this process for `timeout_s` at most.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace
        address = f"\0{address[1:]}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(address)
        sock.send(state.encode())


def listening_sockets(
    environ: Mapping[str, str], pid: int, names: Collection[str]
) -> dict[str, socket.socket]:
    """Return the sockets that systemd has opened for the process `pid`, by name.

    The names are those of `FileDescriptorName=`. A single socket without one is the first of
    `names`. Raises SocketNameError for any other name.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return {}
    count = int(environ.get("LISTEN_FDS", "0"))
    labels = environ.get("LISTEN_FDNAMES", "").split(":") + [""] * count
    if count == 1 and labels[0] not in names:
        labels = [*names]
    labels = labels[:count]
    for name in labels:
        if name not in names or labels.count(name) > 1:
            choice = ", ".join(names)
            raise SocketNameError(f"the socket {name!r} needs a FileDescriptorName= of: {choice}")
    descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count)
    pairs = zip(labels, descriptors, strict=True)
    return {name: socket.socket(fileno=descriptor) for name, descriptor in pairs}


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float:
    """Return the seconds within which systemd wants a sign of life; 0: it does not."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    return int(environ.get("WATCHDOG_USEC", "0")) / 1e6


async def feed_watchdog(environ: Mapping[str, str]) -> None:
    """Give a sign of life twice per interval, as long as the event loop runs."""
    interval = watchdog_interval(environ, os.getpid())
    while interval:
        notify(environ, "WATCHDOG=1", timeout_s=0.0)
        await asyncio.sleep(interval / 2)
