"""Find the process that listens on a port, on systems with /proc (Linux)."""

from pathlib import Path

_LISTEN = "0A"


def describe_holder(port: int) -> str:
    """Return " by NAME (pid N)" for the process that listens on a TCP port, "" if unknown."""
    sockets = _listening_sockets(port)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _has_descriptor(process, sockets):
                return f" by {(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return ""


def listens_on(pid: int, port: int) -> bool:
    """Return whether a process of this machine listens on a TCP port; False if unknown."""
    try:
        return _has_descriptor(Path(f"/proc/{pid}"), _listening_sockets(port))
    except OSError:
        return False


def _has_descriptor(process: Path, targets: set[str]) -> bool:
    """Return whether a process of /proc has a descriptor of one of the targets. Raises OSError."""
    return any(str(link.readlink()) in targets for link in (process / "fd").iterdir())


def _listening_sockets(port: int) -> set[str]:
    """Return what descriptors of sockets that listen on a TCP port link to."""
    sockets = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(path).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{columns[9]}]")
    return sockets
