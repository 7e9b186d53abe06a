"""`asectl lb state`: print the instances known to a gateway or a hub, as a table."""

import argparse
from collections.abc import Sequence
from typing import Any

import httpx

from asectl import http_client
from asectl.durations import format_age
from asectl.http_client import HttpTarget
from asectl.main import EXIT_UNREACHABLE, Failure
from asectl.output import add_output_argument, print_output
from asectl.table import align

_COLUMNS = (
    ("service", "SERVICE"), ("instance", "INSTANCE"), ("state", "STATE"), ("reason", "REASON"),
    ("for_s", "FOR"), ("health", "HEALTH"), ("report_age_s", "AGE"), ("running", "RUN"),
    ("queued", "WAIT"), ("inflight", "OWN"), ("slots", "SLOTS"), ("total", "LIMIT"),
    ("service_ms", "SLOT ms"), ("expected_ms", "EXPECT ms"), ("served", "SERVED"),
    ("errors", "ERRORS"), ("rejected", "FULL"),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    http_client.add_url_arguments(
        parser, "the admin port of a gateway, or of a hub (8291)", "http://127.0.0.1:8290"
    )
    http_client.add_token_argument(parser)
    parser.add_argument("--service", default="", help="one service alone")
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the instances once."""
    instances = fetch_instances(HttpTarget.from_args(args), args.service)
    print_output(args.output, instances, format_table(instances))
    return 0


def fetch_instances(admin: HttpTarget, service: str) -> list[dict[str, Any]]:
    """Return the instances that an admin port reports, ordered by service and instance.

    `service` selects one service, "" all. Raises Failure: exit code 2 if its URL is no HTTP URL,
    4 if the port does not answer with a state.
    """
    url = admin.url
    if not url.startswith(("http://", "https://")):
        raise Failure(f"{url}: must begin with http:// or https://", 2)
    try:
        instances = _read_instances(admin.get("/lb/state"))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        message = f"{url}: no state to be had ({error}); is it the admin port?"
        raise Failure(message, EXIT_UNREACHABLE) from None
    selected = [instance for instance in instances if service in ("", instance["service"])]
    return sorted(selected, key=lambda instance: (instance["service"], instance["instance"]))


def _read_instances(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the instances of a state. Raises ValueError if it is none."""
    if response.status_code == 401:
        raise ValueError("HTTP 401: --token-file needs the token of the admin port")
    if response.status_code != 200:
        raise ValueError(f"HTTP {response.status_code}")
    state = response.json()
    instances = state.get("instances") if isinstance(state, dict) else None
    if not isinstance(instances, list) or not all(
        isinstance(instance, dict)
        and isinstance(instance.get("service"), str)
        and isinstance(instance.get("instance"), str)
        for instance in instances
    ):
        raise ValueError("the response is no state of instances")
    return instances


def format_table(instances: Sequence[dict[str, Any]]) -> list[str]:
    """Return the instances as aligned lines below a header line."""
    if not instances:
        return ["no instance is known"]
    rows = [[title for _, title in _COLUMNS]]
    rows += [[_cell(name, instance) for name, _ in _COLUMNS] for instance in instances]
    return align(rows)


def _cell(column: str, instance: dict[str, Any]) -> str:
    value = instance.get(column)
    if column == "state" and instance.get("schema_active") is False:
        return f"{value} (other schema)"
    if column == "health":
        reason = instance.get("health_reason", "")
        return str(value) if value == "in" else f"{value}: {reason}"
    if value is None:
        return "-"
    if column == "service_ms" and instance.get("doubt", 1.0) > 1.0:
        return f"{value:.1f} x{instance['doubt']:.1f}?"
    if column in ("for_s", "report_age_s"):
        return format_age(value)
    return f"{value:.1f}" if isinstance(value, float) else str(value)
