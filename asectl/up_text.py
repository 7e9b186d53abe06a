"""What `asectl up` prints: events as lines of text, and example commands to paste."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from asectl.table import printable
from schemas.model.document import DocumentError
from schemas.model.plain import PlainApi
from schemas.model.service import Service
from schemas.output import example
from schemas.output.curl import curl_command
from schemas.validation.request_validator import RequestValidator


def loader_name(wrapper: str) -> str:
    """Return a name for the loaders of a wrapper: its class, or its file, or the folder of it."""
    file, _, class_name = wrapper.partition(":")
    path = Path(file).resolve()
    return class_name.lower() or (path.stem if path.stem != "wrapper" else path.parent.name)


def example_commands(wrapper: str, service: Service, gateway: str) -> list[str]:
    """Return example commands for a Wrapper, for the user to paste.

    They use the first `sample.*` in the Wrapper's folder, if it has one.
    """
    folder = Path(wrapper.partition(":")[0]).parent
    sample_path = next(iter(sorted(folder.glob("sample.*"))), None)
    sample = os.path.relpath(sample_path) if sample_path else ""
    url_flag = "" if gateway == "http://127.0.0.1:8200" else f" --url {gateway}"
    asectl = f"{_asectl_command()} call {service.id}{url_flag}"
    if service.streaming:
        return [f"{asectl} --file {shlex.quote(sample or 'PATH')} --ws --realtime"]
    try:
        envelope = example.example_request(service, RequestValidator(service.input))
        request = example.plain_example(service, envelope)
    except (example.NoExampleError, DocumentError, ValueError):
        return []
    members = PlainApi(service).members
    arguments = [
        f"{name}=@{sample or 'PATH'}" if members[name].is_binary else f"{name}={_as_word(value)}"
        for name, value in request.items()
        if members[name].data_key or "default" not in members[name].schema
    ]
    return [
        curl_command(service, gateway, request, sample),
        " ".join([asectl, *map(shlex.quote, arguments)]),
    ]


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


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
    """Print a line, as `printable` returns it."""
    print(printable(line), flush=True)
