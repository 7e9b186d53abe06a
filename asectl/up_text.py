"""What `asectl up` prints: events as lines of text, and example commands to paste."""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

_SESSION_METHOD = re.compile(r"^\s+(?:async )?def (?:session|wrapperRead)\(", re.MULTILINE)


def loader_name(wrapper: str) -> str:
    """Return a name for the loaders of a wrapper: its class, or its file, or the folder of it."""
    file, _, class_name = wrapper.partition(":")
    path = Path(file).resolve()
    return class_name.lower() or (path.stem if path.stem != "wrapper" else path.parent.name)


def example_commands(wrapper: str, service: str, gateway: str) -> list[str]:
    """Return example commands for a Wrapper, for the user to paste.

    They use `request.json` and the first `sample.*` in the Wrapper's folder, if it has them.
    """
    folder = Path(wrapper.partition(":")[0]).parent
    body = folder / "request.json"
    sample = next(iter(sorted(folder.glob("sample.*"))), None)
    lines = []
    if body.is_file():
        url = f"{gateway}/v1/private/{service}"
        data = shlex.quote(os.path.relpath(body))
        lines.append(f"curl -sS {url} -H 'Content-Type: application/json' -d @{data}")
    url_flag = "" if gateway == "http://127.0.0.1:8200" else f" --url {gateway}"
    file = shlex.quote(os.path.relpath(sample)) if sample else "PATH"
    source = Path(wrapper.partition(":")[0]).read_text(encoding="utf-8", errors="replace")
    session_flags = " --ws --realtime" if _SESSION_METHOD.search(source) else ""
    lines.append(f"{_asectl_command()} call {service}{url_flag} --file {file}{session_flags}")
    return lines


def _asectl_command() -> str:
    """Return the command to type for `asectl`: the relative path of the script, if it is known."""
    command_path = Path(sys.argv[0])
    return shlex.quote(os.path.relpath(command_path)) if command_path.name == "asectl" else "asectl"


def describe_request(record: dict[str, Any]) -> str:
    """Return one line about a record of the gateway's access log."""
    target = f"{record['method']} {record['path']}" if record["path"] else "a request"
    fault = f"  {record['fault']}: {record['detail'][:120]}" if record.get("fault") else ""
    location = f" at {record['instance']}" if record["instance"] else ""
    result = f"{record['status']} {target} code {record['code']}"
    line = f"{result} {record['total_ms']:.1f} ms{location}{fault}"
    return line.replace("\n", " ")


def describe_exit(code: int) -> str:
    """Return how a process ended."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def print_line(line: str) -> None:
    """Print a line with "?" for each unprintable character other than newline.

    Text from a model or a client could otherwise send control sequences to the terminal.
    """
    print("".join(c if c.isprintable() or c == "\n" else "?" for c in line), flush=True)
