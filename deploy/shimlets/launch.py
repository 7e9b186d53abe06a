"""Runs a program as a file says: `python -m deploy.shimlets.launch FILE.json`.

The file has `command`, `env` and `cwd`. With `host`, `{port}` in the command is a port of that host
which is free now, another one at each start; FILE.port has it. Configuration files of process
managers have rules of their own for quotes, percent signs and line breaks, which an environment
need not fit.
"""

import json
import os
import sys
from pathlib import Path

from deploy.shimlets.ports import free_port
from deploy.shimlets.replica_process import write_atomically


def main(path: str) -> None:
    """Become the program of a file; this does not return. Raises OSError, ValueError."""
    launch = json.loads(Path(path).read_text("utf-8"))
    command = launch["command"]
    if "host" in launch:
        port = str(free_port(launch["host"]))
        write_atomically(Path(path).with_suffix(".port"), port)
        command = [argument.replace("{port}", port) for argument in command]
    os.chdir(launch["cwd"])
    os.execve(command[0], command, launch["env"])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1])
