"""`asectl status [URL ...]`: the processes of a cluster by their admin ports, and its services."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from asectl import http_client
from asectl.durations import format_age
from asectl.http_client import HttpTarget
from asectl.main import EXIT_UNREACHABLE
from asectl.output import add_output_argument, print_output
from asectl.progress import progress
from asectl.table import align

_DEFAULT_URL = "http://127.0.0.1:8290"
_EXIT_PARTIAL = 5


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What the process at an admin port says: of itself (`info`), and of the instances it knows.

    `error` says why there is no answer, "" if there is one.
    """

    url: str
    error: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    instances: Sequence[Mapping[str, Any]] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "urls", nargs="*", metavar="URL", help=f"admin ports of gateways and hubs ({_DEFAULT_URL})"
    )
    http_client.add_ca_argument(parser)
    http_client.add_token_argument(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the status; return 0, 5 if a process does not answer, 4 if none does."""
    args.url = ""
    target = HttpTarget.from_args(args)
    urls = [url.rstrip("/") for url in args.urls or [_DEFAULT_URL]]
    with progress(lambda: "waiting for the admin ports"):
        processes = [_ask(replace(target, url=url)) for url in dict.fromkeys(urls)]
    status = {
        "processes": [_describe_process(process) for process in processes],
        "services": summarize_services(processes),
    }
    print_output(args.output, status, format_tables(status))
    answered = [not process.error for process in processes]
    return 0 if all(answered) else _EXIT_PARTIAL if any(answered) else EXIT_UNREACHABLE


def _ask(admin: HttpTarget) -> ProcessStatus:
    try:
        info, state = admin.get("/debug/process"), admin.get("/lb/state")
        info.raise_for_status()
        return ProcessStatus(
            admin.url, "", info.json(), state.raise_for_status().json()["instances"]
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return ProcessStatus(admin.url, str(error).splitlines()[0] or type(error).__name__)


def _describe_process(process: ProcessStatus) -> dict[str, Any]:
    members = ("role", "version", "python", "pid", "uptime_s", "compiled", "generation")
    info = {name: process.info.get(name) for name in members}
    return {"url": process.url, **info, "error": process.error}


def summarize_services(processes: Sequence[ProcessStatus]) -> list[dict[str, Any]]:
    """Return one row for each service: instances, how many serve, slots, load, schemas.

    An instance that several processes know is that of the first one.
    """
    instances: dict[tuple[str, str], Mapping[str, Any]] = {}
    for process in processes:
        for instance in process.instances:
            instances.setdefault((instance["service"], instance["instance"]), instance)
    services: dict[str, list[Mapping[str, Any]]] = {}
    for (service, _), instance in sorted(instances.items()):
        services.setdefault(service, []).append(instance)
    return [_summarize(service, rows) for service, rows in services.items()]


def _summarize(service: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "service": service,
        "instances": len(rows),
        "serving": sum(row["state"] == "up" and row["health"] == "in" for row in rows),
        "slots": sum(row["slots"] for row in rows),
        "running": sum(row["running"] for row in rows),
        "queued": sum(row["queued"] for row in rows),
        "schemas": len({row["schema"] for row in rows}),
    }


def format_tables(status: Mapping[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    processes = [["ADMIN PORT", "ROLE", "VERSION", "PID", "UP", "CONFIG", "COMPILED"]]
    failures = []
    for process in status["processes"]:
        if process["error"]:
            failures.append(f"{process['url']} does not answer: {process['error']}")
            continue
        compiled = "yes" if process["compiled"] else "no"
        values = (process["role"], process["version"], process["pid"])
        up = format_age(process["uptime_s"])
        generation = str(process.get("generation") or "-")  # a hub does not reload
        processes.append([process["url"], *map(str, values), up, generation, compiled])
    services = [["SERVICE", "INSTANCES", "SERVING", "SLOTS", "RUNNING", "QUEUED", "SCHEMAS"]]
    services += [[str(value) for value in service.values()] for service in status["services"]]
    lines = align(processes) if len(processes) > 1 else []
    if len(services) > 1:
        lines += ["", *align(services)]
    elif lines:
        lines += ["", "no instance is known"]
    return [*lines, *failures]
