"""`asectl lb state`: what a gateway or a hub knows of its instances, as a table."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import httpx

from asectl.main import EXIT_UNREACHABLE, Failure

_COLUMNS = (
    ("service", "SERVICE"), ("instance", "INSTANCE"), ("state", "STATE"), ("reason", "REASON"),
    ("for_s", "FOR"), ("health", "HEALTH"), ("report_age_s", "AGE"), ("running", "RUN"),
    ("queued", "WAIT"), ("inflight", "OWN"), ("slots", "SLOTS"), ("total", "TOTAL"),
    ("service_ms", "SLOT ms"), ("expected_ms", "EXPECT ms"), ("served", "SERVED"),
    ("errors", "ERRORS"), ("rejected", "FULL"),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--url",
        default="http://127.0.0.1:8290",
        help="the admin port of a gateway, or of a hub (8291) (%(default)s)",
    )
    parser.add_argument("--service", default="", help="one service alone")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(told: argparse.Namespace) -> int:
    """Print the table once."""
    instances = read(told.url, told.service)
    print(json.dumps(instances, indent=2) if told.json else "\n".join(table(instances)))
    return 0


def read(url: str, service: str) -> list[dict[str, Any]]:
    """Return the instances that an admin port tells of. Raises Failure when it tells nothing."""
    if not url.startswith(("http://", "https://")):
        raise Failure(f"{url}: must begin with http:// or https://", 2)
    try:
        answer = httpx.get(f"{url.rstrip('/')}/lb/state", timeout=5.0, trust_env=False)
        answer.raise_for_status()
        instances: list[dict[str, Any]] = answer.json()["instances"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        words = f"{url}: no state to be had ({error}); is it the admin port?"
        raise Failure(words, EXIT_UNREACHABLE) from None
    found = [line for line in instances if service in ("", line["service"])]
    return sorted(found, key=lambda line: (line["service"], line["instance"]))


def table(instances: Sequence[dict[str, Any]]) -> list[str]:
    """Return instances as aligned lines, under a head."""
    if not instances:
        return ["no instance is known"]
    rows = [[head for _, head in _COLUMNS]]
    rows += [[_cell(name, line) for name, _ in _COLUMNS] for line in instances]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _cell(name: str, line: dict[str, Any]) -> str:
    value = line.get(name)
    if name == "state" and line.get("schema_active") is False:
        return f"{value} (other schema)"
    if name == "health":
        why = line.get("health_reason", "")
        return str(value) if value == "in" else f"{value}: {why}"
    if value is None:
        return "-"
    if name == "service_ms" and line.get("doubt", 1.0) > 1.0:
        return f"{value:.1f} x{line['doubt']:.1f}?"
    if name in ("for_s", "report_age_s"):
        return _age(value)
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _age(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 120:
        return f"{seconds:.0f}s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h"
