"""Find the process that listens on a port, on systems with /proc (Linux)."""

from pathlib import Path

_LISTEN = "0A"


def describe_holder(port: int) -> str:
    """Return " by NAME (pid N)" for the process that listens on a TCP port, "" if unknown."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for link in (process / "fd").iterdir():
                if str(link.readlink()) in sockets:
                    name = (process / "comm").read_text().strip()
                    return f" by {name} (pid {process.name})"
        except OSError:
            continue
    return ""


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(path).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.append(columns[9])
    return inodes
