"""Runs a program as a file says: `python -m deploy.shimlets.launch FILE.json`.

The file has `command`, `env` and `cwd`. Configuration files of process managers have rules of their
own for quotes, percent signs and line breaks, which an environment need not fit.
"""

import json
import os
import sys
from pathlib import Path


def main(path: str) -> None:
    """Become the program of a file; this does not return. Raises OSError, ValueError."""
    launch = json.loads(Path(path).read_text("utf-8"))
    os.chdir(launch["cwd"])
    os.execve(launch["command"][0], launch["command"], launch["env"])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1])
